//! The judgement, and the JSON that `meshctl localize -o json` prints.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

pub use crate::engine::interval::Rate;
pub use crate::facts::component::{Component, Kind};
use crate::judgement::choice::Choice;

/// The conclusion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing is wrong that the probes could have seen; `detection` says what they could.
    Healthy,
    /// At least one component is blamed.
    Fault,
    /// The evidence does not tell; `alternatives` are the candidates, `ask` what would decide.
    Inconclusive,
}

/// One cell of the evidence: an arm from a vantage point, counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The cell in words.
    pub text: String,
    /// The vantage point, or the witness.
    pub vantage: String,
    /// The arm's label.
    pub arm: String,
    /// How many failed.
    pub failed: u64,
    /// Of how many.
    pub of: u64,
    /// The commonest failure in snake case; empty when none failed.
    pub failure: String,
    /// True when it speaks against the component, false when it speaks for another's innocence.
    pub implicates: bool,
    /// What leaving the line out would cost: by how much it is more probable with the fault than, for
    /// one that implicates, without it; for a contrast, with the rival that it refutes best. Natural
    /// logarithm of the ratio.
    #[serde(default)]
    pub nats: f64,
}

/// What would stand in a fault's place if that were innocent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rival {
    /// The component.
    #[serde(flatten)]
    pub component: Component,
    /// What it would do wrong.
    pub mode: String,
    /// By how much it is less probable than the fault, prior included: natural logarithm of the odds.
    pub nats: f64,
    /// The observation that tells the two apart best, in words.
    pub because: String,
}

/// A component that is blamed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// The component.
    #[serde(flatten)]
    pub component: Component,
    /// What it does wrong, a snake-case word of a growing vocabulary.
    pub mode: String,
    /// Calibrated probability that this component is at fault.
    pub confidence: f64,
    /// False when redundancy masks the fault.
    pub user_impact: bool,
    /// When it began, as far as the probes tell, RFC 3339; empty where they do not.
    #[serde(default)]
    pub began_at: String,
    /// How its failures go on in time, or what decides them.
    #[serde(default)]
    pub pattern: Pattern,
    /// From one beginning to the next in seconds, where the pattern is periodic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period_s: Option<f64>,
    /// Share of the probes crossing the component that it fails.
    pub rate: Rate,
    /// One sentence for the person on call.
    pub summary: String,
    /// Who can mend it, in words.
    pub owner: String,
    /// What carries the verdict, in the order of a request's layers, and in a layer what passed before
    /// what failed.
    pub evidence: Vec<Evidence>,
    /// What to look at or change first.
    pub next_step: String,
    /// What would explain it in this component's place, most probable first.
    #[serde(default)]
    pub rivals: Vec<Rival>,
}

/// How the failures of a fault go on in time, or what decides which probes fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// At one rate.
    #[default]
    Steady,
    /// It comes and goes.
    Bursts,
    /// It comes and goes at even intervals; the fault says at which.
    Periodic,
    /// The same ports always fail, others never.
    ByFlow,
    /// The same source addresses always fail, others never.
    BySource,
    /// One variant of the content fails, others do not.
    ByVariant,
    /// Requests with the same cookie always fail, others never.
    ByCookie,
}

impl Pattern {
    /// Whether the fault comes and goes.
    pub(crate) fn pauses(self) -> bool {
        match self {
            Self::Bursts | Self::Periodic => true,
            Self::Steady | Self::ByFlow | Self::BySource | Self::ByVariant | Self::ByCookie => {
                false
            }
        }
    }
}

/// What was wrong within the window and is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Earlier {
    /// The component.
    #[serde(flatten)]
    pub component: Component,
    /// What it did wrong.
    pub mode: String,
    /// When that began, RFC 3339.
    pub began_at: String,
    /// When it was over, RFC 3339.
    pub ended_at: String,
}

/// An arm about which nothing is known: it was refused or left out by the agent, or has never passed
/// since it was declared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NotProbed {
    /// The vantage point.
    pub vantage: String,
    /// The arm's label.
    pub arm: String,
    /// Why, in words.
    pub because: String,
}

/// A component that is cleared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exonerated {
    /// The component.
    #[serde(flatten)]
    pub component: Component,
    /// Probability that it is not at fault.
    pub confidence: f64,
    /// Why, in words.
    pub because: String,
}

/// A rival explanation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alternative {
    /// The component.
    #[serde(flatten)]
    pub component: Component,
    /// What it would do wrong.
    pub mode: String,
    /// Its probability.
    pub confidence: f64,
    /// What it explains, and what tells it from the most probable explanation, in words.
    #[serde(default)]
    pub because: String,
}

/// What the probes could have seen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// A fault of this rate in any component crossed ...
    pub rate: f64,
    /// ... would have been seen with this probability.
    pub power: f64,
}

/// How well the clocks agreed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// The largest uncertainty of a stamp among the observations.
    pub worst_uncertainty_us: u64,
}

/// The judgement on a service. The caller adds `id`, `started_at` and `elapsed_ms`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Version of this shape: 1.
    pub schema: u32,
    /// The service's name.
    pub service: String,
    /// Names the verdict in `meshctl explain`; empty until the coordinator has stored it.
    pub id: String,
    /// The conclusion.
    pub outcome: Outcome,
    /// The blamed, most confident first.
    pub faults: Vec<Fault>,
    /// The cleared.
    pub exonerated: Vec<Exonerated>,
    /// The rivals, most probable first.
    pub alternatives: Vec<Alternative>,
    /// What was wrong within the window and is over, latest first.
    #[serde(default)]
    pub earlier: Vec<Earlier>,
    /// The arms about which nothing is known, and why.
    #[serde(default)]
    pub not_probed: Vec<NotProbed>,
    /// The verdicts by which alarms of the watch stand.
    #[serde(default)]
    pub standing: Vec<String>,
    /// Probability that something is wrong that no component explains.
    #[serde(default)]
    pub unknown: f64,
    /// What would tell apart what cannot be told apart.
    pub ask: Vec<String>,
    /// What the probes could have seen.
    pub detection: Detection,
    /// How well the clocks agreed.
    pub clock: Clock,
    /// Rounds with at least one observation.
    pub rounds: u64,
    /// Observations of probes that were fired.
    pub probes: u64,
    /// The vantage points that they came from, sorted.
    pub vantages: Vec<String>,
    /// RFC 3339; empty until the coordinator has set it.
    pub started_at: String,
    /// From the start of the localisation to the verdict, in milliseconds.
    pub elapsed_ms: u64,
}

/// A verdict with what only the driver of a localisation needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    /// The judgement on the evidence so far.
    pub verdict: Verdict,
    /// More rounds would not change it: the driver may end early.
    pub settled: bool,
    /// The most probable explanation in words, "healthy" included.
    pub leading: String,
    /// Its probability.
    pub leading_confidence: f64,
    /// What to probe next.
    pub choice: Choice,
}
