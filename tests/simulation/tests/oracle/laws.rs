//! When a fault is on, as a list of the patterns that the laws allow.

/// A pattern of on and off, with its prior probability.
#[derive(Clone, Copy)]
pub enum Law {
    /// On from one window up to another, which is not in it.
    Stretch(f64, usize, usize),
    /// On in each window for itself with this probability.
    Duty(f64, f64),
}

/// Probability that a stretch which is to be over ends with each of its windows; one is as likely as
/// the other.
const ENDING: [f64; 3] = [0.4, 0.13, 0.04];

/// 0.6 always, 0.2 one stretch (0.4 of which are over, the others last), 0.2 now and then.
pub fn laws(windows: usize) -> Vec<Law> {
    if windows == 1 {
        return vec![Law::Stretch(1.0, 0, 1)];
    }
    let n = windows as f64;
    let mut laws = vec![Law::Stretch(0.6, 0, windows)];
    let over = |length: usize| {
        let each = |ending: f64, length: usize| ending * (1.0 - ending).powf(length as f64 - 1.0);
        let of = |ending: f64| {
            let lengths = (1..windows).map(|l| (windows - l) as f64 * each(ending, l));
            each(ending, length) / lengths.sum::<f64>()
        };
        ENDING.into_iter().map(of).sum::<f64>() / 3.0
    };
    for to in 1..=windows {
        for from in 0..to {
            if to < windows {
                laws.push(Law::Stretch(0.2 * 0.4 * over(to - from), from, to));
            } else if from > 0 {
                laws.push(Law::Stretch(0.2 * 0.6 / (n - 1.0), from, to));
            }
        }
    }
    laws.extend([0.5, 0.2, 0.1, 0.05].map(|duty| Law::Duty(0.2 / 4.0, duty)));
    laws
}

/// Logarithm of the sum of exponentials.
pub fn log_sum(logs: impl Iterator<Item = f64>) -> f64 {
    let logs: Vec<f64> = logs.collect();
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY {
        return most;
    }
    most + logs.iter().map(|log| (log - most).exp()).sum::<f64>().ln()
}

/// Logarithm of the mean of off and on.
fn mix(duty: f64, off: f64, on: f64) -> f64 {
    let most = off.max(on);
    most + ((1.0 - duty) * (off - most).exp() + duty * (on - most).exp()).ln()
}

impl Law {
    /// Logarithm of its prior times the likelihood ratio, given the gain of on against off by window.
    pub fn weigh(self, gains: &[f64]) -> f64 {
        match self {
            Self::Stretch(prior, from, to) => prior.ln() + gains[from..to].iter().sum::<f64>(),
            Self::Duty(prior, duty) => {
                prior.ln() + gains.iter().map(|g| mix(duty, 0.0, *g)).sum::<f64>()
            }
        }
    }

    /// Probability of on in a window.
    fn on(self, window: usize, gain: f64) -> f64 {
        match self {
            Self::Stretch(_, from, to) => f64::from(u8::from((from..to).contains(&window))),
            Self::Duty(_, duty) => duty / (duty + (1.0 - duty) * (-gain).exp()),
        }
    }
}

/// Logarithm of the likelihood ratio over all patterns.
pub fn over(laws: &[Law], gains: &[f64]) -> f64 {
    log_sum(laws.iter().map(|law| law.weigh(gains)))
}

/// Probability of on, by window.
pub fn course(laws: &[Law], gains: &[f64]) -> Vec<f64> {
    let total = over(laws, gains);
    let on = |window: usize| {
        let terms = laws
            .iter()
            .map(|law| (law.weigh(gains) - total).exp() * law.on(window, gains[window]));
        terms.sum()
    };
    (0..gains.len()).map(on).collect()
}

/// Gains of two faults against nothing in a window: of the first alone, of the second alone, of both.
pub type Joint = [f64; 3];

/// Logarithm of the likelihood ratio over all pairs of patterns of two faults.
pub fn over_both(first: &[Law], second: &[Law], gains: &[Joint]) -> f64 {
    let sums = |value: &dyn Fn(&Joint) -> f64| -> Vec<f64> {
        let mut sum = 0.0;
        let ends = gains.iter().map(|joint| {
            sum += value(joint);
            sum
        });
        std::iter::once(0.0)
            .chain(ends.collect::<Vec<_>>())
            .collect()
    };
    let one = sums(&|joint| joint[0]);
    let other = sums(&|joint| joint[1]);
    let more = sums(&|joint| joint[2] - joint[0] - joint[1]);
    let mut logs = Vec::with_capacity(first.len() * second.len());
    for a in first {
        let rest = match *a {
            Law::Stretch(..) => None,
            Law::Duty(_, duty) => Some((
                sums(&|joint| mix(duty, 0.0, joint[0])),
                sums(&|joint| mix(duty, joint[1], joint[2]) - mix(duty, 0.0, joint[0])),
            )),
        };
        for b in second {
            logs.push(match (*a, *b) {
                (Law::Stretch(p, f, t), Law::Stretch(q, g, u)) => {
                    let (from, to) = (f.max(g), t.min(u).max(f.max(g)));
                    (p * q).ln() + one[t] - one[f] + other[u] - other[g] + more[to] - more[from]
                }
                (Law::Duty(p, _), Law::Stretch(q, g, u)) => {
                    let (off, on) = rest.as_ref().expect("a duty has sums");
                    (p * q).ln() + off[gains.len()] + on[u] - on[g]
                }
                (Law::Stretch(p, f, t), Law::Duty(q, duty)) => {
                    let of = |(w, joint): (usize, &Joint)| {
                        if (f..t).contains(&w) {
                            mix(duty, joint[0], joint[2])
                        } else {
                            mix(duty, 0.0, joint[1])
                        }
                    };
                    (p * q).ln() + gains.iter().enumerate().map(of).sum::<f64>()
                }
                (Law::Duty(p, d), Law::Duty(q, e)) => {
                    let of =
                        |joint: &Joint| mix(d, mix(e, 0.0, joint[1]), mix(e, joint[0], joint[2]));
                    (p * q).ln() + gains.iter().map(of).sum::<f64>()
                }
            });
        }
    }
    log_sum(logs.into_iter())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Probability of a sequence of on and off, given as bits, without the law's share.
    fn probability(law: Law, bits: usize, windows: usize) -> f64 {
        let on = |window: usize| bits >> window & 1 == 1;
        match law {
            Law::Stretch(prior, from, to) => {
                let same = (0..windows).all(|window| on(window) == (from..to).contains(&window));
                prior * f64::from(u8::from(same))
            }
            Law::Duty(prior, duty) => {
                let of = |window| if on(window) { duty } else { 1.0 - duty };
                prior * (0..windows).map(of).product::<f64>()
            }
        }
    }

    fn of_all(laws: &[Law], bits: usize, windows: usize) -> f64 {
        laws.iter()
            .map(|law| probability(*law, bits, windows))
            .sum()
    }

    #[test]
    fn every_law_is_a_distribution() {
        for windows in 2..13 {
            let laws = laws(windows);
            let sum: f64 = (0..1 << windows)
                .map(|bits| of_all(&laws, bits, windows))
                .sum();
            assert!((sum - 1.0).abs() < 1e-9, "{windows} windows: {sum}");
            assert!(over(&laws, &vec![0.0; windows]).abs() < 1e-9);
        }
    }

    #[test]
    fn pairs_of_patterns_are_all_summed() {
        let gains: [Joint; 4] = [
            [1.0, -2.0, 0.5],
            [-0.3, 3.0, 1.0],
            [2.0, 2.0, 2.5],
            [-4.0, 0.1, -5.0],
        ];
        let laws = laws(4);
        let mut sum = 0.0;
        for a in 0..16 {
            for b in 0..16 {
                let of = |(window, joint): (usize, &Joint)| match (a >> window & 1, b >> window & 1)
                {
                    (0, 0) => 0.0,
                    (1, 0) => joint[0],
                    (0, _) => joint[1],
                    (_, _) => joint[2],
                };
                let gain: f64 = gains.iter().enumerate().map(of).sum();
                sum += of_all(&laws, a, 4) * of_all(&laws, b, 4) * gain.exp();
            }
        }
        assert!((over_both(&laws, &laws, &gains) - sum.ln()).abs() < 1e-9);
    }
}
