//! A verdict as a person reads it: what is blamed and how sure that is, what carries it, what would stand
//! in its place and why it does not, what is cleared, and what to do.

use localize::verdict::Earlier;
use localize::{Fault, Kind, Rival, Verdict, VerdictOutcome};
use proto::kept::Kept;
use proto::words::{component, counted, kind, micros, outcome, percent};

use super::known::anchor;
use super::time::{self, Instant};
use super::told::{self, Line, Tone};

/// Width of the bars of weight and of the scale of rates, in their own units.
const BAR: f64 = 120.0;
const SCALE: f64 = 200.0;
/// From this probability on that no component explains what is seen, it is said.
const UNEXPLAINED: f64 = 0.005;

/// A verdict for a template.
pub(super) struct Evidence {
    pub(super) id: String,
    pub(super) service: String,
    pub(super) outcome: &'static str,
    pub(super) tone: Tone,
    /// What there is to say where nothing is blamed.
    pub(super) sentence: String,
    pub(super) at: Option<Instant>,
    /// How the watch came to it; empty where somebody had asked.
    pub(super) story: String,
    pub(super) faults: Vec<Blamed>,
    pub(super) shares: Vec<Share>,
    pub(super) cleared: Vec<Cleared>,
    pub(super) earlier: Vec<Past>,
    pub(super) not_probed: Vec<LeftOut>,
    pub(super) standing: Vec<String>,
    pub(super) ask: Vec<String>,
    pub(super) detection: String,
    pub(super) origin: String,
}

/// A fault.
pub(super) struct Blamed {
    pub(super) anchor: String,
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) line: Line,
    pub(super) felt: bool,
    pub(super) rate: String,
    pub(super) low: String,
    pub(super) high: String,
    /// Where the interval begins on the scale, how long it is, and where the estimate is.
    pub(super) scale: [f64; 3],
    pub(super) evidence: Vec<Seen>,
    pub(super) next_step: String,
    pub(super) rivals: Vec<Instead>,
}

/// A line of evidence.
pub(super) struct Seen {
    pub(super) text: String,
    pub(super) implicates: bool,
    pub(super) weight: String,
    pub(super) bar: f64,
}

/// What would stand in a fault's place.
pub(super) struct Instead {
    pub(super) component: String,
    pub(super) mode: String,
    pub(super) odds: String,
    pub(super) because: String,
}

/// An explanation with its probability. A second fault beside the first is one too, so that they need not
/// add up to one.
pub(super) struct Share {
    /// Where the row is found; empty for a fault, which has a section of its own.
    pub(super) anchor: String,
    pub(super) what: String,
    pub(super) mode: String,
    pub(super) because: String,
    pub(super) percent: String,
    pub(super) class: &'static str,
    pub(super) bar: f64,
}

/// The cleared of one kind.
pub(super) struct Cleared {
    pub(super) kind: &'static str,
    pub(super) parts: Vec<Innocent>,
}

/// One that is cleared.
pub(super) struct Innocent {
    pub(super) anchor: String,
    pub(super) name: String,
    pub(super) sure: String,
    pub(super) because: String,
}

/// What is over.
pub(super) struct Past {
    pub(super) what: String,
    pub(super) from: String,
    pub(super) to: String,
}

/// Arms of which nothing is known, for one reason.
pub(super) struct LeftOut {
    pub(super) vantage: String,
    pub(super) arms: Vec<String>,
    pub(super) because: String,
}

impl Evidence {
    pub(super) fn new(kept: &Kept, now_us: u64) -> Self {
        let verdict = &kept.verdict;
        Self {
            id: verdict.id.clone(),
            service: verdict.service.clone(),
            outcome: outcome(verdict.outcome),
            tone: tone(verdict),
            sentence: sentence(verdict),
            at: Instant::read(&verdict.started_at, now_us),
            story: kept.story(),
            faults: verdict
                .faults
                .iter()
                .map(|fault| blamed(fault, now_us))
                .collect(),
            shares: shares(verdict),
            cleared: cleared(verdict),
            earlier: verdict
                .earlier
                .iter()
                .map(|earlier| past(earlier, verdict))
                .collect(),
            not_probed: left_out(verdict),
            standing: verdict.standing.clone(),
            ask: verdict.ask.clone(),
            detection: told::detection(verdict),
            origin: origin(verdict),
        }
    }
}

impl Evidence {
    /// Whether any explanation comes with a reason.
    pub(super) fn has_reasons(&self) -> bool {
        self.shares.iter().any(|share| !share.because.is_empty())
    }
}

fn tone(verdict: &Verdict) -> Tone {
    match verdict.outcome {
        VerdictOutcome::Healthy => Tone::Good,
        VerdictOutcome::Inconclusive => Tone::Doubt,
        VerdictOutcome::Fault if verdict.faults.iter().any(|fault| fault.user_impact) => Tone::Bad,
        VerdictOutcome::Fault => Tone::Doubt,
    }
}

fn sentence(verdict: &Verdict) -> String {
    match verdict.outcome {
        VerdictOutcome::Healthy => "No component at fault.".to_owned(),
        VerdictOutcome::Inconclusive => told::question(verdict),
        VerdictOutcome::Fault => String::new(),
    }
}

fn blamed(fault: &Fault, now_us: u64) -> Blamed {
    let most = fault
        .evidence
        .iter()
        .map(|line| line.nats)
        .fold(1.0, f64::max);
    let seen = |line: &localize::Evidence| Seen {
        text: line.text.clone(),
        implicates: line.implicates,
        weight: times(line.nats),
        bar: (line.nats.max(0.0) / most * BAR).round(),
    };
    let rate = &fault.rate;
    let at = |share: f64| (share.clamp(0.0, 1.0) * SCALE).round();
    Blamed {
        anchor: anchor(&fault.component),
        kind: kind(fault.component.kind),
        name: fault.component.name.clone(),
        line: Line::new(fault, now_us),
        felt: fault.user_impact,
        rate: percent(rate.estimate),
        low: percent(rate.low),
        high: percent(rate.high),
        scale: [
            at(rate.low),
            (at(rate.high) - at(rate.low)).max(2.0),
            at(rate.estimate),
        ],
        evidence: fault.evidence.iter().map(seen).collect(),
        next_step: fault.next_step.clone(),
        rivals: fault.rivals.iter().map(instead).collect(),
    }
}

fn instead(rival: &Rival) -> Instead {
    Instead {
        component: component(&rival.component),
        mode: rival.mode.clone(),
        odds: times(rival.nats),
        because: rival.because.clone(),
    }
}

/// The exponential of a weight, with the digits that it is worth.
fn times(nats: f64) -> String {
    match nats.exp() {
        odds if odds < 1.05 => "–".to_owned(),
        odds if odds < 10.0 => format!("{odds:.1} ×"),
        odds if odds < 1000.0 => format!("{odds:.0} ×"),
        odds if odds < 1e6 => format!("{:.0} thousand ×", odds / 1e3),
        _ => "over a million ×".to_owned(),
    }
}

/// What is blamed, what would explain it else, and what no component explains.
fn shares(verdict: &Verdict) -> Vec<Share> {
    if verdict.outcome == VerdictOutcome::Healthy {
        return Vec::new();
    }
    let faults = verdict.faults.iter().map(|fault| Share {
        mode: fault.mode.clone(),
        ..share(component(&fault.component), fault.confidence, "blamed")
    });
    let rivals = verdict.alternatives.iter().map(|rival| Share {
        anchor: anchor(&rival.component),
        mode: rival.mode.clone(),
        because: rival.because.clone(),
        ..share(component(&rival.component), rival.confidence, "candidate")
    });
    let unknown = "something that no known component explains".to_owned();
    let unknown =
        (verdict.unknown >= UNEXPLAINED).then(|| share(unknown, verdict.unknown, "unknown"));
    faults.chain(rivals).chain(unknown).collect()
}

fn share(what: String, probability: f64, class: &'static str) -> Share {
    Share {
        anchor: String::new(),
        what,
        mode: String::new(),
        because: String::new(),
        percent: percent(probability),
        class,
        bar: (probability.clamp(0.0, 1.0) * BAR).round(),
    }
}

fn cleared(verdict: &Verdict) -> Vec<Cleared> {
    let mut kinds: Vec<(Kind, Cleared)> = Vec::new();
    for part in &verdict.exonerated {
        let of = part.component.kind;
        let innocent = Innocent {
            anchor: anchor(&part.component),
            name: part.component.name.clone(),
            sure: percent(part.confidence),
            because: part.because.clone(),
        };
        match kinds.iter_mut().find(|(known, _)| *known == of) {
            Some((_, cleared)) => cleared.parts.push(innocent),
            None => {
                let cleared = Cleared {
                    kind: kind(of),
                    parts: vec![innocent],
                };
                kinds.push((of, cleared));
            }
        }
    }
    kinds.into_iter().map(|(_, cleared)| cleared).collect()
}

fn past(earlier: &Earlier, verdict: &Verdict) -> Past {
    let beside = time::micros(&verdict.started_at).unwrap_or(0);
    let clock = |text: &str| match time::micros(text) {
        Some(at_us) => time::clock(at_us, beside),
        None => text.to_owned(),
    };
    Past {
        what: format!("{} {}", component(&earlier.component), earlier.mode),
        from: clock(&earlier.began_at),
        to: clock(&earlier.ended_at),
    }
}

/// Those of one vantage point and one reason together.
fn left_out(verdict: &Verdict) -> Vec<LeftOut> {
    let mut groups: Vec<LeftOut> = Vec::new();
    for arm in &verdict.not_probed {
        let same =
            |group: &&mut LeftOut| (&group.vantage, &group.because) == (&arm.vantage, &arm.because);
        match groups.iter_mut().find(same) {
            Some(group) => group.arms.push(arm.arm.clone()),
            None => groups.push(LeftOut {
                vantage: arm.vantage.clone(),
                arms: vec![arm.arm.clone()],
                because: arm.because.clone(),
            }),
        }
    }
    groups
}

/// Where the verdict comes from, and how long it took.
fn origin(verdict: &Verdict) -> String {
    let from = match verdict.vantages.is_empty() {
        true => "nowhere".to_owned(),
        false => verdict.vantages.join(", "),
    };
    format!(
        "{} and {} from {from}; clocks within {}; it took {}",
        counted(verdict.rounds, "round"),
        counted(verdict.probes, "probe"),
        micros(verdict.clock.worst_uncertainty_us),
        micros(verdict.elapsed_ms.saturating_mul(1000)),
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::samples;
    use super::*;

    #[test]
    fn weights_are_said_with_the_digits_that_they_are_worth() {
        let rows = [
            (0.0, "–"),
            (1.0, "2.7 ×"),
            (3.0, "20 ×"),
            (9.0, "8 thousand ×"),
            (50.0, "over a million ×"),
        ];
        for (nats, words) in rows {
            assert_eq!(times(nats), words);
        }
    }

    #[test]
    fn every_explanation_has_its_probability() {
        let verdict = samples::fault();
        let said = shares(&verdict);
        let said: Vec<(&str, f64)> = said
            .iter()
            .map(|share| (share.percent.as_str(), share.bar))
            .collect();
        assert_eq!(said, [("98%", 118.0), ("1%", 1.0)]);
        assert!(shares(&samples::healthy()).is_empty());
    }
}
