//! Boolean tomography: a path is bad or good; what lies on a good path is good; the smallest set of the
//! others that accounts for every bad path is named (Duffield: "Network Tomography of Binary Network
//! Performance Characteristics", IEEE Trans. Information Theory 52(12), 2006, on trees; greedily on
//! meshes as in Dhamdhere, Teixeira, Dovrolis, Diot: "NetDiagnoser", CoNEXT 2007).

use localize::score::CountedCase;

use crate::counts::Counts;
use crate::engine::{Engine, Judgement, ranked};

/// Setting: the share of failures from which a path is bad.
pub const ENGINE: Engine = Engine {
    name: "smallest failure set",
    judge,
    grid: &[&[0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.5]],
};

fn judge(case: &CountedCase, settings: &[f64]) -> Judgement {
    let counts = Counts::new(case);
    let (named, first) = explain(&counts, settings[0]);
    ranked(&counts.ids, &first, |place| named[place])
}

/// Who is named, and how many bad paths each of the suspects is on.
fn explain(counts: &Counts, bad: f64) -> (Vec<bool>, Vec<f64>) {
    let mut open: Vec<bool> = counts
        .flows
        .iter()
        .map(|flow| flow.failed > bad * flow.probes())
        .collect();
    let suspect: Vec<bool> = counts
        .of
        .iter()
        .map(|flows| flows.iter().all(|&flow| open[flow]))
        .collect();
    let on = |open: &[bool], component: usize| {
        let paths = counts.of[component]
            .iter()
            .filter(|&&flow| open[flow])
            .count();
        if suspect[component] {
            paths as f64
        } else {
            0.0
        }
    };
    let first: Vec<f64> = (0..suspect.len())
        .map(|component| on(&open, component))
        .collect();
    let mut named = vec![false; suspect.len()];
    // Each turn names one component.
    for _ in 0..named.len() {
        let most = (0..named.len()).max_by(|&a, &b| on(&open, a).total_cmp(&on(&open, b)));
        let Some(most) = most.filter(|&most| on(&open, most) > 0.0) else {
            break;
        };
        named[most] = true;
        for &flow in &counts.of[most] {
            open[flow] = false;
        }
    }
    (named, first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::Flow;

    #[test]
    fn the_common_link_of_a_tree() {
        // A root 0 with leaves 1, 2, and a third leaf 3 aside: bad to 1 and 2, good to 3.
        let flows = vec![
            Flow::new(vec![vec![0, 1]], 10, 5),
            Flow::new(vec![vec![0, 2]], 10, 5),
            Flow::new(vec![vec![3]], 10, 0),
        ];
        let counts = Counts::of_flows(vec![0, 1, 2, 3], flows);
        assert_eq!(explain(&counts, 0.1).0, [true, false, false, false]);
    }

    #[test]
    fn a_good_path_clears_the_common_link() {
        let flows = vec![
            Flow::new(vec![vec![0, 1]], 10, 5),
            Flow::new(vec![vec![0, 2]], 10, 5),
            Flow::new(vec![vec![0, 3]], 10, 0),
        ];
        let counts = Counts::of_flows(vec![0, 1, 2, 3], flows);
        assert_eq!(explain(&counts, 0.1).0, [false, true, true, false]);
    }
}
