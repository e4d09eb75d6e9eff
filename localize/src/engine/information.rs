//! What further probes would tell: how far apart the explanations are in what each probe would see.
//!
//! Explanations are grouped into classes by the parts that they blame, their rates averaged inside a
//! class: a probe is paid for telling who it is, not at which rate. The information of a batch is
//! estimated from the classes' pairwise distances (Kolchinsky and Tracey, "Estimating mixture entropy
//! with pairwise distances", Entropy 2017): with weights w and distances D it is
//! -sum over c of w_c log2 (sum over d of w_d exp(-D_cd)). D is Rényi's divergence of order one half,
//! with which the estimate is exact where classes hardly differ and where they differ wholly.
//! Distances of independent probes add up, so that blocks of any size and whole rounds cost no more
//! than one probe.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use super::mixture::{Mixture, Room};
use super::model::{Acting, Cell, Group, Meaning, Model, Outcome, touches_in};
use super::search::{Posterior, Set};

/// Classes that are told apart: further ones have little weight, and the cost grows with the square.
const MOST_CLASSES: usize = 48;
/// Explanations of less weight are left out.
const NEGLIGIBLE: f64 = 1e-5;
/// A probe that tells less is not worth sending while somebody waits, in bits.
pub(crate) const WORTH: f64 = 0.001;
/// When the two heaviest classes hold so much, only the edge between them is worth cutting.
const TWO_HOLD: f64 = 0.9;
/// Probes of one arm that are weighed as one, largest first.
const BLOCKS: [u32; 4] = [64, 16, 4, 1];
/// A block is small enough when its probes tell this share of what as many first ones would.
const LINEAR: f64 = 0.8;
/// The rate of a component that is well but restless, as a share of the floor of faults.
const RESTLESS: f64 = 0.1;
/// No rate is higher.
const TOP: f64 = 0.9995;
/// Less than this is nothing, in bits.
pub(crate) const NOTHING: f64 = 1e-7;
/// No two classes are further apart, in nats: nothing excludes a class for good.
const FAR: f64 = 30.0;

/// One arm from one vantage point.
pub(crate) struct Chain {
    /// The cells that a probe reaches one after the other, each with what may be seen there.
    pub(crate) stops: Vec<(u32, Vec<Outcome>)>,
    /// What a probe costs, against one that passes at once.
    pub(crate) cost: f64,
}

/// A cause that acts in an explanation.
struct Culprit {
    cause: usize,
    theta: [f64; Group::COUNT],
    masked: bool,
}

/// One explanation of the present.
struct State {
    weight: f64,
    culprits: Vec<Culprit>,
    unknown: bool,
}

/// The explanations that blame the same.
#[derive(Default)]
struct Class {
    weight: f64,
    states: Vec<State>,
}

/// What each arm's next probe would tell.
pub(crate) struct Prospect {
    /// Weights of the classes, heaviest first; they add up to one.
    weights: Vec<f64>,
    /// For each arm the distance of each pair of classes; empty where none differ.
    apart: Vec<Vec<f64>>,
    costs: Vec<f64>,
}

impl Prospect {
    /// Weighs the arms.
    pub(crate) fn new(model: &Model, posterior: &Posterior, chains: &[Chain]) -> Self {
        let classes = classes(model, posterior);
        Self {
            weights: classes.iter().map(|class| class.weight).collect(),
            apart: chains
                .iter()
                .map(|chain| distances(model, &classes, chain))
                .collect(),
            costs: chains.iter().map(|chain| chain.cost).collect(),
        }
    }

    /// Information of one more probe of an arm, in bits.
    pub(crate) fn bits(&self, arm: usize) -> f64 {
        information(&self.weights, &self.apart[arm])
    }

    /// Information of every arm once, in bits.
    pub(crate) fn bits_of_all(&self) -> f64 {
        let mut joint = self.nothing();
        for apart in &self.apart {
            add(&mut joint, apart, 1.0);
        }
        information(&self.weights, &joint)
    }

    /// How often to probe each arm, with so many probes in all: what tells most per unit of cost
    /// beside what is chosen already. Fewer probes when no further one tells at least so many bits.
    pub(crate) fn choose(&self, probes: u32, least: f64) -> Vec<u32> {
        let mut copies = vec![0; self.apart.len()];
        let mut joint = self.nothing();
        let mut left = probes;
        // What an arm adds to a batch falls as the batch grows: its last value is a bound.
        let mut bounds = vec![f64::INFINITY; self.apart.len()];
        while left > 0 {
            let Some((arm, block)) = self.best(&joint, left, least, &mut bounds) else {
                break;
            };
            add(&mut joint, &self.apart[arm], f64::from(block));
            copies[arm] += block;
            left -= block;
        }
        copies
    }

    /// The arm that adds most per unit of cost, and how many probes of it to take at once.
    fn best(
        &self,
        joint: &[f64],
        left: u32,
        least: f64,
        bounds: &mut [f64],
    ) -> Option<(usize, u32)> {
        let value = self.value(joint);
        let added = |arm: usize, block: u32| {
            let mut more = joint.to_vec();
            add(&mut more, &self.apart[arm], f64::from(block));
            self.value(&more) - value
        };
        loop {
            let arm = (0..bounds.len()).max_by(|a, b| bounds[*a].total_cmp(&bounds[*b]))?;
            if bounds[arm] <= 0.0 {
                return None;
            }
            let one = added(arm, 1);
            let worth = if one < least {
                0.0
            } else {
                one / self.costs[arm]
            };
            let known = bounds[arm] <= worth * (1.0 + 1e-9);
            bounds[arm] = worth;
            if known {
                let linear = |block: u32| added(arm, block) >= LINEAR * f64::from(block) * one;
                let mut blocks = BLOCKS.into_iter().filter(|block| *block <= left);
                let block = blocks.find(|block| linear(*block)).unwrap_or(1);
                return Some((arm, block));
            }
        }
    }

    fn nothing(&self) -> Vec<f64> {
        vec![0.0; self.weights.len() * self.weights.len().saturating_sub(1) / 2]
    }

    /// What a batch is worth: its information, or what it tells of the one edge that matters.
    fn value(&self, joint: &[f64]) -> f64 {
        match (self.weights.as_slice(), joint) {
            // The pair of the two heaviest classes comes first.
            ([first, second, _, ..], [edge, ..]) if first + second > TWO_HOLD => {
                let both = first + second;
                both * information(&[first / both, second / both], &[*edge])
            }
            _ => information(&self.weights, joint),
        }
    }
}

/// The estimate in bits, from the distances of the pairs (1,0), (2,0), (2,1), (3,0) and so on.
fn information(weights: &[f64], apart: &[f64]) -> f64 {
    if apart.is_empty() {
        return 0.0;
    }
    let mut alike = weights.to_vec();
    let mut pair = 0;
    for (c, weight) in weights.iter().enumerate() {
        for d in 0..c {
            let overlap = libm::exp(-apart[pair]);
            alike[c] += weights[d] * overlap;
            alike[d] += weight * overlap;
            pair += 1;
        }
    }
    let terms = weights.iter().zip(&alike);
    let bits: f64 = terms.map(|(w, alike)| -w * libm::log2(*alike)).sum();
    bits.max(0.0)
}

fn add(joint: &mut [f64], apart: &[f64], times: f64) {
    for (sum, distance) in joint.iter_mut().zip(apart) {
        *sum += distance * times;
    }
}

/// Groups the explanations by what they blame at present.
fn classes(model: &Model, posterior: &Posterior) -> Vec<Class> {
    let mut classes: BTreeMap<(bool, Vec<u32>), Class> = BTreeMap::new();
    for (weight, set) in posterior.sets.iter().filter(|(w, _)| *w > NEGLIGIBLE) {
        for (blamed, state) in states(model, *weight, set) {
            let class = classes.entry((set.unknown, blamed)).or_default();
            class.weight += state.weight;
            class.states.push(state);
        }
    }
    let mut classes: Vec<Class> = classes.into_values().collect();
    classes.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    classes.truncate(MOST_CLASSES);
    let total: f64 = classes.iter().map(|class| class.weight).sum();
    for class in &mut classes {
        class.weight /= total;
        for state in &mut class.states {
            state.weight /= total;
        }
    }
    classes
}

/// A set with all its faults there, and with each of them alone absent: over, or restless and no
/// fault. Each with the parts that it blames.
fn states(model: &Model, weight: f64, set: &Set) -> Vec<(Vec<u32>, State)> {
    let fits = set.fits.iter().zip(&set.guilt);
    let there: Vec<f64> = fits.map(|(fit, guilt)| fit.present * guilt).collect();
    let but = |absent: usize| -> f64 {
        let others = there.iter().enumerate().filter(|(i, _)| *i != absent);
        (1.0 - there[absent]) * others.map(|(_, p)| p).product::<f64>()
    };
    let all = (None, there.iter().product());
    let one_absent = (0..there.len()).map(|absent| (Some(absent), but(absent)));
    [all]
        .into_iter()
        .chain(one_absent)
        .filter(|(_, share)| weight * share > NEGLIGIBLE)
        .map(|(absent, share)| {
            let state = State {
                weight: weight * share,
                culprits: (0..set.fits.len())
                    .map(|fit| culprit(model, set, fit, Some(fit) == absent))
                    .collect(),
                unknown: set.unknown,
            };
            (blamed(model, set, absent), state)
        })
        .collect()
}

fn blamed(model: &Model, set: &Set, absent: Option<usize>) -> Vec<u32> {
    let causes = set.fits.iter().map(|fit| &model.causes[fit.fault.cause]);
    let mut parts: Vec<u32> = causes
        .enumerate()
        .filter(|(fit, cause)| Some(*fit) != absent && cause.meaning == Meaning::Fault)
        .map(|(_, cause)| cause.part)
        .collect();
    parts.sort_unstable();
    parts.dedup();
    parts
}

/// What a fault of a set does to probes, its rate at the mean.
fn culprit(model: &Model, set: &Set, fit: usize, absent: bool) -> Culprit {
    let restless = 1.0 - set.guilt[fit];
    let fit = &set.fits[fit];
    let rate = if absent {
        restless * RESTLESS * model.floor
    } else {
        fit.rates.iter().map(|(theta, p)| theta * p).sum()
    };
    let fitted = fit.fault.theta;
    let theta = fitted.map(|theta| (theta * rate / fitted[Group::Front as usize]).min(TOP));
    let masked = fit.fault.masked_at_last();
    Culprit {
        cause: fit.fault.cause,
        theta: match masked {
            true => Group::kept_away(theta),
            false => theta,
        },
        masked: masked && !absent,
    }
}

/// Distance of each pair of classes in what one probe of an arm would see.
fn distances(model: &Model, classes: &[Class], chain: &Chain) -> Vec<f64> {
    let seen: Vec<Vec<f64>> = classes
        .iter()
        .map(|class| roots(model, class, chain))
        .collect();
    let mut apart = Vec::with_capacity(classes.len() * classes.len() / 2);
    for (c, one) in seen.iter().enumerate() {
        for other in &seen[..c] {
            let overlap: f64 = one.iter().zip(other).map(|(a, b)| a * b).sum();
            apart.push((-2.0 * libm::log(overlap.max(1e-12))).clamp(0.0, FAR));
        }
    }
    if apart.iter().all(|distance| *distance < 1e-12) {
        apart.clear();
    }
    apart
}

/// Square roots of the probabilities of everything that a probe may see: its failure at each cell that
/// it may reach, and at the last one its success.
fn roots(model: &Model, class: &Class, chain: &Chain) -> Vec<f64> {
    let mut seen = Vec::new();
    let mut arrives = 1.0;
    for (place, (cell, outcomes)) in chain.stops.iter().enumerate() {
        let last = place + 1 == chain.stops.len();
        let chances = chances(model, class, *cell, outcomes);
        let mut passes = 0.0;
        for (outcome, chance) in outcomes.iter().zip(chances) {
            if last || outcome.symptom.is_some() {
                seen.push(libm::sqrt(arrives * chance));
            } else {
                passes += chance;
            }
        }
        arrives *= passes;
    }
    seen
}

/// Probabilities of the outcomes of the next probe in a cell; they add up to one.
fn chances(model: &Model, class: &Class, cell: u32, outcomes: &[Outcome]) -> Vec<f64> {
    let mut chances = vec![0.0; outcomes.len()];
    let mut room = Room::default();
    for state in &class.states {
        let acting: Vec<Acting<'_>> = state
            .culprits
            .iter()
            .map(|culprit| Acting {
                touches: touches_in(&model.causes[culprit.cause].touches, cell),
                theta: culprit.theta,
                masked: culprit.masked,
            })
            .filter(|acting| !acting.touches.is_empty())
            .collect();
        let there = &model.cells[cell as usize];
        let mixture = Mixture::new(model, there, &acting, &mut room);
        for (sum, outcome) in chances.iter_mut().zip(outcomes) {
            *sum += state.weight * chance(&mixture, there, state, outcome);
        }
    }
    let total: f64 = chances.iter().sum::<f64>().max(1e-300);
    chances.iter_mut().for_each(|chance| *chance /= total);
    chances
}

fn chance(mixture: &Mixture<'_>, cell: &Cell, state: &State, outcome: &Outcome) -> f64 {
    let known = mixture.probability(outcome);
    if !state.unknown || cell.failed == 0.0 {
        return known;
    }
    // Something unknown goes on as it was, and strikes where it struck.
    let rate = (cell.failed + 0.5) / (cell.trials + 1.0);
    let by_it = match outcome.symptom {
        Some(_) => rate / cell.kinds,
        None => 0.0,
    };
    known * (1.0 - rate) + by_it
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bits that n probes tell of two equal classes whose probes fail with these probabilities, by
    /// counting.
    fn exact(p: f64, q: f64, n: u32) -> f64 {
        let ways = |k: u32| -> f64 {
            (0..k)
                .map(|i| f64::from(n - i) / f64::from(i + 1))
                .product()
        };
        let binomial = |p: f64, k: u32| {
            ways(k) * libm::pow(p, f64::from(k)) * libm::pow(1.0 - p, f64::from(n - k))
        };
        let term = |x: f64, both: f64| match x > 0.0 {
            true => x / 2.0 * libm::log2(2.0 * x / both),
            false => 0.0,
        };
        (0..=n)
            .map(|k| (binomial(p, k), binomial(q, k)))
            .map(|(a, b)| term(a, a + b) + term(b, a + b))
            .sum()
    }

    fn estimate(p: f64, q: f64, n: u32) -> f64 {
        let overlap = libm::sqrt(p * q) + libm::sqrt((1.0 - p) * (1.0 - q));
        let distance = -2.0 * libm::log(overlap.max(1e-12)) * f64::from(n);
        information(&[0.5, 0.5], &[distance.min(FAR)])
    }

    #[test]
    fn the_estimate_is_near_the_information_of_blocks() {
        let rows = [
            (0.4, 0.5, 1),
            (0.4, 0.5, 16),
            (0.4, 0.5, 64),
            (0.0, 1.0, 1),
            (0.001, 0.33, 1),
            (0.001, 0.33, 4),
            (0.001, 0.33, 16),
            (0.0005, 0.01, 1),
            (0.0005, 0.01, 64),
        ];
        for (p, q, n) in rows {
            let (near, exact) = (estimate(p, q, n), exact(p, q, n));
            let ratio = near / exact;
            assert!(
                (0.7..1.6).contains(&ratio),
                "{p} {q} {n}: {near} for {exact}"
            );
        }
    }

    fn prospect(weights: &[f64], apart: &[&[f64]], costs: &[f64]) -> Prospect {
        Prospect {
            weights: weights.to_vec(),
            apart: apart.iter().map(|a| a.to_vec()).collect(),
            costs: costs.to_vec(),
        }
    }

    #[test]
    fn a_batch_cuts_what_is_left_uncut() {
        // Arms that tell the first from the others, twice the same, and the last two from each other.
        let arms: [&[f64]; 3] = [&[5.0, 5.0, 0.0], &[4.9, 4.9, 0.0], &[0.0, 0.0, 3.0]];
        let weights = [1.0 / 3.0; 3];
        let chosen = prospect(&weights, &arms, &[1.0; 3]).choose(2, WORTH);
        assert_eq!(chosen, [1, 0, 1]);
        // What takes long must tell more.
        let chosen = prospect(&weights, &arms, &[9.0, 1.0, 1.0]).choose(2, WORTH);
        assert_eq!(chosen, [0, 1, 1]);
    }

    #[test]
    fn two_heavy_classes_are_what_matters() {
        let weights = [0.48, 0.46, 0.03, 0.03];
        // Pairs (1,0), (2,0), (2,1), (3,0), (3,1), (3,2).
        let arms: [&[f64]; 2] = [
            &[0.2, 0.0, 0.0, 0.0, 0.0, 0.0],
            &[0.0, 9.0, 9.0, 9.0, 9.0, 9.0],
        ];
        let chosen = prospect(&weights, &arms, &[1.0; 2]).choose(1, WORTH);
        assert_eq!(chosen, [1, 0]);
    }

    #[test]
    fn where_no_arm_tells_them_apart_nothing_is_chosen() {
        let arms: [&[f64]; 2] = [&[], &[0.0001]];
        let nothing = prospect(&[0.5, 0.5], &arms, &[1.0; 2]);
        assert_eq!(nothing.choose(10, WORTH), [0, 0]);
        assert!(nothing.bits_of_all() < WORTH);
    }

    #[test]
    fn rare_failures_are_asked_for_in_blocks() {
        let arms: [&[f64]; 1] = [&[0.004]];
        let chosen = prospect(&[0.5, 0.5], &arms, &[1.0]).choose(70, WORTH);
        assert_eq!(chosen, [70]);
    }
}
