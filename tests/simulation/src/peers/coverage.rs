//! Maximum coverage: the component that explains most unexplained failures is named, among those of
//! which enough of the probes fail, until too few failures are left (Kompella, Yates, Greenberg,
//! Snoeren: "Detection and Localization of Network Black Holes", INFOCOM 2007).

use localize::score::CountedCase;

use crate::counts::{Counts, Flow};
use crate::engine::{Engine, Judgement, ranked};

/// Settings: the share of the probes across a component that must have failed, and the failures that
/// it must explain by itself.
pub const ENGINE: Engine = Engine {
    name: "maximum coverage",
    judge,
    grid: &[
        &[0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03, 0.05],
        &[1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 30.0],
    ],
};

fn judge(case: &CountedCase, settings: &[f64]) -> Judgement {
    let counts = Counts::new(case);
    let (named, first) = cover(&counts, settings[0], settings[1]);
    ranked(&counts.ids, &first, |place| named[place])
}

/// Who is named, and the hit ratios at the start.
fn cover(counts: &Counts, ratio: f64, enough: f64) -> (Vec<bool>, Vec<f64>) {
    let mut explained = vec![false; counts.flows.len()];
    let mut named = vec![false; counts.ids.len()];
    let first: Vec<f64> = (0..named.len())
        .map(|c| hits(counts, &explained, c).1)
        .collect();
    // Each turn names one component.
    for _ in 0..named.len() {
        let best = (0..named.len())
            .filter(|&component| !named[component])
            .map(|component| (component, hits(counts, &explained, component)))
            .filter(|(_, (failed, share))| *failed >= enough && *share >= ratio)
            .max_by(|(_, a), (_, b)| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let Some((best, _)) = best else { break };
        named[best] = true;
        for &flow in &counts.of[best] {
            explained[flow] = true;
        }
    }
    (named, first)
}

/// Unexplained failures across a component, and their share of its unexplained probes.
fn hits(counts: &Counts, explained: &[bool], component: usize) -> (f64, f64) {
    let open = || {
        counts.of[component]
            .iter()
            .filter(|&&flow| !explained[flow])
    };
    let failed: f64 = open().map(|&flow| counts.flows[flow].failed).sum();
    let probes: f64 = open().map(|&flow| Flow::probes(&counts.flows[flow])).sum();
    (failed, if probes > 0.0 { failed / probes } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cover_by_hand() {
        // 1 is in every failing flow: 9 of 20. What is left for 0 and 2 are flows without failures.
        let flows = vec![
            Flow::new(vec![vec![0, 1]], 10, 5),
            Flow::new(vec![vec![1, 2]], 10, 4),
            Flow::new(vec![vec![0]], 10, 0),
            Flow::new(vec![vec![2]], 10, 1),
        ];
        let counts = Counts::of_flows(vec![0, 1, 2], flows);
        assert_eq!(hits(&counts, &[false; 4], 0), (5.0, 0.25));
        let (named, _) = cover(&counts, 0.2, 1.0);
        assert_eq!(named, [false, true, false]);
        // 2 has one failure of ten that 1 does not explain: enough at a ratio of a tenth.
        let (named, _) = cover(&counts, 0.1, 1.0);
        assert_eq!(named, [false, true, true]);
    }
}
