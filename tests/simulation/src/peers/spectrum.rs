//! Spectrum-based scores, as in debugging: how often probes across a component fail and others do not.
//! Ochiai (Abreu, Zoeteweij, van Gemund: "On the Accuracy of Spectrum-based Fault Localization", 2007),
//! Tarantula (Jones, Harrold, ASE 2005), DStar with exponent 2 (Wong, Debroy, Gao, Li, 2014).

use localize::score::CountedCase;

use crate::counts::Counts;
use crate::engine::{Engine, Judgement, ranked};

/// Setting of the three: the score from which a component is named.
pub const OCHIAI: Engine = Engine {
    name: "Ochiai",
    judge: |case, settings| judge(case, settings, ochiai),
    grid: &[&[
        0.03, 0.05, 0.08, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8,
    ]],
};
/// See [`OCHIAI`].
pub const TARANTULA: Engine = Engine {
    name: "Tarantula",
    judge: |case, settings| judge(case, settings, tarantula),
    grid: &[&[0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.92, 0.94, 0.96, 0.98]],
};
/// See [`OCHIAI`].
pub const DSTAR: Engine = Engine {
    name: "DStar",
    judge: |case, settings| judge(case, settings, dstar),
    grid: &[&[
        0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0,
    ]],
};

/// Probes by whether they failed and whether they crossed a component.
#[derive(Clone, Copy)]
struct Spectrum {
    failed_across: f64,
    passed_across: f64,
    failed_elsewhere: f64,
    passed_elsewhere: f64,
}

fn judge(case: &CountedCase, settings: &[f64], score: fn(Spectrum) -> f64) -> Judgement {
    let counts = Counts::new(case);
    let scores: Vec<f64> = spectra(&counts).into_iter().map(score).collect();
    ranked(&counts.ids, &scores, |place| scores[place] >= settings[0])
}

fn spectra(counts: &Counts) -> Vec<Spectrum> {
    let failed = counts.failed();
    let passed: f64 = counts.flows.iter().map(|flow| flow.passed).sum();
    counts
        .of
        .iter()
        .map(|flows| {
            let failed_across: f64 = flows.iter().map(|&flow| counts.flows[flow].failed).sum();
            let passed_across: f64 = flows.iter().map(|&flow| counts.flows[flow].passed).sum();
            Spectrum {
                failed_across,
                passed_across,
                failed_elsewhere: failed - failed_across,
                passed_elsewhere: passed - passed_across,
            }
        })
        .collect()
}

fn ochiai(s: Spectrum) -> f64 {
    let all = (s.failed_across + s.failed_elsewhere) * (s.failed_across + s.passed_across);
    if all > 0.0 {
        s.failed_across / all.sqrt()
    } else {
        0.0
    }
}

fn tarantula(s: Spectrum) -> f64 {
    let failed = s.failed_across + s.failed_elsewhere;
    let passed = s.passed_across + s.passed_elsewhere;
    if s.failed_across == 0.0 {
        return 0.0;
    }
    let (bad, good) = (s.failed_across / failed, s.passed_across / passed.max(1.0));
    bad / (bad + good)
}

fn dstar(s: Spectrum) -> f64 {
    s.failed_across.powi(2) / (s.passed_across + s.failed_elsewhere).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_by_hand() {
        // 4 of 5 failures and 12 of 20 successes cross the component.
        let spectrum = Spectrum {
            failed_across: 4.0,
            passed_across: 12.0,
            failed_elsewhere: 1.0,
            passed_elsewhere: 8.0,
        };
        assert!((ochiai(spectrum) - 4.0 / 80.0_f64.sqrt()).abs() < 1e-12);
        assert!((tarantula(spectrum) - 0.8 / 1.4).abs() < 1e-12);
        assert!((dstar(spectrum) - 16.0 / 13.0).abs() < 1e-12);
    }
}
