//! The arms that the heart wants probed next, between judging and firing.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use localize::{Arm, Case, Choice, Outcome, Pace, RoundId, VantageName};

/// Rounds that one choice is good for: as many as are fired until the next judgement.
const ROUNDS: u32 = 2;

/// What is wanted. Within one localisation, which fires and judges by turns.
#[derive(Debug, Default)]
pub(super) struct Wanted(Mutex<State>);

/// What the next round may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Whatever is wanted.
    All,
    /// No bursts: who limits connections by a rate must have let single ones through again before those of the next
    /// whole round come.
    Single,
}

#[derive(Debug, Default)]
struct State {
    arms: Vec<(VantageName, Arm)>,
    rounds: u32,
    /// The rounds fired of chosen arms.
    fired: BTreeSet<RoundId>,
}

impl Wanted {
    /// The heart has chosen. Nothing more is wanted once an agent has left out a chosen arm, which it
    /// had fired before: its limits are reached, and whole rounds must have what is left of them.
    pub(super) fn choose(&self, choice: &Choice, case: &Case) {
        let mut state = self.state();
        let mut left_out = case.observations.iter();
        let left_out = left_out
            .any(|seen| seen.outcome == Outcome::NotFired && state.fired.contains(&seen.round));
        state.arms = match left_out {
            true => Vec::new(),
            false => choice.next.clone(),
        };
        state.rounds = ROUNDS;
    }

    /// The arms of the next round; `None` when none are wanted, or when the choice has been fired so
    /// often that what came of it is worth waiting for.
    pub(super) fn take(&self, turn: Turn) -> Option<Vec<(VantageName, Arm)>> {
        let mut state = self.state();
        let has_turn = |(_, arm): &&(VantageName, Arm)| match (turn, arm.traits.pace) {
            (Turn::All, _) | (Turn::Single, Pace::Single) => true,
            (Turn::Single, Pace::Burst) => false,
        };
        let arms: Vec<_> = state.arms.iter().filter(has_turn).cloned().collect();
        if arms.is_empty() {
            return None;
        }
        state.rounds = state.rounds.checked_sub(1)?;
        Some(arms)
    }

    /// They have been announced.
    pub(super) fn fired(&self, round: RoundId) {
        self.state().fired.insert(round);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use localize::{
        Baselines, CdnProvider, Expectation, ObservationId, Scheme, Stamp, Target, Topology,
        VipMode,
    };

    use super::*;

    fn arm() -> (VantageName, Arm) {
        let target = Target::Vip {
            address: "192.0.2.1:443".parse().unwrap(),
        };
        (VantageName("dc1".into()), Arm::to(target))
    }

    fn choice() -> Choice {
        Choice {
            next: vec![arm(), arm()],
            ..Choice::default()
        }
    }

    fn case(round: u64, outcome: Outcome) -> Case {
        let (vantage, arm) = arm();
        let observation = localize::Observation {
            id: ObservationId {
                vantage,
                sequence: 1,
            },
            service: localize::ServiceName("shop".into()),
            round: RoundId(round),
            arm,
            started: Stamp {
                at_us: 0,
                uncertainty_us: 0,
            },
            scheduled_us: 0,
            firing: localize::Firing::OnTime,
            steps: Vec::new(),
            outcome,
            facts: localize::Facts::default(),
        };
        Case {
            topology: Topology {
                service: localize::ServiceName("shop".into()),
                scheme: Scheme::Https,
                vantages: Vec::new(),
                resolvers: Vec::new(),
                zone: None,
                name_servers: Vec::new(),
                edges: Vec::new(),
                cdn: CdnProvider::None,
                vips: Vec::new(),
                vip_mode: VipMode::Auto,
                backends: Vec::new(),
                expect: Expectation::Undeclared,
            },
            declared: localize::declared::Declared::default(),
            baselines: Baselines::default(),
            observations: vec![observation],
            sightings: Vec::new(),
            traces: Vec::new(),
        }
    }

    #[test]
    fn a_choice_is_good_for_two_rounds() {
        let wanted = Wanted::default();
        assert_eq!(wanted.take(Turn::All), None);
        wanted.choose(&choice(), &case(1, Outcome::Passed));
        assert_eq!(wanted.take(Turn::All).map(|arms| arms.len()), Some(2));
        assert!(wanted.take(Turn::All).is_some());
        assert_eq!(wanted.take(Turn::All), None);
        wanted.choose(&choice(), &case(1, Outcome::Passed));
        assert!(wanted.take(Turn::All).is_some());
    }

    /// Without losing the choice.
    #[test]
    fn a_burst_waits_for_its_turn() {
        let wanted = Wanted::default();
        let (vantage, plain) = arm();
        let burst = (vantage, plain.twin(Pace::Burst));
        let chosen = |next| Choice {
            next,
            ..Choice::default()
        };
        wanted.choose(&chosen(vec![burst.clone()]), &case(1, Outcome::Passed));
        assert_eq!(wanted.take(Turn::Single), None);
        assert_eq!(wanted.take(Turn::Single), None);
        assert_eq!(wanted.take(Turn::All), Some(vec![burst.clone()]));
        wanted.choose(&chosen(vec![burst, arm()]), &case(1, Outcome::Passed));
        assert_eq!(wanted.take(Turn::Single), Some(vec![arm()]));
    }

    #[test]
    fn an_agent_at_its_limit_is_left_to_whole_rounds() {
        let wanted = Wanted::default();
        wanted.fired(RoundId(7));
        // Left out of a whole round, an arm says nothing of the agent's limits.
        wanted.choose(&choice(), &case(6, Outcome::NotFired));
        assert!(wanted.take(Turn::All).is_some());
        wanted.choose(&choice(), &case(7, Outcome::NotFired));
        assert_eq!(wanted.take(Turn::All), None);
    }
}
