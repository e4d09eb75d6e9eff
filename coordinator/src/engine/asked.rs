//! What was asked of whom in the rounds of late: an observation counts when its round was announced to its
//! vantage point with its arm, and once for each time that the arm was announced.

use std::collections::BTreeMap;
use std::sync::Arc;

use localize::{Arm, Observation, Outcome, RoundId, ServiceName, VantageName};

use super::rounds::place;

/// Announced arms that are remembered: at eight bytes each and some hundred for each vantage point of a
/// round, what a localisation of ten vantage points with forty arms asks in ten minutes; of ten thousand
/// vantage points it is the rounds of a minute. Of rounds before that [`super::earlier`] judges.
const MOST: usize = 500_000;
/// A probe that left so long before the instant, in microseconds, is of no announced round: clocks agree far
/// better, or nothing is fired.
const EARLY_US: u64 = 1_000_000;
/// And one so long after it: an agent gives up two seconds after the instant, and its host may stand still.
const LATE_US: u64 = 60_000_000;

/// Why an observation does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unasked {
    /// No such round was announced to its vantage point.
    Round,
    /// The round was, and not with this arm.
    Arm,
    /// It was answered before, as often as it was asked.
    Again,
    /// It was made at another time than that of the round.
    Time,
    /// Name servers that nobody had the agent look for.
    Discovery,
    /// It cannot be: a value is out of its bounds, or contradicts another one.
    Malformed,
}

impl Unasked {
    /// In one word, as the metrics have it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Round => "round",
            Self::Arm => "arm",
            Self::Again => "again",
            Self::Time => "time",
            Self::Discovery => "discovery",
            Self::Malformed => "malformed",
        }
    }
}

/// How an observation stands to what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// It was asked for.
    Asked,
    /// It was not.
    Unasked(Unasked),
    /// Its round is not remembered any more, or was announced before this start.
    Earlier,
}

/// The rounds of late.
#[derive(Debug, Default)]
pub(super) struct Asked {
    rounds: BTreeMap<RoundId, Round>,
    /// Arms in all of them.
    slots: usize,
    /// The last one that was announced.
    newest: Option<RoundId>,
    /// What each vantage point was last given, which most rounds give it again.
    last: BTreeMap<(ServiceName, VantageName), Arc<[Arm]>>,
}

#[derive(Debug)]
struct Round {
    service: ServiceName,
    fire_at_us: u64,
    given: BTreeMap<VantageName, Share>,
}

/// What one vantage point has to answer.
#[derive(Debug)]
struct Share {
    arms: Arc<[Arm]>,
    /// By which of its records each is answered.
    answered: Box<[Option<u64>]>,
}

impl Asked {
    /// A round is about to be announced.
    pub(super) fn add(
        &mut self,
        id: RoundId,
        service: &ServiceName,
        fire_at_us: u64,
        given: &BTreeMap<VantageName, Vec<Arm>>,
    ) {
        let shares = given.iter().map(|(vantage, arms)| {
            let arms = self.shared(service, vantage, arms);
            let answered = vec![None; arms.len()].into_boxed_slice();
            (vantage.clone(), Share { arms, answered })
        });
        let round = Round {
            service: service.clone(),
            fire_at_us,
            given: shares.collect(),
        };
        self.slots += round.slots();
        self.rounds.insert(id, round);
        self.newest = self.newest.max(Some(id));
        while self.slots > MOST && self.rounds.len() > 1 {
            if let Some((_, oldest)) = self.rounds.pop_first() {
                self.slots -= oldest.slots();
            }
        }
    }

    fn shared(&mut self, service: &ServiceName, vantage: &VantageName, arms: &[Arm]) -> Arc<[Arm]> {
        let key = (service.clone(), vantage.clone());
        match self.last.get(&key) {
            Some(last) if **last == *arms => Arc::clone(last),
            Some(_) | None => {
                let arms: Arc<[Arm]> = arms.into();
                self.last.insert(key, Arc::clone(&arms));
                arms
            }
        }
    }

    /// Holds an observation against what was asked, and takes it as the answer if it is one. A repeat of a
    /// record, whose first copy may have been lost on the way to the disk, is the same answer.
    pub(super) fn claim(&mut self, observation: &Observation) -> Claim {
        let id = observation.round;
        let Some(round) = self.rounds.get_mut(&id) else {
            let first = self.rounds.keys().next();
            // Every round of this process that is not remembered any more is older than those that are.
            return match first.is_none_or(|first| id < *first) {
                true => Claim::Earlier,
                false => Claim::Unasked(Unasked::Round),
            };
        };
        match round.answer(observation) {
            Ok(()) => Claim::Asked,
            Err(why) => Claim::Unasked(why),
        }
    }

    /// A vantage point has another name from now on.
    pub(super) fn rename(&mut self, from: &VantageName, to: &VantageName) {
        self.last.retain(|(_, vantage), _| vantage != from);
        for round in self.rounds.values_mut() {
            if let Some(share) = round.given.remove(from) {
                round.given.insert(to.clone(), share);
            }
        }
    }

    /// A vantage point is no more.
    pub(super) fn forget(&mut self, vantage: &VantageName) {
        self.last.retain(|(_, known), _| known != vantage);
        for round in self.rounds.values_mut() {
            if let Some(share) = round.given.remove(vantage) {
                self.slots -= share.arms.len();
            }
        }
    }

    /// A service is no more.
    pub(super) fn forget_service(&mut self, service: &ServiceName) {
        self.last.retain(|(known, _), _| known != service);
    }
}

impl Round {
    fn slots(&self) -> usize {
        self.given.values().map(|share| share.arms.len()).sum()
    }

    fn answer(&mut self, observation: &Observation) -> Result<(), Unasked> {
        if self.service != observation.service {
            return Err(Unasked::Round);
        }
        let sequence = observation.id.sequence;
        let share = self
            .given
            .get_mut(observation.vantage())
            .ok_or(Unasked::Round)?;
        if share.answered.contains(&Some(sequence)) {
            return Ok(());
        }
        if !is_of_its_time(observation, self.fire_at_us) {
            return Err(Unasked::Time);
        }
        let arm = &observation.arm;
        let open = share.arms.iter().enumerate();
        let open = open.filter(|(place, _)| share.answered[*place].is_none());
        match place(open, arm) {
            Some(place) => {
                share.answered[place] = Some(sequence);
                Ok(())
            }
            None if place(share.arms.iter().enumerate(), arm).is_some() => Err(Unasked::Again),
            None => Err(Unasked::Arm),
        }
    }
}

/// Whether an observation is of the round's instant; what was not fired has no time of its own.
fn is_of_its_time(observation: &Observation, fire_at_us: u64) -> bool {
    let earliest_us = fire_at_us.saturating_sub(EARLY_US);
    let latest_us = fire_at_us.saturating_add(LATE_US);
    let fired = observation.outcome != Outcome::NotFired;
    let left_us = observation.started.at_us;
    observation.scheduled_us == fire_at_us
        && (!fired || (earliest_us..=latest_us).contains(&left_us))
}

#[cfg(test)]
mod tests {
    use localize::{Facts, Firing, ObservationId, Stamp, Target};

    use super::*;

    const FIRE_AT: u64 = 1_700_000_000_000_000;

    fn vantage(name: &str) -> VantageName {
        VantageName(name.to_owned())
    }

    fn arm(n: u8) -> Arm {
        Arm::to(Target::Edge {
            address: ([203, 0, 113, n], 443).into(),
        })
    }

    fn observation(sequence: u64, round: u64, arm: Arm) -> Observation {
        Observation {
            id: ObservationId {
                vantage: vantage("home1"),
                sequence,
            },
            service: ServiceName("shop".to_owned()),
            round: RoundId(round),
            arm,
            started: Stamp {
                at_us: FIRE_AT + 10,
                uncertainty_us: 1,
            },
            scheduled_us: FIRE_AT,
            firing: Firing::OnTime,
            steps: Vec::new(),
            outcome: Outcome::Passed,
            facts: Facts::default(),
        }
    }

    /// Round 7, of edge 1, twice of edge 2, for home1, and of edge 3 for home2.
    fn asked() -> Asked {
        let mut asked = Asked::default();
        let given = [
            (vantage("home1"), vec![arm(1), arm(2), arm(2)]),
            (vantage("home2"), vec![arm(3)]),
        ];
        let shop = ServiceName("shop".to_owned());
        asked.add(RoundId(7), &shop, FIRE_AT, &given.into());
        asked
    }

    #[test]
    fn what_was_asked_counts_as_often_as_it_was_asked() {
        let mut asked = asked();
        let rows = [
            (observation(1, 7, arm(1)), Claim::Asked),
            // The same record, which came again.
            (observation(1, 7, arm(1)), Claim::Asked),
            (observation(2, 7, arm(1)), Claim::Unasked(Unasked::Again)),
            (observation(3, 7, arm(2)), Claim::Asked),
            (observation(4, 7, arm(2)), Claim::Asked),
            (observation(5, 7, arm(2)), Claim::Unasked(Unasked::Again)),
            (observation(6, 7, arm(3)), Claim::Unasked(Unasked::Arm)),
            (observation(7, 8, arm(1)), Claim::Unasked(Unasked::Round)),
            (observation(8, 6, arm(1)), Claim::Earlier),
        ];
        for (observation, expected) in rows {
            assert_eq!(asked.claim(&observation), expected, "{observation:?}");
        }
        let other = Observation {
            service: ServiceName("other".to_owned()),
            ..observation(9, 7, arm(2))
        };
        assert_eq!(asked.claim(&other), Claim::Unasked(Unasked::Round));
    }

    #[test]
    fn what_was_asked_counts_in_its_time() {
        let rows = [
            (FIRE_AT, FIRE_AT, Outcome::Passed, true),
            (FIRE_AT, FIRE_AT + LATE_US, Outcome::Passed, true),
            (FIRE_AT, FIRE_AT + LATE_US + 1, Outcome::Passed, false),
            (FIRE_AT, FIRE_AT - EARLY_US - 1, Outcome::Passed, false),
            (FIRE_AT + 1, FIRE_AT, Outcome::Passed, false),
            (FIRE_AT, 0, Outcome::NotFired, true),
        ];
        for (scheduled_us, at_us, outcome, counts) in rows {
            let observation = Observation {
                scheduled_us,
                started: Stamp {
                    at_us,
                    uncertainty_us: 1,
                },
                outcome,
                ..observation(1, 7, arm(1))
            };
            let claim = asked().claim(&observation);
            assert_eq!(claim == Claim::Asked, counts, "{observation:?}");
        }
    }

    /// An agent that has never heard of a twin fires the arm that it is one of.
    #[test]
    fn a_plain_arm_answers_for_its_twin() {
        let twin = arm(1).twin(localize::TWINS[0].traits);
        let mut asked = Asked::default();
        let given = [(vantage("home1"), vec![twin])];
        let shop = ServiceName("shop".to_owned());
        asked.add(RoundId(7), &shop, FIRE_AT, &given.into());
        assert_eq!(asked.claim(&observation(1, 7, arm(1))), Claim::Asked);
        assert_eq!(
            asked.claim(&observation(2, 7, arm(1))),
            Claim::Unasked(Unasked::Again)
        );
    }

    #[test]
    fn memory_is_bounded_and_a_new_name_keeps_what_was_asked() {
        let mut asked = Asked::default();
        let shop = ServiceName("shop".to_owned());
        let arms: Vec<Arm> = (0..250).map(arm).collect();
        for round in 0..3000 {
            let given = [(vantage("home1"), arms.clone())];
            asked.add(RoundId(round), &shop, FIRE_AT, &given.into());
        }
        assert!(asked.slots <= MOST);
        assert_eq!(asked.rounds.len(), MOST / 250);
        let first = asked.rounds.first_key_value().unwrap().0.0;
        assert_eq!(
            asked.claim(&observation(1, first - 1, arm(1))),
            Claim::Earlier
        );
        asked.rename(&vantage("home1"), &vantage("attic"));
        let mut renamed = observation(1, 2999, arm(1));
        renamed.id.vantage = vantage("attic");
        assert_eq!(asked.claim(&renamed), Claim::Asked);
        asked.forget(&vantage("attic"));
        assert_eq!(asked.slots, 0);
        assert_eq!(asked.claim(&renamed), Claim::Unasked(Unasked::Round));
    }
}
