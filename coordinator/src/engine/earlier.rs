//! Rounds that are not remembered any more, or were announced before this start: what agents bring of them
//! after an outage cannot be held against an announcement.
//!
//! Nobody who makes things up can say more so than in rounds that there were: each arm counts as often as
//! a round may ask it, and rounds go on. An agent sends its records in the order in which its probes ended;
//! what lies further back than its rounds can overlap was there before. That is the anti-replay window of
//! IPsec (RFC 4303, section 3.4.3), by arms instead of bits.

use std::collections::BTreeMap;

use localize::{Arm, MOST_COPIES, Observation, RoundId, ServiceName, VantageName};

use super::asked::Unasked;

/// Rounds remembered of one vantage point: those of ten services localised at once, for as long as the slowest
/// probe takes.
const ROUNDS: usize = 1024;
/// Arms remembered of one vantage point: of these rounds a handful each, or of some tens all.
const ARMS: usize = 8192;
/// Rounds of a service in one second: a localisation fires one a second, and up to three of chosen
/// arms between.
const A_SECOND: usize = 4;
const SECOND_US: u64 = 1_000_000;

/// What was taken of earlier rounds, by vantage point.
#[derive(Debug, Default)]
pub(super) struct Earlier(BTreeMap<VantageName, Window>);

#[derive(Debug, Default)]
struct Window {
    rounds: BTreeMap<RoundId, Round>,
    arms: usize,
    /// What is before it was dropped out of the window.
    floor: Option<RoundId>,
}

#[derive(Debug)]
struct Round {
    service: ServiceName,
    scheduled_us: u64,
    answered: Vec<(Arm, u64)>,
}

impl Earlier {
    /// Takes an observation that came at `received_us`.
    pub(super) fn take(
        &mut self,
        observation: &Observation,
        received_us: u64,
    ) -> Result<(), Unasked> {
        if observation.scheduled_us > received_us {
            return Err(Unasked::Time);
        }
        let vantage = observation.vantage().clone();
        self.0.entry(vantage).or_default().take(observation)
    }

    /// A vantage point has another name from now on.
    pub(super) fn rename(&mut self, from: &VantageName, to: &VantageName) {
        if let Some(window) = self.0.remove(from) {
            self.0.insert(to.clone(), window);
        }
    }

    /// A vantage point is no more.
    pub(super) fn forget(&mut self, vantage: &VantageName) {
        self.0.remove(vantage);
    }
}

impl Window {
    fn take(&mut self, observation: &Observation) -> Result<(), Unasked> {
        let (id, sequence) = (observation.round, observation.id.sequence);
        if Some(id) < self.floor {
            return Err(Unasked::Again);
        }
        if let Some(round) = self.rounds.get_mut(&id) {
            if round.service != observation.service {
                return Err(Unasked::Round);
            }
            if round.scheduled_us != observation.scheduled_us {
                return Err(Unasked::Time);
            }
            if round.answered.iter().any(|(_, by)| *by == sequence) {
                return Ok(());
            }
            let copies = round.answered.iter();
            let copies = copies.filter(|(arm, _)| *arm == observation.arm);
            if copies.count() >= MOST_COPIES as usize {
                return Err(Unasked::Again);
            }
            round.answered.push((observation.arm.clone(), sequence));
        } else {
            if !self.has_room_at(observation) {
                return Err(Unasked::Time);
            }
            let round = Round {
                service: observation.service.clone(),
                scheduled_us: observation.scheduled_us,
                answered: vec![(observation.arm.clone(), sequence)],
            };
            self.rounds.insert(id, round);
        }
        self.arms += 1;
        while self.rounds.len() > ROUNDS || self.arms > ARMS {
            let Some((dropped, round)) = self.rounds.pop_first() else {
                break;
            };
            self.arms -= round.answered.len();
            self.floor = Some(RoundId(dropped.0 + 1));
        }
        Ok(())
    }

    /// Whether another round of the service can have been at its instant.
    fn has_room_at(&self, observation: &Observation) -> bool {
        let near = |round: &&Round| {
            round.service == observation.service
                && round.scheduled_us.abs_diff(observation.scheduled_us) < SECOND_US / 2
        };
        self.rounds.values().filter(near).count() < A_SECOND
    }
}

#[cfg(test)]
mod tests {
    use localize::{Facts, Firing, ObservationId, Outcome, Stamp, Target};

    use super::*;

    const NOW: u64 = 1_700_000_000_000_000;

    fn observation(sequence: u64, round: u64, scheduled_us: u64) -> Observation {
        Observation {
            id: ObservationId {
                vantage: VantageName("home1".to_owned()),
                sequence,
            },
            service: ServiceName("shop".to_owned()),
            round: RoundId(round),
            arm: Arm::to(Target::Edge {
                address: ([203, 0, 113, 1], 443).into(),
            }),
            started: Stamp {
                at_us: scheduled_us,
                uncertainty_us: 1,
            },
            scheduled_us,
            firing: Firing::OnTime,
            steps: Vec::new(),
            outcome: Outcome::Passed,
            facts: Facts::default(),
        }
    }

    /// A day of a spool, a round every ten seconds, each answer a little out of order.
    #[test]
    fn a_spool_is_taken_whole_after_an_outage() {
        let mut earlier = Earlier::default();
        for n in 0..8640_u64 {
            let round = n ^ 7;
            let observation = observation(n + 1, round, NOW + round * 10 * SECOND_US);
            let taken = earlier.take(&observation, NOW + 90_000 * SECOND_US);
            assert_eq!(taken, Ok(()), "{n}");
        }
    }

    #[test]
    fn nobody_says_more_than_rounds_can_have_asked() {
        let mut earlier = Earlier::default();
        let mut take = |sequence, round, at_us| {
            earlier.take(&observation(sequence, round, at_us), NOW + 9 * SECOND_US)
        };
        // Two hundred good answers in one round, and in two hundred rounds of one instant.
        let kept = (0..200).filter(|n| take(*n, 1, NOW).is_ok()).count();
        assert_eq!(kept, MOST_COPIES as usize);
        let kept = (200..400).filter(|n| take(*n, *n, NOW).is_ok()).count();
        assert_eq!(kept, A_SECOND - 1);
        // Not of the future, of another instant of the same round, or of another service's.
        assert_eq!(take(900, 900, NOW + 10 * SECOND_US), Err(Unasked::Time));
        assert_eq!(take(901, 1, NOW + 1), Err(Unasked::Time));
        // What came before its watermark was on disk is the same answer.
        assert_eq!(take(0, 1, NOW), Ok(()));
    }

    /// Whoever goes through old rounds again and again says nothing more, and fills no memory.
    #[test]
    fn what_has_left_the_window_is_not_taken_again() {
        let mut earlier = Earlier::default();
        let mut sequence = 0;
        for turn in 0..3 {
            let mut kept = 0;
            for round in 0..5000_u64 {
                sequence += 1;
                let observation = observation(sequence, round, NOW + round * SECOND_US);
                let taken = earlier.take(&observation, NOW + 9000 * SECOND_US);
                kept += u64::from(taken.is_ok());
            }
            let expected = if turn == 0 { 5000 } else { ROUNDS as u64 };
            assert_eq!(kept, expected, "turn {turn}");
        }
        let window = earlier.0.values().next().unwrap();
        assert!(window.rounds.len() <= ROUNDS && window.arms <= ARMS);
    }
}
