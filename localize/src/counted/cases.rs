//! Counted cases as a problem of the engine.

mod calm;
mod late;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use core::iter;

use crate::counted::score::{CountedCase, CountedComponent, Row};
use crate::engine::model::{
    Cause, Count, EVERY_PATH, Effect, Group, Habit, Meaning, Model, Nature, Outcome, Restless,
    Shelter, Touch, Way, index16, index32,
};
use crate::facts::component::Kind;

use calm::Backgrounds;
pub(crate) use late::{Link, links, worth_asking};

/// Prior odds of a component's fault at most, those of some component of a large mesh, and what they are
/// multiplied by where another one is there.
const FAULT: f64 = 0.08;
const FAULT_SOMEWHERE: f64 = 3.3;
const FURTHER: f64 = 0.6;
/// Prior odds of a storm at a vantage point, where there are storms.
const STORM: f64 = 0.3;
/// Prior odds of a fault of something in which several own networks have a part, and how many make it
/// worth a thought.
const SHARED: f64 = 0.02;
const SHARING: usize = 3;
/// Windows from which a storm, which lasts for few of them, can be told from a fault.
pub(crate) const STORM_WINDOWS: usize = 10;
/// The lowest rate that counts as a fault, and by which factor the lowest background is under it.
const FLOOR: f64 = 0.004;
const CALMEST: f64 = 100.0;
/// Where failures are reported late, the share of them that are.
const SLIP: f64 = 0.05;

/// What is taken for granted in a problem.
#[derive(Clone, Copy)]
pub(crate) struct World<'l> {
    /// The next layers of rows.
    pub(crate) links: &'l [Link],
    /// Failures are reported there at times.
    pub(crate) late: bool,
    /// At times a vantage point loses probes at the first layer that they come to, and nobody is to be
    /// blamed.
    pub(crate) stormy: bool,
}

/// The engine's problem.
pub(crate) struct Problem {
    pub(crate) model: Model,
    /// By cause the places of the components whose fault it is: several where no row tells them apart,
    /// none where it is nobody's.
    pub(crate) members: Vec<Vec<usize>>,
}

/// A case as the engine's problem.
pub(crate) fn problem(case: &CountedCase, world: World<'_>) -> Problem {
    let late = if world.late { world.links } else { &[] };
    let later: BTreeSet<u32> = world.links.iter().map(|link| link.to).collect();
    let places = Places::new(&case.components);
    let backgrounds = Backgrounds::new(&case.baseline, &case.rows);
    let kin = kin(&case.rows, &places);
    let mut model = Model::new(case.windows.max(1), FLOOR, vec![vec![1.0]]);
    model.calmest = FLOOR / CALMEST;
    model.further = libm::log(FURTHER);
    model.in_common = Some(libm::log(SHARED));
    model.noises.clone_from(&backgrounds.noises);
    model.known = backgrounds.known();
    model.reserve(case.rows.len());
    let mut touches: Vec<Vec<Touch>> = vec![Vec::new(); case.components.len()];
    let mut storms: BTreeMap<u32, Vec<Touch>> = BTreeMap::new();
    for ((index, row), kin) in case.rows.iter().enumerate().zip(kin) {
        let own = places.own_network(row);
        let nature = Nature {
            kin,
            ..backgrounds.of(row, own)
        };
        push_row(&mut model, row, nature);
        let cell = index32(index);
        if world.stormy && own && !later.contains(&cell) {
            let storm = storms.entry(row.vantage).or_default();
            storm.push(touch(cell, EVERY_PATH, 0));
        }
        for (component, path, order) in crossed(row) {
            if let Some(component) = places.of(component) {
                touches[component].push(touch(cell, path, order));
            }
        }
    }
    for link in late {
        model.set_slip(link.from, link.to, SLIP);
    }
    let own = touches.iter().zip(&places.own).filter(|(_, own)| **own);
    let shared = shared(own.map(|(touches, _)| touches.as_slice()));
    let groups = groups(
        touches
            .into_iter()
            .enumerate()
            .filter(|(_, t)| !t.is_empty()),
    );
    let mut members: Vec<Vec<usize>> = groups.iter().map(|g| g.1.clone()).collect();
    let usual = backgrounds.restless(None);
    let draft = |(odds, habit, meaning, touches)| Draft {
        odds,
        habit,
        meaning,
        restless: usual,
        touches,
    };
    let storms = storms.into_values();
    let storms = storms.map(|t| draft((STORM, Habit::Storm, Meaning::Nothing, t)));
    let shared = shared.map(|t| draft((SHARED, Habit::Fault, Meaning::Unknown, t)));
    let faults = faults(case, &places, &backgrounds, groups);
    let causes = faults.into_iter().chain(storms).chain(shared);
    for (part, draft) in (0..).zip(causes) {
        model.push_cause(draft.cause(part, late));
    }
    members.resize(model.causes.len(), Vec::new());
    Problem { model, members }
}

/// A cause without its place among all.
struct Draft {
    odds: f64,
    habit: Habit,
    meaning: Meaning,
    restless: Restless,
    touches: Vec<Touch>,
}

impl Draft {
    fn cause(mut self, part: u32, late: &[Link]) -> Cause {
        self.touches.sort_by_key(|t| t.cell);
        if !late.is_empty() {
            add_gates(&mut self.touches, late);
        }
        Cause {
            part,
            phase: 0,
            log_odds: libm::log(self.odds),
            shelter: Shelter::Optional,
            habit: self.habit,
            meaning: self.meaning,
            restless: self.restless,
            touches: self.touches,
            passes: Default::default(),
        }
    }
}

/// The faults of components, each with what it touches and the places of those that share that.
fn faults(
    case: &CountedCase,
    places: &Places,
    backgrounds: &Backgrounds,
    groups: Vec<(Vec<Touch>, Vec<usize>)>,
) -> Vec<Draft> {
    let odds = FAULT.min(FAULT_SOMEWHERE / case.components.len() as f64);
    let fault = |(touches, members): (Vec<Touch>, Vec<usize>)| {
        let own = members.iter().any(|place| places.own[*place]);
        let rows = touches.iter().map(|t| &case.rows[t.cell as usize]);
        // Whatever the order of the rows, and wherever a network is crossed from.
        let vantage = rows.map(|row| row.vantage).min();
        Draft {
            odds: odds * members.len() as f64,
            habit: Habit::Fault,
            meaning: Meaning::Fault,
            restless: backgrounds.restless(vantage.filter(|_| own)),
            touches,
        }
    };
    groups.into_iter().map(fault).collect()
}

/// Places of components by what they touch: together where that is the same.
fn groups(touches: impl Iterator<Item = (usize, Vec<Touch>)>) -> Vec<(Vec<Touch>, Vec<usize>)> {
    let same = |a: &[Touch], b: &[Touch]| {
        let key = |t: &Touch| (t.cell, t.path);
        a.iter().map(key).eq(b.iter().map(key))
    };
    let sketch = |t: &[Touch]| (t.len(), t.first().map(|t| t.cell), t.last().map(|t| t.cell));
    let mut known: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    let mut groups: Vec<(Vec<Touch>, Vec<usize>)> = Vec::new();
    for (place, touches) in touches {
        let alike = known.entry(sketch(&touches)).or_default();
        match alike.iter().find(|g| same(&groups[**g].0, &touches)) {
            Some(group) => groups[*group].1.push(place),
            None => {
                alike.push(groups.len());
                groups.push((touches, vec![place]));
            }
        }
    }
    groups
}

/// What all own networks have in common, which would look as if each of them failed by itself.
fn shared<'t>(networks: impl Iterator<Item = &'t [Touch]>) -> Option<Vec<Touch>> {
    let networks: Vec<&[Touch]> = networks.collect();
    (networks.len() >= SHARING).then(|| networks.concat())
}

/// Where components are in their list, by number.
struct Places {
    /// Empty where every component's number is its place.
    by_id: BTreeMap<u32, usize>,
    /// Whether it is a vantage point's own network, by place.
    own: Vec<bool>,
}

impl Places {
    fn new(components: &[CountedComponent]) -> Self {
        let in_order = (0..).zip(components).all(|(place, c)| c.id == place);
        let ids = components.iter().map(|c| c.id);
        let own = components.iter().map(|c| c.kind == Kind::ClientNetwork);
        let own: Vec<bool> = own.collect();
        Self {
            by_id: if in_order {
                BTreeMap::new()
            } else {
                ids.zip(0..).collect()
            },
            own,
        }
    }

    fn of(&self, id: u32) -> Option<usize> {
        if self.by_id.is_empty() {
            Some(id as usize).filter(|place| *place < self.own.len())
        } else {
            self.by_id.get(&id).copied()
        }
    }

    /// Whether a row crosses a vantage point's own network.
    fn own_network(&self, row: &Row) -> bool {
        row.crosses.iter().flatten().any(|id| self.own(*id))
    }

    fn own(&self, id: u32) -> bool {
        self.of(id).is_some_and(|place| self.own[place])
    }
}

/// For each row a number that those have in common which cross the same but for their own networks.
fn kin(rows: &[Row], places: &Places) -> Vec<u32> {
    let way = |row: &Row| digest(row.crosses.iter().flatten().filter(|id| !places.own(**id)));
    let mut digests: Vec<(u64, u32)> = rows.iter().map(way).zip(0..).collect();
    digests.sort_unstable();
    let mut kin = vec![0; rows.len()];
    for (number, alike) in (0..).zip(digests.chunk_by(|a, b| a.0 == b.0)) {
        alike
            .iter()
            .for_each(|(_, row)| kin[*row as usize] = number);
    }
    kin
}

/// FNV-1a over component numbers; rows that share it by accident would only be doubted together.
fn digest<'i>(ids: impl Iterator<Item = &'i u32>) -> u64 {
    ids.flat_map(|id| id.to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

/// What fails probes of a row keeps them from the next one, but for those reported there. What fails
/// them there, too, does so at nearly the same rate with and without them.
fn add_gates(touches: &mut Vec<Touch>, late: &[Link]) {
    let touched: BTreeSet<u32> = touches.iter().map(|t| t.cell).collect();
    let mut gates = Vec::new();
    for touch in touches.iter().filter(|t| t.path == EVERY_PATH) {
        let from = late.partition_point(|link| link.from < touch.cell);
        let links = late[from..]
            .iter()
            .take_while(|link| link.from == touch.cell)
            .filter(|link| !touched.contains(&link.to));
        gates.extend(links.map(|link| Touch {
            cell: link.to,
            effect: Effect::Gate,
            ..*touch
        }));
    }
    touches.append(&mut gates);
    touches.sort_by_key(|t| t.cell);
}

fn touch(cell: u32, path: u16, order: u16) -> Touch {
    Touch {
        cell,
        path,
        order,
        group: Group::Front,
        effect: Effect::Fail(0),
    }
}

/// Each component of a row with the path that crosses it; once where every path does.
fn crossed(row: &Row) -> impl Iterator<Item = (u32, u16, u16)> + '_ {
    let shared = |component: &u32| row.crosses.iter().all(|path| path.contains(component));
    row.crosses
        .iter()
        .enumerate()
        .flat_map(move |(path, components)| {
            components.iter().enumerate().filter_map(move |(order, c)| {
                let first = components[..order].iter().all(|before| before != c);
                let order = index16(order);
                match shared(c) {
                    _ if !first => None,
                    true => (path == 0).then_some((*c, EVERY_PATH, order)),
                    false => Some((*c, index16(path), order)),
                }
            })
        })
}

fn push_row(model: &mut Model, row: &Row, nature: Nature) {
    let paths = row.crosses.len().max(1);
    let way = Way {
        weight: 1.0 / paths as f64,
        server: None,
    };
    model.push_cell(nature, iter::repeat_n(way, paths));
    let most = model.windows;
    let windows = || row.probes.iter().zip(&row.failed).take(most);
    let passed = (0..)
        .zip(windows())
        .map(|(window, (probes, failed))| Count {
            window,
            count: probes.saturating_sub(*failed),
        });
    model.push_outcome(Outcome::possible(None, None, 0.0), passed);
    if row.failed.iter().any(|failed| *failed > 0) {
        let failed = (0..)
            .zip(windows())
            .map(|(window, (probes, failed))| Count {
                window,
                count: *failed.min(probes),
            });
        model.push_outcome(Outcome::possible(Some(0), None, 1.0), failed);
    }
}
