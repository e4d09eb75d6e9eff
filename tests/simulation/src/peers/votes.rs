//! 007: every failed probe gives each of the components on its path an equal part of one vote; the
//! most voted is named and its probes taken out, as long as it has a share of the votes (Arzani,
//! Ciraci, Chamon, et al.: "007: Democratically Finding the Cause of Packet Drops", NSDI 2018).

use localize::score::CountedCase;

use crate::counts::Counts;
use crate::engine::{Engine, Judgement, ranked};

/// Settings: the share of all votes from which a component is named, and the least votes.
pub const ENGINE: Engine = Engine {
    name: "007",
    judge,
    grid: &[
        &[0.02, 0.05, 0.08, 0.1, 0.12, 0.15, 0.18, 0.2, 0.25, 0.3, 0.4],
        &[0.0, 2.0, 4.0, 8.0, 12.0, 20.0],
    ],
};

fn judge(case: &CountedCase, settings: &[f64]) -> Judgement {
    let counts = Counts::new(case);
    let mut explained = vec![false; counts.flows.len()];
    let first = votes(&counts, &explained);
    let enough = settings[1].max(settings[0] * first.iter().sum::<f64>());
    let mut named = vec![false; counts.ids.len()];
    // Each turn names one component.
    for _ in 0..named.len() {
        let votes = votes(&counts, &explained);
        let most = (0..votes.len()).max_by(|&a, &b| votes[a].total_cmp(&votes[b]));
        let Some(most) = most.filter(|&most| votes[most] > 0.0 && votes[most] >= enough) else {
            break;
        };
        named[most] = true;
        for &flow in &counts.of[most] {
            explained[flow] = true;
        }
    }
    ranked(&counts.ids, &first, |place| named[place])
}

fn votes(counts: &Counts, explained: &[bool]) -> Vec<f64> {
    let mut votes = vec![0.0; counts.ids.len()];
    for (flow, explained) in counts.flows.iter().zip(explained) {
        if !explained {
            for &component in &flow.crossed {
                votes[component] += flow.failed / flow.crossed.len() as f64;
            }
        }
    }
    votes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::Flow;

    #[test]
    fn votes_by_hand() {
        // Three failures across 0 and 1, two across 1 and 2, one across 0 alone.
        let flows = vec![
            Flow::new(vec![vec![0, 1]], 9, 3),
            Flow::new(vec![vec![1, 2]], 9, 2),
            Flow::new(vec![vec![0]], 9, 1),
        ];
        let counts = Counts::of_flows(vec![0, 1, 2], flows);
        assert_eq!(votes(&counts, &[false; 3]), [2.5, 2.5, 1.0]);
        // Once 1 is named, the last flow is what is left.
        assert_eq!(votes(&counts, &[true, true, false]), [1.0, 0.0, 0.0]);
    }
}
