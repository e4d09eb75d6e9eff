//! Which SYN of a trace comes next, and when there is none: no socket and no clock.

use std::time::Duration;

use localize::trace::MOST_SYNS;
use localize::{Heard, Micros};

/// Hops that are asked at most; few ways through the Internet are longer.
const MOST_HOPS: u8 = 20;
/// Silent hops in a row after which only the target itself is still asked: there are routers that never answer, and
/// seldom so many beside each other.
const GAP: u8 = 4;
/// Those of them that may come as far as the target at most, where it stands behind the last router that answered:
/// each silent hop is asked twice, and so is the target.
pub const MOST_AT_TARGET: u32 = 2 * GAP as u32 + 2;
/// How often who is silent is asked: routers answer so many packets a second, and the second may be lucky.
const TRIES: u8 = 2;

/// How long an answer is waited for before any has come. Less than a second in any case, after which the kernel
/// would send the SYN again.
const FIRST_PATIENCE: Duration = Duration::from_millis(500);
const LEAST_PATIENCE: Duration = Duration::from_millis(200);
const MOST_PATIENCE: Duration = Duration::from_millis(900);

/// How far a SYN is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Over so many hops.
    Hops(u8),
    /// All the way.
    Whole,
}

/// A trace under way.
#[derive(Clone, Debug, Default)]
pub struct Walk {
    /// What is known of each hop, from the first.
    hops: Vec<Heard>,
    whole: Option<Heard>,
    /// How often the present one was asked in vain.
    tried: u8,
    sent: u32,
    slowest: Option<Micros>,
}

impl Walk {
    /// The next SYN; `None` when everything is known that can be. In a hurry the target alone is still asked.
    #[must_use]
    pub fn next(&self, hurry: bool) -> Option<Reach> {
        if self.whole.is_some() || self.sent >= MOST_SYNS || self.hops.last().is_some_and(is_end) {
            return None;
        }
        let silent = self.hops.iter().rev();
        let silent = silent.take_while(|heard| **heard == Heard::Silence);
        let far = self.hops.len() >= usize::from(MOST_HOPS);
        if hurry || far || silent.count() >= usize::from(GAP) {
            return Some(Reach::Whole);
        }
        let hop = u8::try_from(self.hops.len() + 1).unwrap_or(MOST_HOPS);
        Some(Reach::Hops(hop))
    }

    /// How long the next SYN's answer is waited for: several times as long as the slowest so far took.
    #[must_use]
    pub fn patience(&self) -> Duration {
        let Some(slowest) = self.slowest else {
            return FIRST_PATIENCE;
        };
        let several = Duration::from_micros(slowest.0.saturating_mul(4));
        several.clamp(LEAST_PATIENCE, MOST_PATIENCE)
    }

    /// What became of the last one that [`Walk::next`] gave.
    pub fn heard(&mut self, reach: Reach, heard: Heard) {
        self.sent += 1;
        if heard == Heard::Silence {
            self.tried += 1;
            if self.tried < TRIES {
                return;
            }
        }
        self.tried = 0;
        self.slowest = self.slowest.max(rtt(heard));
        match reach {
            Reach::Hops(_) => self.hops.push(heard),
            Reach::Whole => self.whole = Some(heard),
        }
    }

    /// What was heard, by hop and of the whole way. What nobody answered at the end of a way that leads on is
    /// left out: hops behind the target are none.
    #[must_use]
    pub fn found(mut self) -> (Vec<Heard>, Option<Heard>) {
        while self.hops.last() == Some(&Heard::Silence) {
            self.hops.pop();
        }
        (self.hops, self.whole)
    }
}

/// Whether nothing is to be learnt behind it.
fn is_end(heard: &Heard) -> bool {
    match heard {
        Heard::Accepted { .. }
        | Heard::Refused { .. }
        | Heard::Unreachable { .. }
        | Heard::Unsent => true,
        Heard::Silence | Heard::Expired { .. } => false,
    }
}

fn rtt(heard: Heard) -> Option<Micros> {
    match heard {
        Heard::Expired { rtt, .. }
        | Heard::Unreachable { rtt, .. }
        | Heard::Accepted { rtt }
        | Heard::Refused { rtt } => Some(rtt),
        Heard::Silence | Heard::Unsent => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Micros = Micros(20_000);

    fn router(n: u8) -> Heard {
        Heard::Expired {
            by: [192, 0, 2, n].into(),
            rtt: RTT,
        }
    }

    /// Walks a way on which each hop, and the target behind the last, answers as the table says; the SYNs that
    /// were sent, and what was found.
    fn walk(way: &[Heard], target: Heard) -> (u32, Vec<Heard>, Option<Heard>) {
        let mut walk = Walk::default();
        while let Some(reach) = walk.next(false) {
            let heard = match reach {
                Reach::Hops(hop) => way.get(usize::from(hop) - 1).copied().unwrap_or(target),
                Reach::Whole => target,
            };
            walk.heard(reach, heard);
            assert!(walk.sent <= MOST_SYNS);
        }
        let sent = walk.sent;
        let (hops, whole) = walk.found();
        (sent, hops, whole)
    }

    #[test]
    fn a_way_ends_with_an_answer_for_good_or_some_hops_behind_the_last_one() {
        use Heard::{Silence, Unsent};
        let refused = Heard::Refused { rtt: RTT };
        let [one, two] = [router(1), router(2)];
        let told = Heard::Unreachable {
            by: [192, 0, 2, 2].into(),
            code: 13,
            rtt: RTT,
        };
        type Row<'a> = (&'a [Heard], Heard, u32, Vec<Heard>, Option<Heard>);
        let rows: [Row<'_>; 7] = [
            (&[one, two], refused, 3, vec![one, two, refused], None),
            (&[one], told, 2, vec![one, told], None),
            (&[], Unsent, 1, vec![Unsent], None),
            // The target is silent: four hops behind the last router, each twice, and so the target.
            (&[one, two], Silence, 12, vec![one, two], Some(Silence)),
            (&[], Silence, 10, vec![], Some(Silence)),
            // Somebody on the way keeps silent.
            (
                &[one, Silence, two],
                refused,
                5,
                vec![one, Silence, two, refused],
                None,
            ),
            // So many do that only the target itself tells more.
            (
                &[one, Silence, Silence, Silence, Silence, Silence],
                refused,
                10,
                vec![one],
                Some(refused),
            ),
        ];
        for (way, target, sent, hops, whole) in rows {
            assert_eq!(walk(way, target), (sent, hops, whole), "{way:?} {target:?}");
        }
    }

    #[test]
    fn no_way_is_so_long_that_a_trace_does_not_end() {
        let long = [router(1); 64];
        let (sent, hops, whole) = walk(&long, Heard::Silence);
        assert_eq!((sent, hops.len()), (22, 20));
        assert_eq!(whole, Some(Heard::Silence));
        // Every other router is silent.
        let long: Vec<Heard> = (0..64)
            .map(|n| {
                if n % 2 == 0 {
                    Heard::Silence
                } else {
                    router(n)
                }
            })
            .collect();
        let (sent, ..) = walk(&long, Heard::Silence);
        assert_eq!(sent, MOST_SYNS);
    }

    #[test]
    fn who_is_silent_is_asked_again_and_waited_for_by_what_others_took() {
        let mut walk = Walk::default();
        assert_eq!(walk.patience(), FIRST_PATIENCE);
        walk.heard(Reach::Hops(1), Heard::Silence);
        assert_eq!(walk.next(false), Some(Reach::Hops(1)));
        walk.heard(Reach::Hops(1), router(1));
        assert_eq!(walk.next(false), Some(Reach::Hops(2)));
        assert_eq!(walk.patience(), LEAST_PATIENCE);
        let far = Heard::Expired {
            by: [192, 0, 2, 2].into(),
            rtt: Micros(150_000),
        };
        walk.heard(Reach::Hops(2), far);
        assert_eq!(walk.patience(), Duration::from_millis(600));
        assert!(MOST_PATIENCE < Duration::from_secs(1));
        assert_eq!(walk.next(true), Some(Reach::Whole));
        walk.heard(Reach::Hops(3), Heard::Unsent);
        assert_eq!(walk.next(true), None);
    }
}
