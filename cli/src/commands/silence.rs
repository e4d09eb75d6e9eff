//! `meshctl silence`, `silences`, `unsilence`, and `notify`.

use std::time::Duration;

use proto::json;
use proto::v1::{
    EndSilenceRequest, ListSilencesRequest, MakeSilenceRequest, Silence, TryNotifyRequest,
};
use serde_json::{Value, json};

use super::Session;
use crate::args::NotifyCommand;
use crate::connect::{About, Subject};
use crate::duration;
use crate::exit::Exit;
use crate::render::Table;
use crate::trouble::Trouble;

/// A mail server may take this long to take a message.
const TRIAL: Duration = Duration::from_secs(20);

/// What an operator wants.
pub struct Wish {
    pub name: String,
    pub length: Duration,
    pub because: String,
    pub from: Option<u64>,
    pub force: bool,
}

pub async fn make(mut session: Session<'_>, wish: Wish) -> Result<Exit, Trouble> {
    let request = session.request(MakeSilenceRequest {
        service: wish.name,
        from_us: wish.from,
        length_ms: duration::millis(wish.length),
        because: wish.because,
        must_match: !wish.force,
    });
    let made = session.client.make_silence(request).await;
    let made = made.about(Subject::Mesh)?;
    session.output.print(&json::silence(&made), || {
        format!(
            "silence {}: nobody is told of {} until {}\n",
            made.id, made.service, made.until
        )
    })?;
    Ok(Exit::Ok)
}

pub async fn list(mut session: Session<'_>) -> Result<Exit, Trouble> {
    let request = session.request(ListSilencesRequest {});
    let answer = session.client.list_silences(request).await;
    let silences = answer.about(Subject::Mesh)?.silences;
    let values: Vec<Value> = silences.iter().map(json::silence).collect();
    let when_empty = "No silences. `meshctl silence NAME --for 2h --because TEXT` makes one.";
    session.output.list(&values, when_empty, |grid| {
        let mut table = Table::new(["ID", "SERVICE", "FROM", "UNTIL", "BECAUSE", "BY"]);
        for Silence {
            id,
            service,
            from,
            until,
            because,
            by,
        } in silences
        {
            table.row([id, service, from, until, because, by]);
        }
        table.text(grid)
    })?;
    Ok(Exit::Ok)
}

pub async fn end(mut session: Session<'_>, id: String) -> Result<Exit, Trouble> {
    let request = session.request(EndSilenceRequest { id: id.clone() });
    let ended = session.client.end_silence(request).await;
    ended.about(Subject::Mesh)?;
    let value = json!({"id": id, "result": "ended"});
    session
        .output
        .print(&value, || format!("silence {id} ended\n"))?;
    Ok(Exit::Ok)
}

pub async fn notify(mut session: Session<'_>, command: NotifyCommand) -> Result<Exit, Trouble> {
    let NotifyCommand::Test { receiver } = command;
    let mut request = session.request(TryNotifyRequest {
        receiver: receiver.clone(),
    });
    request.set_timeout(session.timeout.max(TRIAL));
    let told = session.client.try_notify(request).await;
    told.about(Subject::Mesh)?;
    let value = json!({"name": receiver, "result": "told"});
    session
        .output
        .print(&value, || format!("{receiver} was told\n"))?;
    Ok(Exit::Ok)
}
