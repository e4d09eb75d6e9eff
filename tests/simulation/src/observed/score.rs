//! What was said of a case, against what was so.

use serde::Deserialize;

use super::history::{Fault, SECOND};
use super::localisation::Asked;
use super::naming::{self, Names};

/// A part is named from here on.
pub const NAMED: f64 = 0.9;
/// Probabilities up to this are no statement.
const SAID: f64 = 0.001;
/// So long before the verdict something must have crossed a fault for it to be seen.
const LATELY_US: u64 = 60 * SECOND;
/// A fault that would have struck so often since its last strike, were it still there, is known to be over.
const EXPECTED: f64 = 3.0;

/// A part named or listed, as a verdict prints it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Said {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What it is said to do wrong.
    #[serde(default)]
    pub mode: String,
    /// How probable that is said to be.
    pub confidence: f64,
}

/// What is read of a verdict.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Spoken {
    /// `healthy`, `fault` or `inconclusive`.
    pub outcome: String,
    /// The parts named.
    pub faults: Vec<Said>,
    /// The parts listed.
    pub alternatives: Vec<Said>,
    /// What would tell more.
    pub ask: Vec<String>,
    /// How probable it is that nothing explains what was seen.
    #[serde(default)]
    pub unknown: f64,
}

/// What became of a fault that was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It was named.
    Found {
        /// By its mode, too.
        in_mode: bool,
    },
    /// It is a candidate, and there is a question.
    Open,
    /// It is a declared part, and a candidate with a question.
    Listed,
    /// It was not.
    Missed,
    /// No probe could see it.
    Unseen,
}

/// A fault that was there.
#[derive(Clone, Debug, PartialEq)]
pub struct Present {
    /// What it may be called.
    pub names: Names,
    /// Its mode.
    pub word: &'static str,
    /// What became of it.
    pub fate: Fate,
    /// All the time, and everything that meets it.
    pub hard: bool,
    /// Probes in which it showed.
    pub struck: u32,
    /// In a line.
    pub text: String,
}

/// What a part was that was named and not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blame {
    /// It had been at fault, and that was over.
    Over,
    /// It was never at fault.
    Innocent,
}

/// A case, scored.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// What it was drawn from.
    pub seed: u64,
    /// The faults that were there.
    pub present: Vec<Present>,
    /// Faults that were over.
    pub past: usize,
    /// What was named wrongly, and what that was.
    pub wrong: Vec<(Said, Blame)>,
    /// The verdict's outcome.
    pub outcome: String,
    /// Every probability said, and whether it was so.
    pub said: Vec<(f64, bool)>,
    /// Sum of the squared errors of what was said and of what should have been.
    pub brier: f64,
    /// Simulated seconds until the verdict.
    pub took_s: f64,
    /// Judgements until then.
    pub judgements: u32,
    /// Probes judged.
    pub probes: usize,
    /// By what it may be broken down.
    pub traits: Vec<(&'static str, String)>,
    /// The verdict in a line.
    pub spoken: String,
}

impl Scored {
    /// Scores a localisation.
    ///
    /// # Errors
    /// When the verdict is no longer printed with the fields that are read here.
    pub fn new(asked: &Asked) -> serde_json::Result<Self> {
        let verdict = serde_json::to_value(&asked.assessment.verdict)?;
        let spoken: Spoken = serde_json::from_value(verdict)?;
        let mut now = Vec::new();
        let mut over = Vec::new();
        for fault in &asked.faults {
            let names = naming::names(asked, fault.place);
            if fault.course.lasts(asked.asked_us) {
                now.push((fault, names));
            } else {
                over.push((fault, names));
            }
        }
        let mut scored = Self {
            seed: asked.seed,
            present: Vec::new(),
            past: over.len(),
            wrong: Vec::new(),
            outcome: spoken.outcome.clone(),
            said: Vec::new(),
            brier: 0.0,
            took_s: asked.took_us as f64 / 1e6,
            judgements: asked.judgements,
            probes: asked.probes,
            traits: traits(asked, now.len(), over.len()),
            spoken: in_a_line(&spoken),
        };
        scored.hold(asked, &spoken, &now, &over);
        Ok(scored)
    }

    fn hold(
        &mut self,
        asked: &Asked,
        spoken: &Spoken,
        now: &[(&Fault, Names)],
        over: &[(&Fault, Names)],
    ) {
        let guilty = |said: &Said| {
            now.iter()
                .any(|(_, names)| names.mean(&said.kind, &said.name))
        };
        let named = || spoken.faults.iter().filter(|said| said.confidence >= NAMED);
        for (fault, names) in now {
            let fate = fate(asked, fault, names, spoken);
            self.present.push(Present {
                names: names.clone(),
                word: fault.mode.word,
                fate,
                hard: fault.is_hard(),
                struck: fault.met.struck,
                text: text(asked, fault, names),
            });
        }
        let partly = |said: &Said| {
            now.iter()
                .any(|(_, names)| names.hold(&said.kind, &said.name))
        };
        for said in named().filter(|said| !guilty(said) && !partly(said)) {
            let was = over
                .iter()
                .filter(|(_, names)| names.mean(&said.kind, &said.name));
            let mut was = was.peekable();
            let blame = if was.peek().is_some() {
                Blame::Over
            } else {
                Blame::Innocent
            };
            // Nobody can know yet that a fault is over that has hardly been crossed since.
            if was.all(|(fault, _)| known_to_be_over(fault)) {
                self.wrong.push((said.clone(), blame));
            }
        }
        let stated = spoken.faults.iter().chain(&spoken.alternatives);
        for said in stated.filter(|said| !partly(said)) {
            self.state(said.confidence, guilty(said));
        }
        let seen = |present: &&Present| present.fate != Fate::Unseen;
        let well = self.present.iter().filter(seen).count() == 0;
        if asked.assessment.leading == "healthy" {
            self.state(asked.assessment.leading_confidence, well);
        }
        let all = || spoken.faults.iter().chain(&spoken.alternatives);
        let unsaid = self.present.iter().filter(seen);
        let unsaid = unsaid.filter(|p| !all().any(|said| p.names.mean(&said.kind, &said.name)));
        self.brier += unsaid.count() as f64;
    }

    fn state(&mut self, probability: f64, so: bool) {
        if probability > SAID {
            self.said.push((probability, so));
            self.brier += (probability - f64::from(u8::from(so))).powi(2);
        }
    }

    /// Whether something is wrong with what was said.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        let seen = self
            .present
            .iter()
            .filter(|p| p.fate != Fate::Unseen)
            .count();
        let missed = self
            .present
            .iter()
            .any(|p| matches!(p.fate, Fate::Missed | Fate::Listed));
        !self.wrong.is_empty() || missed || seen == 0 && self.outcome == "fault"
    }

    /// Whether nothing was wrong that could be seen.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.present.iter().all(|p| p.fate == Fate::Unseen)
    }
}

fn fate(asked: &Asked, fault: &Fault, names: &Names, spoken: &Spoken) -> Fate {
    let means = |said: &&Said| names.mean(&said.kind, &said.name);
    let named = spoken.faults.iter().filter(|said| said.confidence >= NAMED);
    let mut found = named.filter(means).peekable();
    if found.peek().is_some() {
        let in_mode = found.any(|said| said.mode == fault.mode.word);
        return Fate::Found { in_mode };
    }
    let verdict_us = asked.asked_us + asked.took_us;
    if fault.met.struck == 0 || fault.met.last_us + LATELY_US < verdict_us {
        return Fate::Unseen;
    }
    let listed = spoken
        .faults
        .iter()
        .chain(&spoken.alternatives)
        .any(|said| means(&said));
    match (listed && !spoken.ask.is_empty(), names.undeclared) {
        (true, true) => Fate::Open,
        (true, false) => Fate::Listed,
        (false, _) => Fate::Missed,
    }
}

fn known_to_be_over(fault: &Fault) -> bool {
    let share = f64::from(fault.met.struck) / f64::from(fault.met.crossed.max(1));
    fault.met.struck == 0 || f64::from(fault.met.spared) * share >= EXPECTED
}

/// A fault in a line.
fn text(asked: &Asked, fault: &Fault, names: &Names) -> String {
    let seconds = |at: u64| (asked.asked_us as f64 - at as f64) / 1e6;
    let (kind, name) = names.right.first().cloned().unwrap_or_default();
    let pattern = match &fault.course.pattern {
        super::course::Pattern::Steady => "",
        super::course::Pattern::Bursts(_) => " bursts",
        super::course::Pattern::Periodic { .. } => " periodic",
    };
    format!(
        "{:?} = {kind} {name} {} {:?} {:.2}{pattern} since {:.0}s struck {}",
        fault.place,
        fault.mode.word,
        fault.way[0].0,
        fault.rate,
        seconds(fault.course.from_us),
        fault.met.struck
    )
}

fn in_a_line(spoken: &Spoken) -> String {
    let list = |all: &[Said]| {
        let each = all
            .iter()
            .map(|s| format!("{} {} {} {:.3}", s.kind, s.name, s.mode, s.confidence));
        each.collect::<Vec<_>>().join("; ")
    };
    format!(
        "{} [{}] alternatives [{}] unknown {:.2} ask {}",
        spoken.outcome,
        list(&spoken.faults),
        list(&spoken.alternatives),
        spoken.unknown,
        spoken.ask.len()
    )
}

fn traits(asked: &Asked, now: usize, over: usize) -> Vec<(&'static str, String)> {
    let site = &asked.site;
    let agents = site.vantages.len();
    vec![
        ("balancing", format!("{:?}", site.balancing)),
        ("declared", format!("{:?}", site.declared)),
        ("faults", now.to_string()),
        ("past", if over > 0 { "chain" } else { "none" }.to_owned()),
        (
            "cdn",
            if site.has_cdn() { "edges" } else { "none" }.to_owned(),
        ),
        (
            "schedule",
            match (site.every_s, site.learnt) {
                (Some(_), true) => "learnt",
                (Some(_), false) => "new",
                (None, _) => "none",
            }
            .to_owned(),
        ),
        (
            "agents",
            match agents {
                1..=2 => "1-2",
                3..=5 => "3-5",
                _ => "6-8",
            }
            .to_owned(),
        ),
    ]
}
