//! `meshctl coverage`.

use proto::v1::coverage_response::Part;
use proto::v1::{Component, CoverageRequest};
use serde_json::{Value, json};

use super::Session;
use crate::connect::{About, Subject};
use crate::exit::Exit;
use crate::render::Table;
use crate::trouble::Trouble;

pub async fn run(mut session: Session<'_>, name: &str) -> Result<Exit, Trouble> {
    let request = session.request(CoverageRequest {
        service: name.to_owned(),
    });
    let parts = session
        .client
        .coverage(request)
        .await
        .about(Subject::Service(name))?
        .parts;
    let value: Vec<Value> = parts.iter().map(as_json).collect();
    session
        .output
        .list(&value, "Nothing is known of the path yet.", || text(&parts))?;
    Ok(Exit::Ok)
}

fn component(component: Option<&Component>) -> String {
    component.map_or_else(String::new, |c| format!("{} {}", c.kind, c.name))
}

fn as_json(part: &Part) -> Value {
    let name = |c: &Component| json!({"kind": c.kind, "name": c.name});
    json!({
        "component": part.component.as_ref().map(name),
        "probes_per_round": part.probes_per_round,
        "same_as": part.same_as.iter().map(name).collect::<Vec<_>>(),
        "ask": part.ask,
    })
}

fn text(parts: &[Part]) -> String {
    let mut table = Table::new(["COMPONENT", "PROBES/ROUND", "NOT TOLD FROM"]).numbers([1]);
    let mut asks: Vec<&str> = Vec::new();
    for part in parts {
        let same: Vec<String> = part.same_as.iter().map(|c| component(Some(c))).collect();
        table.row([
            component(part.component.as_ref()),
            format!("{:.1}", part.probes_per_round),
            same.join(", "),
        ]);
        if !part.ask.is_empty() && !asks.contains(&part.ask.as_str()) {
            asks.push(&part.ask);
        }
    }
    let mut text = table.text();
    if !asks.is_empty() {
        text += "\nTo tell more apart:\n";
        for ask in asks {
            text += &format!("  {ask}\n");
        }
    }
    text
}
