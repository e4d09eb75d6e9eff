//! `meshctl localize`: progress to the terminal, the verdict to standard output.

use proto::v1::localize_event::Event;
use proto::v1::{LocalizeRequest, Progress};

use super::{Session, verdict};
use crate::connect::{About, CallError, Subject};
use crate::exit::Exit;
use crate::render;
use crate::trouble::Trouble;

pub async fn run(
    mut session: Session<'_>,
    name: &str,
    budget_ms: u64,
    since_ms: u64,
) -> Result<Exit, Trouble> {
    let subject = Subject::Service(name);
    let request = LocalizeRequest {
        service: name.to_owned(),
        budget_ms,
        since_ms,
    };
    let mut events = session.client.localize(request).await.about(subject)?;
    let mut last = None;
    while let Some(event) = events
        .message()
        .await
        .map_err(|status| CallError::of(&status, subject))?
    {
        match event.event {
            Some(Event::Progress(progress)) => session.output.progress(&line(&progress)),
            Some(Event::Verdict(wire)) => last = Some(verdict(wire)?),
            // Of a later version.
            None => {}
        }
    }
    session.output.progress_done();
    let verdict = last.ok_or(CallError::EndedEarly)?;
    session.output.print(&verdict, || {
        render::verdict(&verdict, session.output.style())
    })?;
    Ok(verdict.outcome.into())
}

fn line(progress: &Progress) -> String {
    let elapsed = render::micros(progress.elapsed_ms.saturating_mul(1000));
    if progress.probes == 0 {
        return format!("{elapsed}  waiting for the first round  {}", progress.note);
    }
    let mut line = format!(
        "{elapsed}  {} rounds, {} probes, {} failed",
        progress.rounds, progress.probes, progress.failed
    );
    if !progress.leading.is_empty() {
        line += &format!(
            "  {} {}",
            progress.leading,
            render::percent(progress.leading_confidence)
        );
    }
    if !progress.note.is_empty() {
        line += &format!("  {}", progress.note);
    }
    line
}
