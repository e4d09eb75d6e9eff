//! How the failures of a fault go on in time: at one rate, in bursts, or at even intervals.

use alloc::vec::Vec;

use crate::judgement::verdict::Pattern;

/// Failures nearer to each other than this are one burst: rounds are fired up to four times a second, and
/// scheduled ones mostly some seconds apart.
const BURST_US: u64 = 3_000_000;
/// Fewer beginnings tell no rhythm.
const BEGINNINGS: usize = 4;
/// Periods that people and programs keep, in seconds: collectors, health checks, cron.
const PERIODS: [u64; 19] = [
    5, 6, 10, 12, 15, 20, 30, 45, 60, 90, 120, 180, 240, 300, 600, 900, 1200, 1800, 3600,
];
/// What a rhythm must show: Rayleigh's statistic for one period in `PERIODS` by chance one time in a
/// thousand (Mardia and Jupp 2000, Directional Statistics, section 6.3).
const RAYLEIGH: f64 = 9.8;
/// How near to one the mean resultant length must be: bursts last, and rounds are apart.
const EVEN: f64 = 0.8;
/// Standard deviations by which runs must be fewer than by chance to be called bursts.
const CLUSTERED: f64 = 3.0;

/// How failures go on, with the period in seconds where there is one. `rounds` are all rounds in which
/// the fault could have shown, in order of time, with whether it did.
pub(crate) fn rhythm(rounds: &[(u64, bool)]) -> (Pattern, Option<f64>) {
    let beginnings: Vec<u64> = bursts(rounds).iter().map(|burst| burst.0).collect();
    if let Some(period) = period(&beginnings) {
        return (Pattern::Periodic, Some(period));
    }
    let clustered = fewer_runs(rounds) >= CLUSTERED && beginnings.len() >= 2;
    let pattern = if clustered {
        Pattern::Bursts
    } else {
        Pattern::Steady
    };
    (pattern, None)
}

/// From when to when failures followed each other, in order: with no round between them that passed, or
/// soon after one another.
pub(crate) fn bursts(rounds: &[(u64, bool)]) -> Vec<(u64, u64)> {
    let mut bursts: Vec<(u64, u64)> = Vec::new();
    let mut passed = true;
    for (at, failed) in rounds {
        if *failed {
            match bursts.last_mut() {
                Some((_, last)) if !passed || at - *last <= BURST_US => *last = *at,
                _ => bursts.push((*at, *at)),
            }
        }
        passed = !failed;
    }
    bursts
}

/// The longest period that the beginnings keep to.
fn period(beginnings: &[u64]) -> Option<f64> {
    let (Some(first), Some(last)) = (beginnings.first(), beginnings.last()) else {
        return None;
    };
    let count = beginnings.len() as f64;
    let kept = PERIODS.iter().rev().find(|period| {
        let period = **period * 1_000_000;
        let (mut x, mut y) = (0.0, 0.0);
        for at in beginnings {
            let phase = core::f64::consts::TAU * (at % period) as f64 / period as f64;
            x += libm::cos(phase);
            y += libm::sin(phase);
        }
        let length = libm::hypot(x, y) / count;
        let long_enough = last - first >= 3 * period;
        long_enough && length >= EVEN && count * length * length >= RAYLEIGH
    })?;
    // What begins with every second or third chance keeps to a part of its period as well.
    (beginnings.len() >= BEGINNINGS).then_some(*kept as f64)
}

/// By how many standard deviations the runs of failures and passes are fewer than by chance (Wald and
/// Wolfowitz 1940).
fn fewer_runs(rounds: &[(u64, bool)]) -> f64 {
    let failed = rounds.iter().filter(|(_, failed)| *failed).count() as f64;
    let passed = rounds.len() as f64 - failed;
    if failed < 2.0 || passed < 2.0 {
        return 0.0;
    }
    let turns = rounds.windows(2).filter(|pair| pair[0].1 != pair[1].1);
    let runs = turns.count() as f64 + 1.0;
    let all = failed + passed;
    let expected = 2.0 * failed * passed / all + 1.0;
    let variance = (expected - 1.0) * (expected - 2.0) / (all - 1.0);
    (expected - runs) / libm::sqrt(variance.max(1e-9))
}

/// Prior odds of coming back for whoever failed once, and what each further time is worth: another
/// incident hits the same part in the same mode by chance in about one of three.
const RETURNS: f64 = 0.03;
const BY_CHANCE: f64 = 0.3;
/// Odds that what kept a period goes on keeping it, as long as its next time is not overdue; and the highest that
/// coming back often can have: at any time somebody may have mended it.
const KEEPS: f64 = 50.0;
/// The share of a period by which its next time may be late, and the odds of what is later.
const OVERDUE: f64 = 0.3;
const BROKEN: f64 = 0.01;

/// Probability that something that was at fault in these times, in microseconds, goes on coming back and
/// only pauses now. Pauses are exponential, with a rate that is learnt from those before (a Lomax law for
/// the next one); one that keeps a period pauses no longer than that.
pub(crate) fn pauses(times: &[(u64, u64)], period_s: Option<f64>, now: u64) -> f64 {
    let gaps: Vec<f64> = times
        .windows(2)
        .map(|pair| pair[1].0.saturating_sub(pair[0].1) as f64 / 1e6)
        .collect();
    let (Some(last), false) = (times.last(), gaps.is_empty()) else {
        return 0.0;
    };
    let quiet = now.saturating_sub(last.1) as f64 / 1e6;
    let odds = match period_s {
        Some(period) if quiet <= (1.0 + OVERDUE) * period => KEEPS,
        Some(_) => BROKEN,
        None => {
            let again = (RETURNS / libm::pow(BY_CHANCE, gaps.len() as f64)).min(KEEPS);
            let sum: f64 = gaps.iter().sum::<f64>() + 10.0;
            again * libm::pow(sum / (sum + quiet), gaps.len() as f64 + 1.0)
        }
    };
    odds / (1.0 + odds)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One round a second, failing where it is said.
    fn rounds(seconds: u64, failing: impl Fn(u64) -> bool) -> Vec<(u64, bool)> {
        let at = |second| ((second + 1_795_000_000) * 1_000_000, failing(second));
        (0..seconds).map(at).collect()
    }

    #[test]
    fn a_rhythm_is_told_from_chance() {
        type Row<'a> = (&'a str, Vec<(u64, bool)>, Pattern, Option<f64>);
        let rows: [Row<'_>; 6] = [
            ("all", rounds(60, |_| true), Pattern::Steady, None),
            (
                "one in five at random",
                rounds(600, |s| (s * 7919 + s * s * 31) % 5 == 3),
                Pattern::Steady,
                None,
            ),
            (
                "two seconds of every thirty",
                rounds(400, |s| s % 30 < 2),
                Pattern::Periodic,
                Some(30.0),
            ),
            (
                "each full minute",
                rounds(900, |s| s % 60 < 3),
                Pattern::Periodic,
                Some(60.0),
            ),
            (
                "twice for a while",
                rounds(300, |s| (40..60).contains(&s) || (200..215).contains(&s)),
                Pattern::Bursts,
                None,
            ),
            ("never", rounds(50, |_| false), Pattern::Steady, None),
        ];
        for (name, rounds, pattern, period) in rows {
            assert_eq!(rhythm(&rounds), (pattern, period), "{name}");
        }
    }

    #[test]
    fn what_came_back_often_only_pauses() {
        let second = 1_000_000;
        let every = |count: u64, gap: u64| -> Vec<(u64, u64)> {
            let begin = |i: u64| i * gap * second;
            (0..count)
                .map(|i| (begin(i), begin(i) + 2 * second))
                .collect()
        };
        let after = |times: &[(u64, u64)], period_s, quiet: u64| {
            let ended = times.last().map_or(0, |time| time.1);
            pauses(times, period_s, ended + quiet * second)
        };
        assert!(after(&every(1, 30), None, 5) < 0.01);
        assert!(after(&every(2, 60), None, 10) < 0.2);
        assert!(after(&every(6, 30), Some(30.0), 20) > 0.9);
        assert!(after(&every(6, 30), Some(30.0), 80) < 0.3);
        assert!(after(&every(8, 30), None, 5) > 0.9);
        assert!(after(&every(8, 30), None, 900) < 0.1);
    }
}
