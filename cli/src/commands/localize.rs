//! `meshctl localize`: progress to the terminal, the verdict to standard output.

use ::localize::{Verdict, VerdictOutcome};
use proto::v1::localize_event::Event;
use proto::v1::{LocalizeRequest, Progress};

use super::{Session, verdict};
use crate::connect::{About, CallError, Subject};
use crate::exit::Exit;
use crate::render;
use crate::trouble::Trouble;

/// What is asked.
pub struct Wish {
    pub name: String,
    pub budget_ms: u64,
    pub since_ms: u64,
    /// Nagios reads the answer.
    pub nagios: bool,
}

pub async fn run(mut session: Session<'_>, wish: Wish) -> Result<Exit, Trouble> {
    let subject = Subject::Service(&wish.name);
    let request = LocalizeRequest {
        service: wish.name.clone(),
        budget_ms: wish.budget_ms,
        since_ms: wish.since_ms,
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
    if wish.nagios {
        let (line, exit) = nagios(&verdict);
        session.output.text(&line)?;
        return Ok(exit);
    }
    session.output.print(&verdict, || {
        render::verdict(&verdict, session.output.style())
    })?;
    Ok(verdict.outcome.into())
}

/// A line of a plugin, with performance data after the bar (Monitoring Plugins' guidelines), and its status.
fn nagios(verdict: &Verdict) -> (String, Exit) {
    let felt = verdict.faults.iter().any(|fault| fault.user_impact);
    let (word, exit) = match (verdict.outcome, felt) {
        (VerdictOutcome::Healthy, _) => ("OK", Exit::Ok),
        (VerdictOutcome::Fault, false) => ("WARNING", Exit::Fault),
        (VerdictOutcome::Fault, true) => ("CRITICAL", Exit::Trouble),
        (VerdictOutcome::Inconclusive, _) => ("UNKNOWN", Exit::Inconclusive),
    };
    let said = render::verdict_line(verdict).replace('|', "/");
    let line = format!(
        "{word} - {said} ({}) | time={:.3}s rounds={} probes={}\n",
        verdict.id,
        verdict.elapsed_ms as f64 / 1e3,
        verdict.rounds,
        verdict.probes
    );
    (line, exit)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::samples;

    #[test]
    fn nagios_gets_a_line_and_its_status() {
        let rows = [
            (samples::healthy(), "OK - ", Exit::Ok),
            (samples::fault(), "CRITICAL - ", Exit::Trouble),
            (samples::masked(), "WARNING - ", Exit::Fault),
            (samples::inconclusive(), "UNKNOWN - ", Exit::Inconclusive),
        ];
        for (verdict, begins, expected) in rows {
            let (line, exit) = nagios(&verdict);
            assert!(
                line.starts_with(begins) && line.contains(" | time="),
                "{line}"
            );
            assert_eq!((exit, line.lines().count()), (expected, 1), "{line}");
        }
    }
}
