//! The state of a service in words: what verdicts and alarms that are on disk say of it.

use localize::{Fault, Verdict, VerdictOutcome};
use proto::kept::Kept;
use proto::words::{component, pattern, percent};

use super::time::{self, Instant};

/// For so long a verdict that somebody asked for speaks of the present, in microseconds of mesh time: as
/// long as a localisation looks back by default.
const PRESENT_US: u64 = 15 * 60 * 1_000_000;

/// How a state is to be felt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tone {
    /// Users are affected.
    Bad,
    /// Something is wrong or in doubt, and users may not feel it.
    Doubt,
    /// Nothing is wrong by what was seen.
    Good,
    /// Nothing is known.
    Quiet,
}

impl Tone {
    /// Its class in the stylesheet.
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Bad => "bad",
            Self::Doubt => "doubt",
            Self::Good => "good",
            Self::Quiet => "quiet",
        }
    }

    /// A sign that tells it without colour.
    pub(super) const fn sign(self) -> &'static str {
        match self {
            Self::Bad => "✕",
            Self::Doubt => "!",
            Self::Good => "✓",
            Self::Quiet => "·",
        }
    }
}

/// The state of a service.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    /// How it is to be felt.
    pub(super) tone: Tone,
    /// In a word.
    pub(super) word: &'static str,
    /// What is wrong: a line each.
    pub(super) faults: Vec<Line>,
    /// What else there is to say, in a sentence; empty where the faults say it.
    pub(super) sentence: String,
    /// The verdict that says so.
    pub(super) verdict: Option<String>,
    /// When that was made.
    pub(super) at: Option<Instant>,
}

/// One fault in the words of a list.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    /// The component.
    pub(super) component: String,
    /// What it does wrong.
    pub(super) mode: String,
    /// How sure that is.
    pub(super) sure: String,
    /// Whether users feel it, in words.
    pub(super) impact: &'static str,
    /// In a sentence.
    pub(super) summary: String,
    /// Who can mend it.
    pub(super) owner: String,
    /// When it began.
    pub(super) since: Option<Instant>,
    /// How it goes on, in words.
    pub(super) pattern: Option<String>,
}

impl Line {
    pub(super) fn new(fault: &Fault, now_us: u64) -> Self {
        Self {
            component: component(&fault.component),
            mode: fault.mode.clone(),
            sure: percent(fault.confidence),
            impact: impact(fault),
            summary: fault.summary.clone(),
            owner: fault.owner.clone(),
            since: Instant::read(&fault.began_at, now_us),
            pattern: pattern(fault.pattern, fault.period_s),
        }
    }
}

/// Whether users feel a fault, in words.
pub(super) fn impact(fault: &Fault) -> &'static str {
    match fault.user_impact {
        true => "users are affected",
        false => "masked by redundancy",
    }
}

/// The verdict that speaks of the present best: the newest, unless an alarm stands that it does not
/// name a fault beside.
pub(super) fn current<'a>(verdicts: &'a [Kept], standing: &[String]) -> Option<&'a Kept> {
    let newest = verdicts.first();
    let stands = |kept: &&Kept| standing.contains(&kept.verdict.id);
    match newest.map(|kept| kept.verdict.outcome) {
        Some(VerdictOutcome::Fault) => newest,
        Some(VerdictOutcome::Healthy | VerdictOutcome::Inconclusive) => {
            verdicts.iter().find(stands).or(newest)
        }
        None => None,
    }
}

/// The state by the newest verdicts on a service, newest first, and the alarms that stand.
pub(super) fn told(verdicts: &[Kept], standing: &[String], rounds: u64, now_us: u64) -> Told {
    let Some(kept) = current(verdicts, standing) else {
        return untold(rounds);
    };
    let verdict = &kept.verdict;
    let at = Instant::read(&verdict.started_at, now_us);
    let over = kept
        .raised
        .as_ref()
        .and_then(|raised| raised.over_at.as_deref());
    let (tone, word, sentence) = match verdict.outcome {
        _ if over.is_some() => (Tone::Good, "Well", was(verdict, over, now_us)),
        VerdictOutcome::Healthy => (Tone::Good, "Well", healthy(verdict)),
        VerdictOutcome::Inconclusive => (Tone::Doubt, "Not clear", question(verdict)),
        VerdictOutcome::Fault if is_past(kept, standing, now_us) => {
            (Tone::Doubt, "Fault earlier", PAST.to_owned())
        }
        VerdictOutcome::Fault => match verdict.faults.iter().any(|fault| fault.user_impact) {
            true => (Tone::Bad, "Fault", String::new()),
            false => (Tone::Doubt, "Masked fault", String::new()),
        },
    };
    let faults = verdict.faults.iter().filter(|_| over.is_none());
    Told {
        tone,
        word,
        faults: faults.map(|fault| Line::new(fault, now_us)).collect(),
        sentence,
        verdict: Some(verdict.id.clone()),
        at,
    }
}

/// What there is to say beside a fault of which nothing was heard since.
const PAST: &str =
    "Nobody has asked since, and no alarm stands: whether it is mended is not known.";

/// Whether a verdict is too old to speak of the present by itself.
fn is_past(kept: &Kept, standing: &[String], now_us: u64) -> bool {
    let started_us = time::micros(&kept.verdict.started_at).unwrap_or(now_us);
    standing.is_empty() && now_us.saturating_sub(started_us) > PRESENT_US
}

fn untold(rounds: u64) -> Told {
    let (word, sentence) = match rounds {
        0 => ("Not looked at", "No round has closed yet.".to_owned()),
        _ => (
            "Quiet",
            "The watch over its rounds has raised nothing, and nobody has asked.".to_owned(),
        ),
    };
    Told {
        tone: Tone::Quiet,
        word,
        faults: Vec::new(),
        sentence,
        verdict: None,
        at: None,
    }
}

fn healthy(verdict: &Verdict) -> String {
    format!("No component at fault. {}", detection(verdict))
}

/// What the probes could have seen.
pub(super) fn detection(verdict: &Verdict) -> String {
    format!(
        "A fault in {} of the requests through any component would have been seen with a probability of {}.",
        percent(verdict.detection.rate),
        percent(verdict.detection.power)
    )
}

/// What a verdict that is over was about.
fn was(verdict: &Verdict, over: Option<&str>, now_us: u64) -> String {
    let named = crate::mended::named(verdict);
    let named: Vec<String> = named
        .iter()
        .map(|(of, mode)| format!("{} {mode}", component(of)))
        .collect();
    let over = over.and_then(time::micros).unwrap_or(now_us);
    let over = time::clock(over, now_us);
    format!(
        "Nothing stands. What was raised last is over since {over} UTC: {}.",
        named.join(", ")
    )
}

/// The candidates of an inconclusive verdict.
pub(super) fn question(verdict: &Verdict) -> String {
    let candidate = |of: &localize::Alternative| {
        format!(
            "{} {} ({})",
            component(&of.component),
            of.mode,
            percent(of.confidence)
        )
    };
    let shown: Vec<String> = verdict.alternatives.iter().take(3).map(candidate).collect();
    let more = verdict.alternatives.len().saturating_sub(3);
    match (shown.is_empty(), more) {
        (true, _) if !verdict.standing.is_empty() => {
            "An alarm stands, and nothing proves it over.".to_owned()
        }
        (true, _) if verdict.unknown > 0.5 => {
            "Something that no known component explains.".to_owned()
        }
        (true, _) => "Nothing is blamed, but too little was seen to call it healthy.".to_owned(),
        (false, 0) => format!("Perhaps {}.", shown.join(", or ")),
        (false, more) => format!("Perhaps {}, or one of {more} others.", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use proto::kept::Raised;

    use super::super::tests::samples;
    use super::*;

    fn asked(verdict: Verdict) -> Kept {
        Kept {
            verdict,
            raised: None,
        }
    }

    fn raised(verdict: Verdict, over: Option<&str>) -> Kept {
        let raised = Raised {
            began_at: "2030-01-02T03:00:00.000Z".to_owned(),
            over_at: over.map(str::to_owned),
            ending: over.map(|_| "quiet".to_owned()),
            false_alarms_per_day: 1e-4,
        };
        Kept {
            verdict,
            raised: Some(raised),
        }
    }

    #[test]
    fn the_state_is_what_the_verdicts_say() {
        let now_us = time::micros("2030-01-02T03:05:05Z").unwrap();
        let masked = || {
            let mut verdict = samples::fault();
            verdict.faults[0].user_impact = false;
            verdict
        };
        let standing = [samples::fault().id];
        let mut healthy = samples::healthy();
        healthy.id = "v-later".to_owned();
        let check = |what: &str, verdicts: &[Kept], standing: &[String], expected| {
            let told = told(verdicts, standing, 7, now_us);
            assert_eq!(
                (told.tone, told.word, told.faults.len()),
                expected,
                "{what}"
            );
        };
        check("nobody asked", &[], &[], (Tone::Quiet, "Quiet", 0));
        let well = (Tone::Good, "Well", 0);
        check("healthy", &[asked(samples::healthy())], &[], well);
        let over = raised(samples::fault(), Some("2030-01-02T03:05:00Z"));
        check("over", &[over], &[], well);
        let fault = (Tone::Bad, "Fault", 1);
        check("fault", &[asked(samples::fault())], &[], fault);
        let beside = [asked(healthy), raised(samples::fault(), None)];
        check("stands beside a healthy one", &beside, &standing, fault);
        let later_us = now_us + PRESENT_US;
        let earlier = told(&[asked(samples::fault())], &[], 7, later_us);
        assert_eq!((earlier.tone, earlier.word), (Tone::Doubt, "Fault earlier"));
        let stands = told(&[raised(samples::fault(), None)], &standing, 7, later_us);
        assert_eq!((stands.tone, stands.word), (Tone::Bad, "Fault"));
        let hidden = (Tone::Doubt, "Masked fault", 1);
        check("masked", &[asked(masked())], &[], hidden);
        let open = (Tone::Doubt, "Not clear", 0);
        check("open", &[asked(samples::inconclusive())], &[], open);
        assert_eq!(told(&[], &[], 0, now_us).word, "Not looked at");
    }
}
