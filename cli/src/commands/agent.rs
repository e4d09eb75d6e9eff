//! `meshctl agent`.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use proto::json;
use proto::v1::agent::LeftOut;
use proto::v1::{
    Agent, CreateTokenRequest, CreateTokenResponse, DeleteAgentRequest, GetAgentRequest,
    ListAgentsRequest, RejoinAgentRequest, RenameAgentRequest, RevokeAgentRequest, Role,
    StatusRequest,
};
use serde_json::{Value, json};

use super::{Careful, Session, careful};
use crate::args::{AgentCommand, Care, RoleArg, TokenArgs};
use crate::connect::{About, Subject};
use crate::exit::Exit;
use crate::render::{Table, ago, micros};
use crate::trouble::Trouble;

pub async fn run(session: Session<'_>, command: AgentCommand) -> Result<Exit, Trouble> {
    match command {
        AgentCommand::Token(args) => token(session, args).await?,
        AgentCommand::List => list(session).await?,
        AgentCommand::Show { name } => show(session, &name).await?,
        AgentCommand::Rejoin { name, ttl, replace } => rejoin(session, name, ttl, replace).await?,
        AgentCommand::Rename { old, new, dry_run } => rename(session, old, new, dry_run).await?,
        AgentCommand::Delete { name, care } => delete(session, &name, care).await?,
        AgentCommand::Revoke { name, care } => revoke(session, &name, care).await?,
    }
    Ok(Exit::Ok)
}

async fn token(mut session: Session<'_>, args: TokenArgs) -> Result<(), Trouble> {
    let role = match args.role {
        RoleArg::Outside => Role::Outside,
        RoleArg::BehindCdn => Role::BehindCdn,
        RoleArg::Inside => Role::Inside,
    };
    let request = session.request(CreateTokenRequest {
        name: args.name.clone(),
        role: role.into(),
        host: args.host.unwrap_or_default(),
        labels: args.labels.into_iter().collect::<HashMap<_, _>>(),
        ttl_seconds: args.ttl.as_secs(),
        replace: args.replace,
    });
    let answer = session
        .client
        .create_token(request)
        .await
        .about(Subject::Mesh)?;
    print_token(&session, &args.name, &answer)
}

fn print_token(
    session: &Session<'_>,
    name: &str,
    answer: &CreateTokenResponse,
) -> Result<(), Trouble> {
    let value = json!({"name": name, "token": answer.token, "expires_at": answer.expires_at});
    session
        .output
        .print(&value, || format!("{}\n", answer.token))
}

async fn rejoin(
    mut session: Session<'_>,
    name: String,
    ttl: Duration,
    replace: bool,
) -> Result<(), Trouble> {
    let request = session.request(RejoinAgentRequest {
        name: name.clone(),
        ttl_seconds: ttl.as_secs(),
        replace,
    });
    let answer = session.client.rejoin_agent(request).await;
    let answer = answer.about(Subject::Agent(&name))?;
    print_token(&session, &name, &answer)
}

async fn rename(
    mut session: Session<'_>,
    old: String,
    new: String,
    dry_run: bool,
) -> Result<(), Trouble> {
    if dry_run {
        return would(session, &old, "renamed").await;
    }
    let request = session.request(RenameAgentRequest {
        from: old.clone(),
        to: new,
    });
    let agent = session.client.rename_agent(request).await;
    let agent = agent.about(Subject::Agent(&old))?;
    session.output.print(&json::agent(&agent), || {
        format!("agent {old} is agent {} now\n", agent.name)
    })
}

async fn delete(mut session: Session<'_>, name: &str, care: Care) -> Result<(), Trouble> {
    let question = format!("Delete agent {name} with all that was observed from it?");
    match careful(care, &question)? {
        Careful::Sure => {}
        Careful::DryRun => return would(session, name, "deleted").await,
    }
    let request = session.request(DeleteAgentRequest {
        name: name.to_owned(),
    });
    let deleted = session.client.delete_agent(request).await;
    deleted.about(Subject::Agent(name))?;
    let value = json!({"name": name, "state": "deleted"});
    session
        .output
        .print(&value, || format!("agent {name} deleted\n"))
}

/// Says what would be done with an agent that is known.
async fn would(mut session: Session<'_>, name: &str, done: &str) -> Result<(), Trouble> {
    let request = session.request(GetAgentRequest {
        name: name.to_owned(),
    });
    let agent = session.client.get_agent(request).await;
    let agent = agent.about(Subject::Agent(name))?;
    let value = json!({"name": agent.name, "would_be": done});
    session
        .output
        .print(&value, || format!("agent {} would be {done}\n", agent.name))
}

async fn list(mut session: Session<'_>) -> Result<(), Trouble> {
    let request = session.request(ListAgentsRequest {});
    let agents = session
        .client
        .list_agents(request)
        .await
        .about(Subject::Mesh)?
        .agents;
    let now_us = now(&mut session).await?;
    let value: Vec<Value> = agents.iter().map(json::agent).collect();
    session.output.list(
        &value,
        "No agents. `meshctl agent token --name NAME --role outside` invites one.",
        |grid| {
            let mut table = Table::new([
                "NAME",
                "ROLE",
                "HOST",
                "STATE",
                "SEEN",
                "CLOCK",
                "WITNESS",
                "VERSION",
                "CERTIFICATE UNTIL",
                "SPOOL",
                "ADDRESSES",
                "LABELS",
            ])
            .usual(8);
            for agent in &agents {
                table.row([
                    agent.name.clone(),
                    json::role(agent.role()).to_owned(),
                    agent.host.clone(),
                    agent.state.clone(),
                    ago(&agent.last_seen_at, now_us),
                    clock(agent),
                    witness(agent),
                    agent.version.clone(),
                    agent.certificate_expires_at.clone(),
                    spool(agent),
                    agent.addresses.join(", "),
                    labels(agent),
                ]);
            }
            table.text(grid)
        },
    )
}

/// The coordinator's clock, by which "so long ago" is counted.
async fn now(session: &mut Session<'_>) -> Result<u64, Trouble> {
    let request = session.request(StatusRequest {});
    Ok(session
        .client
        .status(request)
        .await
        .about(Subject::Mesh)?
        .now_us)
}

async fn show(mut session: Session<'_>, name: &str) -> Result<(), Trouble> {
    let request = session.request(GetAgentRequest {
        name: name.to_owned(),
    });
    let agent = session
        .client
        .get_agent(request)
        .await
        .about(Subject::Agent(name))?;
    session.output.print(&json::agent(&agent), || text(&agent))
}

async fn revoke(mut session: Session<'_>, name: &str, care: Care) -> Result<(), Trouble> {
    let question = format!("Revoke agent {name}? It will have to be enrolled again.");
    match careful(care, &question)? {
        Careful::Sure => {}
        Careful::DryRun => return would(session, name, "revoked").await,
    }
    let request = session.request(RevokeAgentRequest {
        name: name.to_owned(),
    });
    let agent = session
        .client
        .revoke_agent(request)
        .await
        .about(Subject::Agent(name))?;
    session.output.print(&json::agent(&agent), || {
        format!("agent {} {}\n", agent.name, agent.state)
    })
}

/// The bound of the clock's error; empty while there is no estimate.
fn clock(agent: &Agent) -> String {
    match agent.clock_uncertainty_us {
        0 => String::new(),
        bound => format!("±{}", micros(bound)),
    }
}

fn clock_state(agent: &Agent) -> String {
    if agent.clock_uncertainty_us == 0 {
        return String::new();
    }
    format!("offset {} µs {}", agent.clock_offset_us, clock(agent))
}

/// The number of the last observation that is on the coordinator's disk.
fn stored(agent: &Agent) -> String {
    match agent.durable_through {
        0 => String::new(),
        sequence => sequence.to_string(),
    }
}

/// Observations that wait in the agent's own folder, and those that it had to forget.
fn spool(agent: &Agent) -> String {
    match (agent.spool_bytes, agent.spool_dropped) {
        (0, 0) => String::new(),
        (bytes, 0) => format!("{bytes} bytes"),
        (bytes, dropped) => format!("{bytes} bytes, {dropped} observations lost"),
    }
}

fn witness(agent: &Agent) -> String {
    match (agent.witness, agent.witness_trouble.is_empty()) {
        (true, _) => "yes".to_owned(),
        (false, true) => String::new(),
        (false, false) => "trouble".to_owned(),
    }
}

fn labels(agent: &Agent) -> String {
    let labels: BTreeMap<_, _> = agent.labels.iter().collect();
    let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    labels.join(", ")
}

fn text(agent: &Agent) -> String {
    let witness = match (agent.witness, agent.witness_trouble.as_str()) {
        (true, _) => "yes".to_owned(),
        (false, "") => "no".to_owned(),
        (false, why) => format!("no: {why}"),
    };
    let rows = [
        ("Name", agent.name.clone()),
        ("Role", json::role(agent.role()).to_owned()),
        ("Host", agent.host.clone()),
        ("Labels", labels(agent)),
        ("State", agent.state.clone()),
        ("Last seen", agent.last_seen_at.clone()),
        ("Certificate until", agent.certificate_expires_at.clone()),
        ("Version", agent.version.clone()),
        ("Addresses", agent.addresses.join(", ")),
        ("Resolvers", agent.resolvers.join(", ")),
        ("Witness", witness),
        ("Clock", clock_state(agent)),
        ("Stored through", stored(agent)),
        ("Spool", spool(agent)),
    ];
    let rows = rows
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name:<19}{}\n", value.trim_end()));
    rows.collect::<String>() + &not_probed(&agent.not_probed)
}

/// The arms of which nothing is known from here, and why.
fn not_probed(arms: &[LeftOut]) -> String {
    let mut text = String::new();
    for LeftOut { service, arm } in arms {
        let arm = arm.clone().unwrap_or_default();
        text += &format!("  {service} {}: {}\n", arm.arm, arm.because);
    }
    match text.is_empty() {
        true => text,
        false => format!("Not probed\n{text}"),
    }
}
