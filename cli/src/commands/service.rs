//! `meshctl service`.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use proto::json;
use proto::v1::check_service_request::What;
use proto::v1::{
    ApplyServiceRequest, DeleteServiceRequest, GetServiceRequest, ListServicesRequest,
    RehearseServiceResponse, Service,
};
use serde_json::{Value, json};

use super::{Careful, Session, careful, check};
use crate::args::{Care, ServiceCommand};
use crate::connect::{About, Subject};
use crate::exit::Exit;
use crate::render::{self, Table, asked, micros};
use crate::trouble::Trouble;

pub async fn run(session: Session<'_>, command: ServiceCommand) -> Result<Exit, Trouble> {
    match command {
        ServiceCommand::Apply {
            file,
            no_check,
            dry_run: true,
        } => rehearse(session, &file, !no_check).await?,
        ServiceCommand::Apply { file, no_check, .. } => apply(session, &file, !no_check).await?,
        ServiceCommand::Check { name, file } => {
            let what = match (file, name) {
                (Some(file), _) => What::File(request(&file)?),
                (None, name) => What::Service(name.unwrap_or_default()),
            };
            return check::run(session, what).await;
        }
        ServiceCommand::List => list(session).await?,
        ServiceCommand::Show { name } => show(session, &name).await?,
        ServiceCommand::Delete { name, care } => delete(session, &name, care).await?,
    }
    Ok(Exit::Ok)
}

async fn apply(mut session: Session<'_>, file: &Path, check: bool) -> Result<(), Trouble> {
    let request = session.request(request(file)?);
    let answer = session
        .client
        .apply_service(request)
        .await
        .about(Subject::Mesh)?;
    let applied = format!("service {} {}\n", answer.name, answer.result);
    let value = json!({"name": answer.name, "result": answer.result});
    let what = check.then_some(What::Service(answer.name));
    tell(session, value, &applied, what).await
}

/// Says what applying would do, and checks the file.
async fn rehearse(mut session: Session<'_>, file: &Path, check: bool) -> Result<(), Trouble> {
    let asked = request(file)?;
    let request = session.request(asked.clone());
    let answer = session.client.rehearse_service(request).await;
    let answer = answer.about(Subject::Mesh)?;
    let diff = diff(&answer, &asked, file);
    let shown = render::painted(&diff, session.output.style());
    let text = format!(
        "service {} would be {}\n{shown}",
        answer.name, answer.result
    );
    let value = json!({"name": answer.name, "would_be": answer.result, "diff": diff});
    tell(session, value, &text, check.then_some(What::File(asked))).await
}

/// What would change: of the file, and of that which it names.
fn diff(answer: &RehearseServiceResponse, asked: &ApplyServiceRequest, file: &Path) -> String {
    let none = ApplyServiceRequest::default();
    let held = answer.held.as_ref();
    let name = |what: &str| match held {
        Some(_) => format!("{what} as applied"),
        None => "/dev/null".to_owned(),
    };
    let held = held.unwrap_or(&none);
    let toml = (name(&answer.name), file.display().to_string());
    let anchors = (name("tls.ca_file"), "tls.ca_file".to_owned());
    render::diff(&held.toml, &asked.toml, toml)
        + &render::diff(held.ca_pem(), asked.ca_pem(), anchors)
}

/// Prints what was done, and what does not hold of the file.
async fn tell(
    mut session: Session<'_>,
    mut value: Value,
    text: &str,
    check: Option<What>,
) -> Result<(), Trouble> {
    let output = session.output;
    if !output.is_for_scripts() {
        output.text(text)?;
    }
    if let Some(what) = check {
        let checked = check::ask(&mut session, what).await;
        match checked {
            Ok(checked) => {
                value["check"] = check::as_json(&checked);
                if !output.is_for_scripts() {
                    output.text(&format!("\n{}", render::check(&checked, output.style())))?;
                }
            }
            // It is applied all the same.
            Err(trouble) => output.say(&format!("meshctl: the file was not checked: {trouble}")),
        }
    }
    match output.is_for_scripts() {
        true => output.value(&value),
        false => Ok(()),
    }
}

/// The file's text, with that of the file that it names.
fn request(file: &Path) -> Result<ApplyServiceRequest, Trouble> {
    let toml = read(file)?;
    Ok(ApplyServiceRequest {
        ca_pem: ca_text(&toml, file)?,
        toml,
    })
}

fn read(path: &Path) -> Result<String, Trouble> {
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(path)
    };
    text.map_err(|source| Trouble::Read {
        path: path.to_owned(),
        source,
    })
}

/// The text of `tls.ca_file`, which is named relative to the service file. Everything else in the
/// file is the coordinator's to judge.
fn ca_text(toml: &str, file: &Path) -> Result<Option<String>, Trouble> {
    let table: toml::Table = toml::from_str(toml).map_err(|source| Trouble::ServiceFile {
        path: file.to_owned(),
        source: Box::new(source),
    })?;
    let named = table
        .get("tls")
        .and_then(|tls| tls.get("ca_file"))
        .and_then(toml::Value::as_str);
    let Some(named) = named else {
        return Ok(None);
    };
    let path = file
        .parent()
        .unwrap_or(Path::new(""))
        .join(PathBuf::from(named));
    read(&path).map(Some)
}

async fn list(mut session: Session<'_>) -> Result<(), Trouble> {
    let request = session.request(ListServicesRequest {});
    let services = session
        .client
        .list_services(request)
        .await
        .about(Subject::Mesh)?
        .services;
    let value: Vec<Value> = services.iter().map(json::service).collect();
    session.output.list(
        &value,
        "No services. `meshctl service apply -f FILE` makes one.",
        |grid| {
            let mut table = Table::new([
                "NAME",
                "URL",
                "EVERY",
                "ROUNDS",
                "LAST ROUND",
                "LAST VERDICT",
                "CDN",
                "EDGES",
                "BALANCER",
                "BACKENDS",
            ])
            .numbers([3])
            .usual(6);
            for service in &services {
                table.row([
                    service.name.clone(),
                    service.url.clone(),
                    every(service),
                    service.rounds.to_string(),
                    service.last_round_at.clone(),
                    service.last_outcome.clone(),
                    service.cdn_provider.clone(),
                    service.edges.len().to_string(),
                    service.vips.join(", "),
                    service.backends.join(", "),
                ]);
            }
            table.text(grid)
        },
    )
}

async fn show(mut session: Session<'_>, name: &str) -> Result<(), Trouble> {
    let request = session.request(GetServiceRequest {
        name: name.to_owned(),
    });
    let service = session
        .client
        .get_service(request)
        .await
        .about(Subject::Service(name))?;
    session
        .output
        .print(&json::service(&service), || text(&service))
}

async fn delete(mut session: Session<'_>, name: &str, care: Care) -> Result<(), Trouble> {
    let question = format!("Delete service {name} and all that is known of it?");
    match careful(care, &question)? {
        Careful::Sure => {}
        Careful::DryRun => {
            let request = session.request(GetServiceRequest {
                name: name.to_owned(),
            });
            let known = session.client.get_service(request).await;
            known.about(Subject::Service(name))?;
            let value = json!({"name": name, "would_be": "deleted"});
            let text = || format!("service {name} would be deleted\n");
            return session.output.print(&value, text);
        }
    }
    let request = session.request(DeleteServiceRequest {
        name: name.to_owned(),
    });
    session
        .client
        .delete_service(request)
        .await
        .about(Subject::Service(name))?;
    let value = json!({"name": name, "result": "deleted"});
    session
        .output
        .print(&value, || format!("service {name} deleted\n"))
}

fn every(service: &Service) -> String {
    service.every_ms.map_or_else(
        || "on demand".to_owned(),
        |ms| micros(ms.saturating_mul(1000)),
    )
}

fn text(service: &Service) -> String {
    let rows = [
        ("Name", service.name.clone()),
        ("URL", service.url.clone()),
        ("Resolvers", service.resolvers.join(", ")),
        ("Name servers", service.name_servers.join(", ")),
        ("CDN", service.cdn_provider.clone()),
        ("Edges", service.edges.join(", ")),
        (
            "Balancer",
            format!("{} {}", service.vips.join(", "), service.vip_mode),
        ),
        ("Backends", service.backends.join(", ")),
        ("Asked by", asked::request(service.request.as_ref())),
        ("Expected", asked::expect(service.expect.as_ref())),
        ("Every", every(service)),
        ("Rounds", service.rounds.to_string()),
        ("Last round", service.last_round_at.clone()),
        ("Last verdict", service.last_outcome.clone()),
    ];
    let mut out = String::new();
    for (name, value) in rows {
        let value = if value.trim().is_empty() {
            "not known"
        } else {
            value.trim()
        };
        out += &format!("{name:<14}{value}\n");
    }
    out + "\n" + service.toml.trim_end() + "\n"
}
