//! Worlds: the mesh with its backgrounds and faults, probed.

use localize::score::{Calm, CountedCase, Row};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::fault::{self, Fault};
use crate::mesh::{self, Arm, Balancer, Crossing, Mesh, VANTAGES};

/// Windows of time of a drawn case.
pub const WINDOWS: usize = 60;
/// Probes sent in calm times before, by all vantage points together.
pub const CALM: u64 = 20_000;

/// How the world differs from what engines assume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum World {
    /// Not at all.
    Nominal,
    /// The balancer's backend and source address are left to chance in most arms.
    HiddenPaths,
    /// Only the outcome of whole probes is seen.
    NoLayers,
    /// Every component's background is four times as high, in calm times too.
    Background,
    /// At three vantage points the first layer loses a fifth of its probes in 2 of the 60 windows.
    Storms,
    /// One failure in twenty is reported one layer late.
    LateLayers,
    /// One faulty component is in no list.
    Missing,
    /// One further fault hits an arbitrary tenth of the arms at their last layer.
    RandomPaths,
}

impl World {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Nominal,
        Self::HiddenPaths,
        Self::NoLayers,
        Self::Background,
        Self::Storms,
        Self::LateLayers,
        Self::Missing,
        Self::RandomPaths,
    ];

    /// Its name in tables and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nominal => "nominal",
            Self::HiddenPaths => "hidden-paths",
            Self::NoLayers => "no-layers",
            Self::Background => "background",
            Self::Storms => "storms",
            Self::LateLayers => "late-layers",
            Self::Missing => "missing",
            Self::RandomPaths => "random-paths",
        }
    }

    /// By how much components fail more while they are well than in the nominal world.
    pub(crate) fn times_calm(self) -> f64 {
        if self == Self::Background { 4.0 } else { 1.0 }
    }

    fn mesh(self) -> Mesh {
        match self {
            Self::HiddenPaths => mesh::benchmark(Balancer::Chance),
            Self::NoLayers => mesh::benchmark(Balancer::Pinned).without_layers(),
            Self::Nominal
            | Self::Background
            | Self::Storms
            | Self::LateLayers
            | Self::Missing
            | Self::RandomPaths => mesh::benchmark(Balancer::Pinned),
        }
    }
}

/// What is true of a drawn case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    /// The seed that it was drawn from.
    pub seed: u64,
    /// The faults of listed components.
    pub faults: Vec<Fault>,
    /// What fails and is no listed component.
    pub unmodelled: Option<Unmodelled>,
    /// Rates at which the components of the benchmark mesh fail while they are well, by their place in it.
    #[serde(default)]
    pub calm: Vec<f64>,
}

/// A fault that no listed component explains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unmodelled {
    /// That of a component that was taken off the lists.
    Missing(Fault),
    /// One of arms, by their place in the mesh, at the last layer.
    Arms(Vec<usize>, f64),
}

impl Truth {
    /// The faulty components.
    pub fn ids(&self) -> impl Iterator<Item = u32> + '_ {
        self.faults.iter().map(|fault| fault.id)
    }
}

/// A case and what is true of it.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// What engines see.
    pub case: CountedCase,
    /// What they should say.
    pub truth: Truth,
}

/// Draws a case: the same for the same arguments.
///
/// Faults and backgrounds depend on the seed alone, so that worlds can be compared case by case.
#[must_use]
pub fn draw(world: World, probes: u32, seed: u64) -> Drawn {
    let mut rng = StdRng::seed_from_u64(seed);
    let site = Site::new(&mut rng, world);
    let calm = site.calm_rates();
    let mut faults = fault::mixture(&mut rng, site.count(), WINDOWS);
    if world == World::Missing && faults.is_empty() {
        faults = fault::some(&mut rng, 1, site.count(), WINDOWS);
    }
    let (case, unmodelled) = site.observe(&mut rng, world, probes, &faults);
    let truth = Truth {
        seed,
        faults,
        unmodelled,
        calm,
    };
    let drawn = Drawn { case, truth };
    if world == World::Missing {
        drawn.without_one()
    } else {
        drawn
    }
}

/// Draws a nominal case in which nothing is at fault.
#[must_use]
pub fn healthy(probes: u32, seed: u64) -> Drawn {
    let mut rng = StdRng::seed_from_u64(seed);
    let site = Site::new(&mut rng, World::Nominal);
    let calm = site.calm_rates();
    let (case, unmodelled) = site.observe(&mut rng, World::Nominal, probes, &[]);
    let faults = Vec::new();
    let truth = Truth {
        seed,
        faults,
        unmodelled,
        calm,
    };
    Drawn { case, truth }
}

impl Drawn {
    /// Takes the first fault's component off every list.
    fn without_one(mut self) -> Self {
        let hidden = self.truth.faults.remove(0);
        self.case
            .components
            .retain(|component| component.id != hidden.id);
        for path in self.case.rows.iter_mut().flat_map(|row| &mut row.crosses) {
            path.retain(|&id| id != hidden.id);
        }
        self.truth.unmodelled = Some(Unmodelled::Missing(hidden));
        self
    }
}

/// The mesh with what fails in it.
struct Site {
    mesh: Mesh,
    /// Rate of failure by component and window.
    rates: Vec<[f64; WINDOWS]>,
    /// Further loss at the first layer by vantage point and window.
    storms: Vec<[f64; WINDOWS]>,
    /// Arms that fail at their last layer, and at which rate.
    scattered: Option<(Vec<usize>, f64)>,
    /// Share of the failures that are reported one layer late.
    late: f64,
}

impl Site {
    fn new(rng: &mut StdRng, world: World) -> Self {
        let mesh = world.mesh();
        let times = world.times_calm();
        let mut rates: Vec<[f64; WINDOWS]> = mesh
            .components
            .iter()
            .map(|_| [times * fault::log_uniform(rng, 1e-5, 5e-4); WINDOWS])
            .collect();
        let noisy = rng.random_range(0..VANTAGES as usize);
        rates[noisy] = [rng.random_range(0.003..0.01); WINDOWS];
        Self {
            mesh,
            rates,
            storms: vec![[0.0; WINDOWS]; VANTAGES as usize],
            scattered: None,
            late: 0.0,
        }
    }

    /// Calm times, then the world's own trouble and the faults: what is counted, and what no
    /// component explains of it.
    fn observe(
        mut self,
        rng: &mut StdRng,
        world: World,
        probes: u32,
        faults: &[Fault],
    ) -> (CountedCase, Option<Unmodelled>) {
        let baseline = self.calm(rng);
        self.trouble(rng, world);
        self.break_with(faults);
        let rows = self.probe(rng, probes);
        let case = CountedCase {
            schema: 1,
            windows: WINDOWS,
            components: self.mesh.components,
            baseline,
            rows,
        };
        let arms = self
            .scattered
            .map(|(arms, rate)| Unmodelled::Arms(arms, rate));
        (case, arms)
    }

    /// Rates of failure before anything is at fault.
    fn calm_rates(&self) -> Vec<f64> {
        self.rates.iter().map(|rates| rates[0]).collect()
    }

    fn count(&self) -> u32 {
        (0u32..)
            .zip(&self.mesh.components)
            .map(|(i, _)| i + 1)
            .last()
            .unwrap_or(0)
    }

    /// What the world does to probes by itself.
    fn trouble(&mut self, rng: &mut StdRng, world: World) {
        match world {
            World::LateLayers => self.late = 0.05,
            World::RandomPaths => {
                let mut arms: Vec<usize> = (0..self.mesh.arms.len()).collect();
                let tenth = arms.len() / 10;
                let (hit, _) = arms.partial_shuffle(rng, tenth);
                self.scattered = Some((hit.to_vec(), fault::rate(rng)));
            }
            World::Storms => self.storm(rng),
            World::Nominal
            | World::HiddenPaths
            | World::NoLayers
            | World::Background
            | World::Missing => {}
        }
    }

    /// Three storms of two windows each, at different vantage points.
    fn storm(&mut self, rng: &mut StdRng) {
        let mut vantages: Vec<usize> = (0..self.storms.len()).collect();
        let (hit, _) = vantages.partial_shuffle(rng, 3);
        for &mut vantage in hit {
            let start = rng.random_range(0..WINDOWS - 1);
            self.storms[vantage][start..start + 2].fill(0.2);
        }
    }

    /// What every vantage point sees before anything breaks, at whatever layer.
    fn calm(&self, rng: &mut StdRng) -> Vec<Calm> {
        let probes = CALM / u64::from(VANTAGES);
        (0..VANTAGES)
            .map(|vantage| {
                let own: Vec<usize> = (0..self.mesh.arms.len())
                    .filter(|&arm| self.mesh.arms[arm].vantage == vantage)
                    .collect();
                let failed = (0..probes)
                    .filter(|_| {
                        let arm = own[rng.random_range(0..own.len())];
                        self.fails(rng, arm, 0).is_some()
                    })
                    .count() as u64;
                Calm {
                    vantage,
                    probes,
                    failed,
                }
            })
            .collect()
    }

    fn break_with(&mut self, faults: &[Fault]) {
        for fault in faults {
            let rates = &mut self.rates[fault.id as usize];
            for &window in &fault.on {
                rates[window] = 1.0 - (1.0 - rates[window]) * (1.0 - fault.rate);
            }
        }
    }

    /// Sends probes through all arms in turn, spread evenly over the windows, and counts.
    fn probe(&self, rng: &mut StdRng, probes: u32) -> Vec<Row> {
        let mut tally: Vec<Vec<Row>> = self.mesh.arms.iter().map(empty_rows).collect();
        let mut order: Vec<usize> = (0..tally.len()).collect();
        for n in 0..probes {
            let turn = n as usize % order.len();
            if turn == 0 {
                order.shuffle(rng);
            }
            let window = n as usize * WINDOWS / probes as usize;
            let failed = self.fails(rng, order[turn], window);
            let failed = failed.map(|layer| self.reported(rng, order[turn], layer));
            count(&mut tally[order[turn]], window, failed);
        }
        tally.into_iter().flatten().collect()
    }

    /// The layer at which a probe fails, if it does.
    fn fails(&self, rng: &mut StdRng, arm: usize, window: usize) -> Option<usize> {
        let last = self.mesh.arms[arm].layers.len() - 1;
        let layers = &self.mesh.arms[arm].layers;
        let ways = layers.iter().map(Vec::len).max().unwrap_or(1);
        let way = rng.random_range(0..ways);
        layers.iter().enumerate().position(|(layer, paths)| {
            let path = &paths[way.min(paths.len() - 1)];
            let component = path
                .iter()
                .any(|&id| rng.random_bool(self.rates[id as usize][window]));
            component || self.besides(rng, arm, layer, last, window)
        })
    }

    /// Failures that no component causes.
    fn besides(
        &self,
        rng: &mut StdRng,
        arm: usize,
        layer: usize,
        last: usize,
        window: usize,
    ) -> bool {
        let storm = self.storms[self.mesh.arms[arm].vantage as usize][window];
        if layer == 0 && storm > 0.0 && rng.random_bool(storm) {
            return true;
        }
        match &self.scattered {
            Some((arms, rate)) => layer == last && arms.contains(&arm) && rng.random_bool(*rate),
            None => false,
        }
    }

    fn reported(&self, rng: &mut StdRng, arm: usize, layer: usize) -> usize {
        let last = self.mesh.arms[arm].layers.len() - 1;
        if layer < last && self.late > 0.0 && rng.random_bool(self.late) {
            layer + 1
        } else {
            layer
        }
    }
}

fn empty_rows(arm: &Arm) -> Vec<Row> {
    let row = |crosses: &Crossing| Row {
        vantage: arm.vantage,
        crosses: crosses.clone(),
        probes: vec![0; WINDOWS],
        failed: vec![0; WINDOWS],
    };
    arm.layers.iter().map(row).collect()
}

/// Counts one probe at the layers up to the one at which it failed, or at all of them.
fn count(rows: &mut [Row], window: usize, failed: Option<usize>) {
    let reached = failed.map_or(rows.len(), |layer| layer + 1);
    for row in &mut rows[..reached] {
        row.probes[window] += 1;
    }
    if let Some(layer) = failed {
        rows[layer].failed[window] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_case() {
        for world in World::ALL {
            let (one, other) = (draw(world, 600, 7), draw(world, 600, 7));
            assert_eq!(one.case, other.case);
            assert_eq!(one.truth, other.truth);
        }
    }

    #[test]
    fn worlds_of_one_seed_share_their_faults() {
        let faults = |world| draw(world, 600, 11).truth.faults;
        let nominal = faults(World::Nominal);
        assert_eq!(faults(World::Storms), nominal);
        assert_eq!(faults(World::HiddenPaths), nominal);
    }

    #[test]
    fn every_probe_is_counted_once_at_the_first_layer() {
        let drawn = draw(World::Nominal, 3_000, 3);
        let arms = mesh::benchmark(Balancer::Pinned).arms;
        let mut row = 0;
        let mut sent = 0;
        for arm in &arms {
            sent += drawn.case.rows[row].probes.iter().sum::<u32>();
            row += arm.layers.len();
        }
        assert_eq!(row, drawn.case.rows.len());
        assert_eq!(sent, 3_000);
    }

    #[test]
    fn a_probe_that_failed_says_nothing_of_later_layers() {
        let mut rows = empty_rows(&mesh::benchmark(Balancer::Pinned).arms[11]);
        count(&mut rows, 5, Some(1));
        let counts: Vec<(u32, u32)> = rows
            .iter()
            .map(|row| (row.probes[5], row.failed[5]))
            .collect();
        assert_eq!(counts, [(1, 0), (1, 1), (0, 0), (0, 0)]);
    }

    #[test]
    fn a_late_failure_is_one_layer_on_and_never_past_the_last() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut site = Site::new(&mut rng, World::LateLayers);
        site.late = 1.0;
        let last = site.mesh.arms[8].layers.len() - 1;
        assert_eq!(site.reported(&mut rng, 8, 0), 1);
        assert_eq!(site.reported(&mut rng, 8, last), last);
    }

    #[test]
    fn a_storm_fails_the_first_layer_while_it_lasts() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut site = Site::new(&mut rng, World::Storms);
        site.trouble(&mut rng, World::Storms);
        let stormy: usize = site
            .storms
            .iter()
            .flatten()
            .filter(|&&loss| loss > 0.0)
            .count();
        assert_eq!(stormy, 6);
        site.storms.iter_mut().for_each(|vantage| vantage[9] = 1.0);
        assert_eq!(site.fails(&mut rng, 8, 9), Some(0));
    }

    #[test]
    fn healthy_cases_have_no_fault() {
        let drawn = healthy(600, 3);
        assert!(drawn.truth.faults.is_empty() && drawn.truth.unmodelled.is_none());
        let failed: u32 = drawn.case.rows.iter().flat_map(|row| &row.failed).sum();
        assert!(failed < 30, "{failed} of 600");
    }

    #[test]
    fn a_missing_component_is_in_no_list() {
        let drawn = draw(World::Missing, 600, 5);
        let Some(Unmodelled::Missing(hidden)) = drawn.truth.unmodelled else {
            panic!("nothing is missing");
        };
        assert!(
            drawn
                .case
                .components
                .iter()
                .all(|component| component.id != hidden.id)
        );
        let crossed = drawn
            .case
            .rows
            .iter()
            .flat_map(|row| row.crosses.iter().flatten());
        assert!(crossed.into_iter().all(|&id| id != hidden.id));
    }
}
