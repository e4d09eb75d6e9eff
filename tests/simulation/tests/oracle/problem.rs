//! A counted case as cells and causes, and the probability of what was seen in a cell.

use std::collections::BTreeMap;

use localize::Kind;
use localize::score::{CountedCase, Row};

use crate::common::Common;

/// Prior odds of a component's fault, and what they are multiplied by beside another one.
const FAULT: f64 = 0.08;
pub const FURTHER: f64 = 0.6;
/// Rate at which a component fails by chance where no calm record tells.
const NOISE: f64 = 5e-4 / 8.0;
/// The lowest rate of a fault.
pub const FLOOR: f64 = 0.004;
/// The share of failures reported late, where some are.
const SLIP: f64 = 0.05;
/// No probability is smaller.
const TINY: f64 = 1e-12;

/// One row.
pub struct Cell {
    /// By path, the causes on it as bits.
    pub paths: Vec<u64>,
    /// Causes that keep probes from coming here, as bits.
    pub gates: u64,
    /// All of them.
    pub touching: u64,
    pub slip: f64,
    pub late: f64,
    /// Probes by window.
    pub passed: Vec<f64>,
    pub failed: Vec<f64>,
    /// Components crossed.
    pub crossed: f64,
    pub background: f64,
    /// Rows of the same way from different vantage points.
    pub way: Vec<u32>,
}

impl Cell {
    pub fn failures(&self) -> f64 {
        self.failed.iter().sum()
    }

    pub fn trials(&self) -> f64 {
        self.failures() + self.passed.iter().sum::<f64>()
    }

    /// Whether it says something that depends on what else is at fault.
    pub fn informative(&self) -> bool {
        self.failures() > 0.0 || self.paths.len() > 1 || self.slip > 0.0 || self.late > 0.0
    }

    /// Probability that a probe fails here while causes act at these rates; noisy-OR on each path.
    fn shares(&self, failed: bool, acting: &[(usize, f64)]) -> (f64, f64) {
        let among = |bits: u64| acting.iter().filter(move |(c, _)| bits >> c & 1 == 1);
        let survival = |bits: u64| among(bits).map(|(_, rate)| 1.0 - rate).product::<f64>();
        let came = survival(self.gates);
        let paths = self.paths.len() as f64;
        let passes = self.paths.iter().map(|p| survival(*p)).sum::<f64>() / paths;
        let lost = came * (1.0 - passes) * (1.0 - self.late);
        let slipped = self.slip * (1.0 - came);
        let whole = (came + slipped).max(TINY);
        let share = if failed { lost + slipped } else { came - lost };
        let by_chance = if failed { self.background * whole } else { 0.0 };
        (
            (share * (1.0 - self.background) + by_chance).max(TINY * whole),
            whole,
        )
    }

    /// Logarithm of that probability, or of that of passing.
    pub fn log(&self, failed: bool, acting: &[(usize, f64)]) -> f64 {
        let (share, whole) = self.shares(failed, acting);
        (share / whole).ln()
    }

    /// Logarithm of the probability of what was seen in a window.
    pub fn seen(&self, window: usize, acting: &[(usize, f64)]) -> f64 {
        let part = |count: f64, failed| {
            if count > 0.0 {
                count * self.log(failed, acting)
            } else {
                0.0
            }
        };
        part(self.passed[window], false) + part(self.failed[window], true)
    }

    /// The share of its failures in a window that happened by chance.
    pub fn chance(&self, acting: &[(usize, f64)]) -> f64 {
        let (share, whole) = self.shares(true, acting);
        (self.background * whole / share).min(1.0)
    }
}

/// Something that may be at fault.
pub struct Cause {
    pub log_odds: f64,
    /// The places of the components whose fault it is: several where no row tells them apart.
    pub members: Vec<usize>,
}

pub struct Problem {
    pub windows: usize,
    pub cells: Vec<Cell>,
    /// The components that rows name, in their order.
    pub causes: Vec<Cause>,
    /// Those of the causes that stand for several, after the others.
    pub common: Vec<Common>,
    /// Rate at which every component fails by chance.
    pub noise: f64,
}

impl Problem {
    /// With failures of some rows reported at others, given as pairs of places.
    pub fn new(case: &CountedCase, late: &[(usize, usize)]) -> Self {
        assert!(
            case.components
                .iter()
                .all(|c| c.kind != Kind::ClientNetwork)
        );
        let groups = groups(case);
        assert!(case.baseline.is_empty() && groups.len() <= 64);
        let cell = |row: &Row| {
            let crossed = |path: &[u32], group: &Vec<usize>| {
                let id = case.components[group[0]].id;
                path.contains(&id)
            };
            let path = |path: &Vec<u32>| {
                let here = (0..).zip(&groups).filter(|(_, group)| crossed(path, group));
                here.fold(0, |bits, (c, _)| bits | 1 << c)
            };
            let pairs = || row.probes.iter().zip(&row.failed);
            let paths: Vec<u64> = row.crosses.iter().map(path).collect();
            let crossed: usize = row.crosses.iter().map(Vec::len).sum();
            Cell {
                touching: paths.iter().fold(0, |all, path| all | path),
                crossed: crossed as f64 / paths.len() as f64,
                paths,
                gates: 0,
                slip: 0.0,
                late: 0.0,
                passed: pairs().map(|(n, k)| f64::from(n - k)).collect(),
                failed: pairs().map(|(_, k)| f64::from(*k)).collect(),
                background: 0.0,
                way: row.crosses.concat(),
            }
        };
        let component = |members: &Vec<usize>| Cause {
            log_odds: (FAULT * members.len() as f64).ln(),
            members: members.clone(),
        };
        let mut problem = Self {
            windows: case.windows,
            cells: case.rows.iter().map(cell).collect(),
            causes: groups.iter().map(component).collect(),
            common: Vec::new(),
            noise: NOISE,
        };
        problem.set_noise(NOISE);
        problem.report_late(late);
        problem
    }

    /// Sets the noise, and with it the background of every cell.
    pub fn set_noise(&mut self, noise: f64) {
        for cell in &mut self.cells {
            cell.background = noise * cell.crossed.max(1.0);
        }
        self.noise = noise;
    }

    fn report_late(&mut self, late: &[(usize, usize)]) {
        for &(from, to) in late {
            self.cells[from].late = SLIP;
            self.cells[to].slip = SLIP;
            let always = self.cells[from]
                .paths
                .iter()
                .fold(u64::MAX, |all, path| all & path);
            let here = self.cells[to].paths.iter().fold(0, |all, path| all | path);
            self.cells[to].gates |= always & !here;
            self.cells[to].touching |= always & !here;
        }
    }

    /// The cells that a cause touches.
    pub fn touched(&self, cause: usize) -> impl Iterator<Item = &Cell> {
        self.cells
            .iter()
            .filter(move |cell| cell.touching >> cause & 1 == 1)
    }

    /// Whether two causes meet in no cell that says something of both.
    pub fn apart(&self, one: usize, other: usize) -> bool {
        self.touched(one)
            .all(|cell| cell.touching >> other & 1 == 0 || !cell.informative())
    }
}

/// Where a component is met: rows, and paths in them.
type Met = Vec<(usize, usize)>;

/// The places of the components that rows name; together those that no row tells apart.
fn groups(case: &CountedCase) -> Vec<Vec<usize>> {
    let mut groups: Vec<(Met, Vec<usize>)> = Vec::new();
    for (place, component) in case.components.iter().enumerate() {
        let rows = case.rows.iter().enumerate();
        let met = rows.flat_map(|(index, row)| {
            let paths = row.crosses.iter().enumerate();
            let met = paths.filter(|(_, path)| path.contains(&component.id));
            met.map(move |(path, _)| (index, path))
        });
        let met: Met = met.collect();
        match groups.iter_mut().find(|group| group.0 == met) {
            _ if met.is_empty() => {}
            Some(group) => group.1.push(place),
            None => groups.push((met, vec![place])),
        }
    }
    groups.into_iter().map(|group| group.1).collect()
}

/// Rows whose failures may be reported at other rows: those of one vantage point that got just the
/// probes which passed. Empty where there are too few failures.
pub fn late(case: &CountedCase) -> Vec<(usize, usize)> {
    let total = |row: usize| case.rows[row].failed.iter().sum::<u32>();
    let mut joints: BTreeMap<(u32, Vec<u32>), [Vec<usize>; 2]> = BTreeMap::new();
    for (index, row) in case
        .rows
        .iter()
        .enumerate()
        .filter(|(index, _)| total(*index) > 0)
    {
        let passed = row
            .probes
            .iter()
            .zip(&row.failed)
            .map(|(n, k)| n - k)
            .collect();
        joints.entry((row.vantage, passed)).or_default()[0].push(index);
        joints.entry((row.vantage, row.probes.clone())).or_default()[1].push(index);
    }
    let mut links = Vec::new();
    for [mut before, mut after] in joints.into_values() {
        before.sort_by_key(|row| &case.rows[*row].crosses);
        after.sort_by_key(|row| &case.rows[*row].crosses);
        for (place, to) in after.iter().enumerate().filter(|_| !before.is_empty()) {
            let from = before[place % before.len()];
            if from != *to {
                links.push((from, *to));
            }
        }
    }
    let late: u32 = links.iter().map(|(_, to)| total(*to)).sum();
    let all: u32 = links.iter().map(|(from, _)| total(*from)).sum();
    let failed: u32 = (0..case.rows.len()).map(total).sum();
    let telling = case.windows >= 8 || all * 20 >= failed;
    if telling && late >= 3 && all >= 40 && late * 100 >= all {
        links
    } else {
        Vec::new()
    }
}
