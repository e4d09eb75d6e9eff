//! A verdict as the coordinator keeps it: with what is said of it where the watch over scheduled rounds has
//! raised it. Its JSON is what `meshctl explain -o json` prints.

use localize::Verdict;
use serde::Serialize;

use crate::convert::Malformed;
use crate::v1;

/// A verdict as the coordinator keeps it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Kept {
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Where nobody had asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raised: Option<Raised>,
}

/// How the watch came to it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Raised {
    /// When it began, as far as the rounds tell; RFC 3339.
    pub began_at: String,
    /// When it was found to be over.
    pub over_at: Option<String>,
    /// Why: `quiet`, `superseded` or `unseen`.
    pub ending: Option<String>,
    /// False alarms a day that the watch allows at most.
    pub false_alarms_per_day: f64,
}

impl Kept {
    /// As it comes over the wire.
    ///
    /// # Errors
    /// When it is no verdict of this version.
    pub fn read(mut wire: v1::Verdict) -> Result<Self, Malformed> {
        let some = |text: String| (!text.is_empty()).then_some(text);
        let raised = wire.raised.take().map(|raised| Raised {
            began_at: raised.began_at,
            over_at: some(raised.over_at),
            ending: some(raised.ending),
            false_alarms_per_day: raised.false_alarms_per_day,
        });
        Ok(Self {
            verdict: wire.try_into()?,
            raised,
        })
    }

    /// Who it came from and whether it stands, for a list.
    #[must_use]
    pub fn state(&self) -> String {
        match &self.raised {
            None => "asked for".to_owned(),
            Some(Raised {
                over_at: Some(_), ..
            }) => "raised, over".to_owned(),
            Some(_) => "raised, stands".to_owned(),
        }
    }

    /// The same in a sentence; empty for a verdict that somebody had asked for.
    #[must_use]
    pub fn story(&self) -> String {
        let Some(raised) = &self.raised else {
            return String::new();
        };
        let end = match &raised.over_at {
            Some(over_at) => {
                let why = reason(raised.ending.as_deref().unwrap_or_default());
                format!("over since {over_at}, {why}")
            }
            None => "it stands".to_owned(),
        };
        format!(
            "Raised by the watch over scheduled rounds; began about {}; {end}. At most one false alarm in {:.0} days.\n",
            raised.began_at,
            1.0 / raised.false_alarms_per_day.max(f64::MIN_POSITIVE)
        )
    }
}

/// Why something raised stands no longer, for the word of the wire.
#[must_use]
pub fn reason(ending: &str) -> &str {
    match ending {
        "quiet" => "because quiet rounds refute its rate",
        "superseded" => "because a later verdict is more exact",
        "unseen" => "because nothing has probed it for a day",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked_for() -> v1::Verdict {
        v1::Verdict {
            schema: 1,
            service: "shop.example".to_owned(),
            id: "v-7f3a".to_owned(),
            outcome: "fault".to_owned(),
            ..v1::Verdict::default()
        }
    }

    fn raised(over_at: &str, ending: &str) -> Kept {
        let raised = v1::Raised {
            began_at: "2026-01-02T03:04:05.000Z".to_owned(),
            over_at: over_at.to_owned(),
            ending: ending.to_owned(),
            false_alarms_per_day: 1e-4,
        };
        let wire = v1::Verdict {
            raised: Some(raised),
            ..asked_for()
        };
        Kept::read(wire).unwrap()
    }

    #[test]
    fn a_verdict_asked_for_is_as_it_ever_was() {
        let kept = Kept::read(asked_for()).unwrap();
        let [kept_json, json] = [
            serde_json::to_value(&kept).unwrap(),
            serde_json::to_value(&kept.verdict).unwrap(),
        ];
        assert_eq!(kept_json, json);
        assert_eq!(
            (kept.state().as_str(), kept.story().as_str()),
            ("asked for", "")
        );
    }

    #[test]
    fn a_raised_one_says_since_when_and_whether_it_stands() {
        let stands = raised("", "");
        assert_eq!(stands.state(), "raised, stands");
        assert_eq!(
            stands.story(),
            "Raised by the watch over scheduled rounds; began about 2026-01-02T03:04:05.000Z; \
             it stands. At most one false alarm in 10000 days.\n"
        );
        let json = serde_json::to_value(&stands).unwrap();
        assert_eq!(json["raised"]["over_at"], serde_json::Value::Null);
        assert_eq!(json["raised"]["false_alarms_per_day"], 1e-4);
        assert_eq!(json["outcome"], "fault");
        let over = raised("2026-01-02T04:04:05.000Z", "quiet");
        assert_eq!(over.state(), "raised, over");
        assert!(
            over.story()
                .contains("over since 2026-01-02T04:04:05.000Z, because quiet rounds")
        );
    }
}
