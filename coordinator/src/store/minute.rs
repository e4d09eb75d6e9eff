//! A latency window under way: the times and failures of one layer of one series as they come, a few bytes
//! each. A histogram of its shape has 17,408 counters, and a minute of a series some ten times.

use localize::{Failure, Micros};

use super::value::ValueError;
use super::window;

/// What one probe adds to a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    Passed(Micros),
    Failed(Failure),
    Answered(u16),
}

/// Counts and times of one layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Minute {
    times: Vec<u32>,
    failed: Vec<(Failure, u64)>,
    statuses: Vec<(u16, u64)>,
}

impl Minute {
    pub(super) fn add(&mut self, count: Count) {
        match count {
            Count::Passed(took) => {
                // Longer ones count as the longest that is told apart.
                self.times.push(u32::try_from(took.0).unwrap_or(u32::MAX));
            }
            Count::Failed(failure) => one_more(&mut self.failed, failure),
            Count::Answered(status) => one_more(&mut self.statuses, status),
        }
    }

    /// As a window is stored.
    pub(super) fn encode(&self) -> Result<Vec<u8>, ValueError> {
        let mut times = self.times.clone();
        times.sort_unstable();
        let mut failed = self.failed.clone();
        failed.sort_unstable();
        let mut statuses = self.statuses.clone();
        statuses.sort_unstable();
        window::encode_sorted(&times, failed, statuses)
    }
}

fn one_more<K: PartialEq>(counts: &mut Vec<(K, u64)>, key: K) {
    match counts.iter_mut().find(|(known, _)| *known == key) {
        Some((_, count)) => *count += 1,
        None => counts.push((key, 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::window::Window;
    use super::*;

    #[test]
    fn is_the_window_that_a_histogram_would_be() {
        let spread: Vec<u64> = (0..3000).map(|n| n * n * 7 % 61_000_000).collect();
        let rows: [(&[u64], &[Failure], &[u16]); 5] = [
            (&[], &[], &[]),
            (
                &[0, 1, 2, 1023, 1024, 1025, 2047, 2048, 2049, 4096],
                &[],
                &[200],
            ),
            (
                &[59_999_999, 60_000_000, u64::MAX],
                &[Failure::HttpStatus(503)],
                &[503, 200, 200],
            ),
            (&[5; 70_000], &[], &[]),
            (
                &spread,
                &[Failure::ConnectTimeout, Failure::ConnectTimeout],
                &[],
            ),
        ];
        for (times, failures, statuses) in rows {
            let (mut minute, mut window) = (Minute::default(), Window::new().expect("bounds"));
            for time in times {
                minute.add(Count::Passed(Micros(*time)));
                window.pass(Micros(*time));
            }
            for failure in failures {
                minute.add(Count::Failed(*failure));
                window.fail(*failure);
            }
            for status in statuses {
                minute.add(Count::Answered(*status));
                window.answer(*status);
            }
            let bytes = minute.encode().expect("encodes");
            assert_eq!(
                Window::decode(&bytes).as_ref(),
                Ok(&window),
                "{} times",
                times.len()
            );
            let mut sum = Window::new().expect("bounds");
            sum.add(&bytes).expect("adds");
            // A histogram that was added to knows no more than what its counters tell.
            let again = Window::decode(&window.encode().expect("encodes"));
            assert_eq!(Ok(sum), again);
        }
    }

    #[test]
    fn takes_few_bytes() {
        let mut minute = Minute::default();
        for time in [9100, 9900, 10_200, 11_000, 14_000, 17_500] {
            minute.add(Count::Passed(Micros(time)));
        }
        assert!(minute.encode().expect("encodes").len() < 80);
    }
}
