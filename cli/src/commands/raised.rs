//! What is said of a verdict that the watch over scheduled rounds has raised.

use localize::Verdict;
use proto::v1;
use serde::Serialize;

use crate::connect::CallError;

/// A verdict as the coordinator keeps it.
#[derive(Serialize)]
pub struct Kept {
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Where nobody had asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raised: Option<Raised>,
}

/// How the watch came to it.
#[derive(Serialize)]
pub struct Raised {
    /// When it began, as far as the rounds tell; RFC 3339.
    began_at: String,
    /// When it was found to be over.
    over_at: Option<String>,
    /// Why: `quiet`, `superseded` or `unseen`.
    ending: Option<String>,
    /// False alarms a day that the watch allows at most.
    false_alarms_per_day: f64,
}

impl Kept {
    /// As it comes over the wire.
    pub fn read(mut wire: v1::Verdict) -> Result<Self, CallError> {
        let some = |text: String| (!text.is_empty()).then_some(text);
        let raised = wire.raised.take().map(|raised| Raised {
            began_at: raised.began_at,
            over_at: some(raised.over_at),
            ending: some(raised.ending),
            false_alarms_per_day: raised.false_alarms_per_day,
        });
        Ok(Self {
            verdict: super::verdict(wire)?,
            raised,
        })
    }

    /// Who it came from and whether it stands, for a list.
    pub fn state(&self) -> String {
        match &self.raised {
            None => "asked for".to_owned(),
            Some(Raised {
                over_at: Some(over_at),
                ending,
                ..
            }) => format!("{} {over_at}", past(ending.as_deref())),
            Some(_) => "raised, stands".to_owned(),
        }
    }

    /// The same in a sentence; empty for a verdict that somebody had asked for.
    pub fn story(&self) -> String {
        let Some(raised) = &self.raised else {
            return String::new();
        };
        let end = match &raised.over_at {
            Some(over_at) => format!("{} {over_at}", past(raised.ending.as_deref())),
            None => "it stands".to_owned(),
        };
        format!(
            "Raised by the watch over scheduled rounds; began about {}; {end}. At most one false alarm in {:.0} days.\n",
            raised.began_at,
            1.0 / raised.false_alarms_per_day.max(f64::MIN_POSITIVE)
        )
    }
}

/// How something raised has ended.
pub fn past(ending: Option<&str>) -> &str {
    match ending {
        Some("quiet") => "over since",
        Some("superseded") => "told more exactly",
        Some("unseen") => "not probed any more",
        Some(_) | None => "ended",
    }
}
