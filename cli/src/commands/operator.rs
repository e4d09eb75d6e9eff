//! `meshctl operator`.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use proto::context::Context;
use proto::json;
use proto::v1::{
    ChangeOperatorRequest, CreateOperatorRequest, ListOperatorsRequest, OperatorCertificate,
    OperatorIdentity, OperatorRole, RenewOperatorRequest, RevokeOperatorRequest,
};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::{Careful, Session, careful};
use crate::args::{Care, OperatorCommand, OperatorRoleArg};
use crate::connect::{About, CallError, Subject};
use crate::exit::Exit;
use crate::render::Table;
use crate::trouble::Trouble;

pub async fn run(session: Session<'_>, command: OperatorCommand) -> Result<Exit, Trouble> {
    match command {
        OperatorCommand::Create { name, role, file } => create(session, name, role, file).await?,
        OperatorCommand::List => list(session).await?,
        OperatorCommand::Role { name, role } => assign(session, name, role).await?,
        OperatorCommand::Revoke { name, care } => revoke(session, name, care).await?,
        OperatorCommand::Renew => renew(session).await?,
    }
    Ok(Exit::Ok)
}

async fn create(
    mut session: Session<'_>,
    name: String,
    role: OperatorRoleArg,
    file: Option<PathBuf>,
) -> Result<(), Trouble> {
    let file = file.unwrap_or_else(|| PathBuf::from(format!("{name}.toml")));
    if file.exists() {
        return Err(Trouble::Exists(file));
    }
    // Before anybody is made whose key could not be kept.
    let place = beside(&file)?;
    let (key, csr_pem) = key()?;
    let request = session.request(CreateOperatorRequest {
        name,
        role: wire(role).into(),
        csr_pem,
    });
    let made = session.client.create_operator(request).await;
    let made = made.about(Subject::Mesh)?;
    let operator = made.operator.clone().unwrap_or_default();
    let context = context(&session.found.context, made, &key);
    write(place, &file, &context, |place, file| {
        place.persist_noclobber(file).map(drop)
    })?;
    print(&session, &operator, &file, "created")
}

async fn renew(mut session: Session<'_>) -> Result<(), Trouble> {
    // The context in use is a link to a file of its name.
    let file = session.found.path.canonicalize();
    let file = file.map_err(Trouble::write(&session.found.path))?;
    let place = beside(&file)?;
    let (key, csr_pem) = key()?;
    let request = session.request(RenewOperatorRequest { csr_pem });
    let made = session.client.renew_operator(request).await;
    let made = made.about(Subject::Mesh)?;
    let operator = made.operator.clone().unwrap_or_default();
    let context = context(&session.found.context, made, &key);
    write(place, &file, &context, |place, file| {
        place.persist(file).map(drop)
    })?;
    print(&session, &operator, &file, "renewed")
}

fn print(
    session: &Session<'_>,
    operator: &OperatorIdentity,
    file: &Path,
    done: &str,
) -> Result<(), Trouble> {
    let mut value = json::operator(operator);
    value["file"] = json!(file);
    session.output.print(&value, || {
        let (name, role) = (&operator.name, json::operator_role(operator.role()));
        let until = &operator.certificate_expires_at;
        let file = file.display();
        format!("operator {name} ({role}) {done}, until {until}: {file}\n")
    })
}

async fn list(mut session: Session<'_>) -> Result<(), Trouble> {
    let request = session.request(ListOperatorsRequest {});
    let answer = session.client.list_operators(request).await;
    let operators = answer.about(Subject::Mesh)?.operators;
    let values: Vec<Value> = operators.iter().map(json::operator).collect();
    session.output.list(&values, "No operators.", |grid| {
        let headings = ["NAME", "ROLE", "STATE", "UNTIL", "CREATED", "BY"];
        let mut table = Table::new(headings).usual(4);
        for one in operators {
            let role = json::operator_role(one.role()).to_owned();
            let until = one.certificate_expires_at;
            table.row([
                one.name,
                role,
                one.state,
                until,
                one.created_at,
                one.created_by,
            ]);
        }
        table.text(grid)
    })
}

async fn assign(
    mut session: Session<'_>,
    name: String,
    role: OperatorRoleArg,
) -> Result<(), Trouble> {
    let request = session.request(ChangeOperatorRequest {
        name,
        role: wire(role).into(),
    });
    let changed = session.client.change_operator(request).await;
    let changed = changed.about(Subject::Mesh)?;
    session.output.print(&json::operator(&changed), || {
        let role = json::operator_role(changed.role());
        format!("operator {} is {role} from now on\n", changed.name)
    })
}

async fn revoke(mut session: Session<'_>, name: String, care: Care) -> Result<(), Trouble> {
    let question = format!("Revoke operator {name}? Its context files are of no use then.");
    match careful(care, &question)? {
        Careful::Sure => {}
        Careful::DryRun => return would_revoke(session, name).await,
    }
    let request = session.request(RevokeOperatorRequest { name });
    let revoked = session.client.revoke_operator(request).await;
    let revoked = revoked.about(Subject::Mesh)?;
    session.output.print(&json::operator(&revoked), || {
        format!("operator {} {}\n", revoked.name, revoked.state)
    })
}

/// Says what would be done with an operator that is known.
async fn would_revoke(mut session: Session<'_>, name: String) -> Result<(), Trouble> {
    let request = session.request(ListOperatorsRequest {});
    let answer = session.client.list_operators(request).await;
    let known = answer.about(Subject::Mesh)?.operators;
    if !known.iter().any(|one| one.name == name) {
        let what = format!("there is no operator `{name}`. `meshctl operator list` shows them.");
        return Err(CallError::NotFound(what).into());
    }
    let value = json!({"name": name, "would_be": "revoked"});
    session
        .output
        .print(&value, || format!("operator {name} would be revoked\n"))
}

const fn wire(role: OperatorRoleArg) -> OperatorRole {
    match role {
        OperatorRoleArg::Viewer => OperatorRole::Viewer,
        OperatorRoleArg::Operator => OperatorRole::Operator,
        OperatorRoleArg::Admin => OperatorRole::Admin,
    }
}

/// A new key, and the request for its certificate, PEM; the coordinator decides on the names in it.
fn key() -> Result<(KeyPair, String), Trouble> {
    let key = KeyPair::generate()?;
    let request = CertificateParams::new(Vec::new())?.serialize_request(&key)?;
    Ok((key, request.pem()?))
}

fn context(ours: &Context, made: OperatorCertificate, key: &KeyPair) -> Context {
    Context {
        addresses: ours.addresses.clone(),
        ca: made.ca_pem,
        certificate: made.certificate_pem,
        key: key.serialize_pem(),
    }
}

/// Where a file is written until it is whole, for the owner alone to read.
fn beside(file: &Path) -> Result<NamedTempFile, Trouble> {
    let folder = file.parent().filter(|folder| *folder != Path::new(""));
    let place = NamedTempFile::new_in(folder.unwrap_or(Path::new(".")));
    place.map_err(Trouble::write(file))
}

fn write(
    mut place: NamedTempFile,
    file: &Path,
    context: &Context,
    put: impl FnOnce(NamedTempFile, &Path) -> Result<(), tempfile::PersistError>,
) -> Result<(), Trouble> {
    place
        .write_all(context.to_toml().as_bytes())
        .and_then(|()| place.as_file().sync_all())
        .map_err(Trouble::write(file))?;
    put(place, file).map_err(|failed| Trouble::write(file)(failed.error))
}
