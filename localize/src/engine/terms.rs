//! What a cause does to the logarithm of the likelihood, gathered into classes of outcomes that depend
//! on its rate in the same way.

use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::iter;
use core::ops::Range;

use super::company::{Acts, Company, Known, NONE, States};
use super::fit::{Fault, LEVELS};
use super::mixture::{Added, Mixture, More, Room, TINY};
use super::model::{Cell, Count, Effect, Group, Model, Numbers, Outcome, Touch, index32};

/// Rates at which it is tried whether a fit is worth its cost, and what lies between them, in nats.
const BOUNDS: [f64; 6] = [0.01, 0.04, 0.12, 0.3, 0.6, 0.97];
const BOUND_SLACK: f64 = 1.0;

/// Slopes that are smaller make no difference.
const FLAT: f64 = 1e-12;

/// By how much a cause at a rate raises the logarithm of what was seen: for each class of outcomes, all
/// of which grow by 1 + rate * slope, how many there were in each window.
#[derive(Clone)]
pub(super) struct Terms {
    pub(super) windows: usize,
    classes: Vec<(Group, f64)>,
    counts: Vec<f64>,
    /// Gain of being out of rotation, by window.
    pub(super) masked: Vec<f64>,
}

impl Terms {
    fn new(windows: usize) -> Self {
        Self {
            windows,
            classes: Vec::new(),
            counts: Vec::new(),
            masked: vec![0.0; windows],
        }
    }

    fn class(&mut self, group: Group, slope: f64) -> usize {
        let same = |(g, s): &(Group, f64)| *g == group && (s - slope).abs() <= 1e-9 * slope.abs();
        self.classes.iter().position(same).unwrap_or_else(|| {
            self.classes.push((group, slope));
            self.counts.resize(self.classes.len() * self.windows, 0.0);
            self.classes.len() - 1
        })
    }

    /// The counts of a class by window.
    fn counts_of(&self, class: usize) -> &[f64] {
        &self.counts[class * self.windows..(class + 1) * self.windows]
    }

    /// What can be gained at most, roughly: each window at its own best rate, or off.
    pub(super) fn bound(&self) -> f64 {
        if self.only_loses() {
            return 0.0;
        }
        let mut best = self.masked.clone();
        let mut gains = vec![0.0; self.windows];
        let classes = self.classes();
        for theta in BOUNDS {
            gains.fill(0.0);
            for group in Group::ALL {
                classes.sum(group, theta, &mut gains);
            }
            for (best, gain) in best.iter_mut().zip(&gains) {
                *best = best.max(*gain);
            }
        }
        best.iter().map(|gain| gain.max(0.0)).sum::<f64>() + BOUND_SLACK
    }

    /// Whether no rate gains anything.
    fn only_loses(&self) -> bool {
        self.classes.iter().all(|(_, slope)| *slope <= 0.0)
            && self.counts.iter().all(|count| *count >= 0.0)
            && self.masked.iter().all(|gain| *gain <= 0.0)
    }

    /// Whether the rate of one of these groups makes a difference.
    pub(super) fn seen(&self, groups: [Group; 2]) -> bool {
        self.classes.iter().any(|(group, _)| groups.contains(group))
    }

    /// Whether it makes a difference that a proxy stands in front, which can take it out of rotation.
    pub(super) fn seen_behind(&self) -> bool {
        self.seen(Group::BEHIND) || self.is_missed()
    }

    /// Whether it shows that clients are kept away: by whom else they meet.
    pub(super) fn is_missed(&self) -> bool {
        self.masked.iter().any(|gain| *gain != 0.0)
    }

    /// The classes that are not empty.
    pub(super) fn classes(&self) -> Classes<'_> {
        let of = |group: Group| {
            let classes = self.classes.iter().enumerate();
            let of_group = classes.filter(|(_, c)| c.0 == group);
            of_group
                .map(|(class, (_, slope))| (*slope, self.counts_of(class)))
                .filter(|(_, counts)| counts.iter().any(|count| *count != 0.0))
                .collect()
        };
        Classes(Group::ALL.map(of))
    }

    /// The gain of a fault at its rates, on as far as it was.
    pub(super) fn at_levels(&self, fault: &Fault) -> f64 {
        let mut gain = 0.0;
        let states = (1..=LEVELS).flat_map(|level| [(level, false), (level, true)]);
        for (level, masked) in states {
            let share = f64::from(level) / f64::from(LEVELS);
            let sum = |values: &[f64]| -> f64 {
                let windows = values.iter().enumerate();
                let state = |window| (fault.level(window), fault.masked(window));
                let here = windows.filter(|(window, _)| state(*window) == (level, masked));
                here.map(|(_, value)| value).sum()
            };
            for (class, (group, slope)) in self.classes.iter().enumerate() {
                if group.is_behind() && masked {
                    continue;
                }
                let count = sum(self.counts_of(class));
                let theta = fault.theta[*group as usize] * share;
                gain += count * growth(theta, *slope);
            }
            if masked {
                gain += sum(&self.masked);
            }
        }
        gain
    }
}

impl Terms {
    /// The classes of what an outcome gains.
    fn sorted(&mut self, gains: &Gains) -> Slopes {
        let mut slopes = Slopes {
            classes: [NO_CLASS; 2 * Group::COUNT],
            masked: gains.masked,
        };
        for (group, slope) in Group::ALL.into_iter().zip(gains.hard) {
            let Some((share, whole)) = slope else {
                continue;
            };
            for (place, slope) in [share, whole].into_iter().enumerate() {
                if slope.abs() > FLAT {
                    let class = index32(self.class(group, slope));
                    slopes.classes[2 * group as usize + place] = class;
                }
            }
        }
        slopes
    }

    /// Adds what an outcome gains, as often as it was seen, so many times.
    fn add(&mut self, counts: &[Count], slopes: &Slopes, times: f64) {
        for (class, sign) in slopes.classes() {
            let sums = &mut self.counts[class * self.windows..(class + 1) * self.windows];
            for count in counts {
                sums[usize::from(count.window)] += f64::from(count.count) * times * sign;
            }
        }
        if slopes.masked != 0.0 {
            for count in counts {
                self.masked[usize::from(count.window)] +=
                    f64::from(count.count) * times * slopes.masked;
            }
        }
    }
}

/// What one outcome gains by a cause: by group what its share and all shares grow by at the end of the
/// rate, where the cause is of that group, and what it gains when the cause is out of rotation.
#[derive(Default)]
struct Gains {
    hard: [Option<(f64, f64)>; Group::COUNT],
    masked: f64,
}

/// Cells that look alike while others act in one way, with a cause beside them.
#[derive(Default)]
struct Scene {
    ready: bool,
    /// What outcomes seen there gain.
    known: Vec<(Seen, Slopes)>,
    room: Room,
    /// The cause at the end of its rate, by group; only of the groups that it is of.
    hard: [Added; Group::COUNT],
    masked: Added,
    groups: [bool; Group::COUNT],
}

impl Scene {
    fn set(&mut self, model: &Model, cell: &Cell, mine: &[Touch], (acting, len): Acts<'_>) {
        self.ready = true;
        self.known.clear();
        self.room.fill(model, cell, &acting[..len]);
        let mixture = Mixture::over(model, cell, &self.room);
        for group in Group::ALL {
            let place = group as usize;
            self.groups[place] = mine.iter().any(|t| t.group == group);
            if self.groups[place] {
                mixture.add(More::Hard(mine, group), &mut self.hard[place]);
            }
        }
        if self.is_behind() {
            mixture.add(More::Masked(mine), &mut self.masked);
        }
    }

    /// Whether a proxy stands before the cause somewhere.
    fn is_behind(&self) -> bool {
        let mut behind = Group::BEHIND.into_iter();
        behind.any(|group| self.groups[group as usize])
    }

    /// What an outcome gains by the cause.
    fn gains(&self, model: &Model, cell: &Cell, outcome: &Outcome) -> Gains {
        let mixture = Mixture::over(model, cell, &self.room);
        let known = mixture.shares(outcome);
        let (share, whole) = known.with_chance;
        let mut gains = Gains::default();
        for group in Group::ALL.into_iter().filter(|g| self.groups[*g as usize]) {
            let added = &self.hard[group as usize];
            let (hard, hard_whole) = mixture.shares_with(outcome, &known, added);
            gains.hard[group as usize] = Some((hard / share - 1.0, hard_whole / whole - 1.0));
        }
        if self.is_behind() {
            let (masked, masked_whole) = mixture.shares_with(outcome, &known, &self.masked);
            gains.masked = libm::log(masked / masked_whole) - libm::log(share / whole);
        }
        gains
    }
}

/// Classes of outcomes by group: the slope of each with its counts by window.
pub(super) struct Classes<'a>([Vec<(f64, &'a [f64])>; Group::COUNT]);

impl Classes<'_> {
    pub(super) fn of(&self, group: Group) -> &[(f64, &[f64])] {
        &self.0[group as usize]
    }

    /// Adds the gains of a group at a rate to those of each window.
    pub(super) fn sum(&self, group: Group, theta: f64, gains: &mut [f64]) {
        for (slope, counts) in self.of(group) {
            let growth = growth(theta, *slope);
            for (gain, count) in gains.iter_mut().zip(*counts) {
                *gain += count * growth;
            }
        }
    }
}

/// Logarithm of what outcomes grow by at a rate.
pub(super) fn growth(theta: f64, slope: f64) -> f64 {
    libm::log((1.0 + theta * slope).max(TINY))
}

/// What failures gain at the best of all rates, each by 1 + rate * slope, when others passed.
fn best_gain(failed: f64, passed: f64, slope: f64) -> f64 {
    let best = (failed * slope - passed) / (slope * (failed + passed));
    if best <= 0.0 {
        return 0.0;
    }
    failed * libm::log1p(best * slope) + passed * libm::log((1.0 - best).max(TINY))
}

/// The classes of what one outcome gains while others act in a certain way: by group those of numerator
/// and denominator, which count with these signs.
#[derive(Clone, Copy)]
struct Slopes {
    classes: [u32; 2 * Group::COUNT],
    masked: f64,
}

const SIGNS: [f64; 2] = [1.0, -1.0];
const NO_CLASS: u32 = u32::MAX;

impl Slopes {
    fn classes(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        let pairs = self.classes.iter().zip(SIGNS.into_iter().cycle());
        let made = pairs.filter(|(class, _)| **class != NO_CLASS);
        made.map(|(class, sign)| (*class as usize, sign))
    }
}

/// What an outcome's gain depends on in a cell.
type Seen = (Option<u8>, Option<u16>, u64, Option<(u16, u64)>);

fn seen(outcome: &Outcome) -> Seen {
    let kept = outcome.kept.map(|kept| (kept.server, kept.share.to_bits()));
    let chance = outcome.chance.to_bits();
    (outcome.symptom, outcome.server, chance, kept)
}

/// A cell that a cause touches.
pub(super) struct Spot {
    pub(super) cell: u32,
    touches: Range<usize>,
    /// The number of what the cause does there.
    shape: u32,
}

/// What a cause does, by informative cell.
#[derive(Clone, Copy)]
pub(super) struct Trace<'a> {
    touches: &'a [Touch],
    spots: &'a [Spot],
}

impl<'a> Trace<'a> {
    pub(super) fn new(model: &'a Model, cause: usize, spots: &'a [Spot]) -> Self {
        Self {
            touches: &model.causes[cause].touches,
            spots,
        }
    }

    fn in_spot(self, spot: &Spot) -> &'a [Touch] {
        &self.touches[spot.touches.clone()]
    }

    /// What it does in a cell, where those before are passed.
    fn at(&mut self, cell: u32) -> Option<&'a Spot> {
        let passed = self.spots.iter().take_while(|s| s.cell < cell).count();
        self.spots = &self.spots[passed..];
        self.spots.first().filter(|spot| spot.cell == cell)
    }
}

/// Which cells, and which of their touches, are alike: what is worked out for one of them is so for all.
pub(super) struct Likeness {
    /// By cell; of no meaning for those that are not informative.
    cells: Vec<u32>,
    shapes: RefCell<Numbers<Vec<[u32; 3]>>>,
}

impl Likeness {
    pub(super) fn new(model: &Model, informative: &[bool]) -> Self {
        let mut numbers = Numbers::default();
        let cells = model.cells.iter().zip(informative);
        let cells = cells.map(|(cell, informative)| {
            let mut likeness = Vec::new();
            if *informative {
                let numbers = [cell.background, cell.spread, cell.slip, cell.late];
                likeness.extend(numbers.map(f64::to_bits));
                for way in model.ways(cell) {
                    likeness.push(way.weight.to_bits());
                    likeness.push(way.server.map_or(u64::MAX, u64::from));
                }
            }
            numbers.number(likeness)
        });
        Self {
            cells: cells.collect(),
            shapes: RefCell::default(),
        }
    }

    /// The informative cells that a cause touches.
    pub(super) fn spots(&self, touches: &[Touch], informative: &[bool]) -> Vec<Spot> {
        let mut shapes = self.shapes.borrow_mut();
        let mut spots = Vec::new();
        let mut from = 0;
        for mine in touches.chunk_by(|a, b| a.cell == b.cell) {
            let touches = from..from + mine.len();
            from = touches.end;
            let cell = mine[0].cell;
            if informative[cell as usize] {
                let shape = mine.iter().map(|touch| {
                    let effect = match touch.effect {
                        Effect::Fail(signature) => u32::from(signature) + 1,
                        Effect::Gate => 0,
                    };
                    let path = u32::from(touch.path) << 16 | u32::from(touch.order);
                    [path, touch.group as u32, effect]
                });
                spots.push(Spot {
                    cell,
                    touches,
                    shape: shapes.number(shape.collect()),
                });
            }
        }
        spots
    }
}

/// The terms of a cause while nothing else is at fault, and what they were made of.
pub(super) struct TermsAlone {
    pub(super) terms: Terms,
    /// By informative cell, and there by outcome whose terms depend on who else is at fault.
    made_of: Vec<Vec<Slopes>>,
}

/// A cause in a cell beside the faults that touch it as well.
struct Encounter<'a> {
    model: &'a Model,
    cell: &'a Cell,
    mine: &'a [Touch],
    company: &'a Company<'a>,
    others: &'a [Fault],
    states: &'a States,
}

/// Room to work in: encounters by what they depend on, and there by state of those who act.
#[derive(Default)]
pub(super) struct Scenes {
    /// Those of one cause, then what is left of others.
    scenes: Vec<(Vec<u32>, Vec<Scene>)>,
    used: usize,
    key: Vec<u32>,
    slopes: Vec<Option<Slopes>>,
}

impl Scenes {
    /// The scenes of the encounters with this key.
    fn place(&mut self, states: usize) -> usize {
        let mut known = self.scenes[..self.used].iter();
        known
            .position(|(key, _)| *key == self.key)
            .unwrap_or_else(|| {
                if self.used == self.scenes.len() {
                    self.scenes.push(Default::default());
                }
                let (key, scenes) = &mut self.scenes[self.used];
                key.clone_from(&self.key);
                scenes.iter_mut().for_each(|scene| scene.ready = false);
                scenes.resize_with(states.max(scenes.len()), Scene::default);
                self.used += 1;
                self.used - 1
            })
    }
}

impl Encounter<'_> {
    /// Adds what the cell's outcomes gain by the cause, and notes for each what that was last.
    fn add_to(&self, terms: &mut Terms, room: &mut Scenes, mut note: impl FnMut(Slopes)) {
        let states = self.states.len();
        let place = room.place(states);
        for outcome in self.model.dependent(self.cell) {
            let counts = self.model.counts(outcome);
            room.slopes.clear();
            room.slopes.resize(states, None);
            // All at once where nothing changes, else window by window.
            for counts in counts.chunks(if states == 1 { counts.len() } else { 1 }) {
                let window = usize::from(counts[0].window);
                let state = self.states.of(window);
                let scene = &mut room.scenes[place].1[state];
                let slopes = *room.slopes[state]
                    .get_or_insert_with(|| self.slopes(outcome, window, scene, terms));
                terms.add(counts, &slopes, 1.0);
                note(slopes);
            }
        }
    }

    fn slopes(
        &self,
        outcome: &Outcome,
        window: usize,
        scene: &mut Scene,
        terms: &mut Terms,
    ) -> Slopes {
        if !scene.ready {
            let acting = self.company.acting(self.others, window);
            scene.set(self.model, self.cell, self.mine, acting);
        }
        let seen = seen(outcome);
        if let Some((_, slopes)) = scene.known.iter().find(|(known, _)| *known == seen) {
            return *slopes;
        }
        let slopes = terms.sorted(&scene.gains(self.model, self.cell, outcome));
        scene.known.push((seen, slopes));
        slopes
    }
}

impl Model {
    /// The terms of a cause while nothing else is at fault.
    pub(super) fn terms(
        &self,
        cause: usize,
        trace: Trace<'_>,
        likeness: &Likeness,
        room: &mut Scenes,
    ) -> TermsAlone {
        let mut terms = Terms::new(self.windows);
        for (group, passes) in Group::ALL.into_iter().zip(&self.causes[cause].passes) {
            if !passes.is_empty() {
                terms.classes.push((group, -1.0));
                terms.counts.extend_from_slice(passes);
            }
        }
        room.used = 0;
        let mut known = Known::default();
        let states = known.states(&NONE, &[], self.windows);
        let made_of = trace.spots.iter().map(|spot| {
            room.key.clear();
            room.key
                .extend([likeness.cells[spot.cell as usize], spot.shape]);
            let encounter = Encounter {
                model: self,
                cell: &self.cells[spot.cell as usize],
                mine: trace.in_spot(spot),
                company: &NONE,
                others: &[],
                states,
            };
            let mut slopes = Vec::new();
            encounter.add_to(&mut terms, room, |outcome| slopes.push(outcome));
            slopes
        });
        TermsAlone {
            made_of: made_of.collect(),
            terms,
        }
    }

    /// The terms of a cause beside faults, from those alone: only cells that both touch differ. `traces`
    /// are those of the cause, and of the faults.
    pub(super) fn terms_beside(
        &self,
        alone: &TermsAlone,
        (mine, theirs): (Trace<'_>, &mut [Trace<'_>]),
        others: &[Fault],
        likeness: &Likeness,
        room: &mut Scenes,
    ) -> Terms {
        let mut terms = alone.terms.clone();
        let mut known = Known::default();
        room.used = 0;
        for (spot, made_of) in mine.spots.iter().zip(&alone.made_of) {
            let mut company = NONE;
            room.key.clear();
            room.key
                .extend([likeness.cells[spot.cell as usize], spot.shape]);
            for (place, trace) in theirs.iter_mut().enumerate() {
                if let Some(there) = trace.at(spot.cell)
                    && company.join(place, trace.in_spot(there))
                {
                    room.key.extend([index32(place), there.shape]);
                }
            }
            if company.is_empty() {
                continue;
            }
            let cell = &self.cells[spot.cell as usize];
            for (outcome, slopes) in self.dependent(cell).zip(made_of) {
                terms.add(self.counts(outcome), slopes, -1.0);
            }
            let encounter = Encounter {
                model: self,
                cell,
                mine: mine.in_spot(spot),
                company: &company,
                others,
                states: known.states(&company, others, self.windows),
            };
            encounter.add_to(&mut terms, room, |_| ());
        }
        terms
    }

    /// Outcomes whose terms depend on who else is at fault.
    fn dependent<'a>(&'a self, cell: &'a Cell) -> impl Iterator<Item = &'a Outcome> {
        let plain = self.plain(cell);
        let outcomes = self.outcomes(cell).iter();
        outcomes.filter(move |outcome| !plain || outcome.symptom.is_some())
    }

    /// What a cause can gain at most while nothing else is at fault, in nats: each window at its own best
    /// rate, and each failure as much as the least expected one. Without bound where it does more than
    /// fail probes.
    pub(super) fn ceiling(&self, cause: usize, failing: &[bool]) -> f64 {
        let bent = self.bent(cause);
        let cause = &self.causes[cause];
        if bent || cause.touches.iter().any(|t| t.group != Group::Front) {
            return f64::INFINITY;
        }
        let mut failed = vec![0.0; self.windows];
        let mut least = 1.0_f64;
        let touched = cause.touches.chunk_by(|a, b| a.cell == b.cell);
        for cell in touched.map(|mine| mine[0].cell as usize) {
            if !failing[cell] {
                continue;
            }
            let cell = &self.cells[cell];
            for outcome in self.outcomes(cell).iter().filter(|o| o.symptom.is_some()) {
                least = least.min(cell.background * outcome.chance);
                for count in self.counts(outcome) {
                    failed[usize::from(count.window)] += f64::from(count.count);
                }
            }
        }
        let most = 1.0 / least.max(TINY);
        let passes = cause.passes[Group::Front as usize].iter().copied();
        let windows = failed.iter().zip(passes.chain(iter::repeat(0.0)));
        windows
            .filter(|(failed, _)| **failed > 0.0)
            .map(|(failed, passed)| best_gain(*failed, passed, most))
            .sum()
    }

    /// Whether a cause keeps probes from cells in which it fails them as well: its gains are then no
    /// function of one rate at a time, and a fit is an approximation.
    pub(super) fn bent(&self, cause: usize) -> bool {
        let mut touches = self.causes[cause].touches.iter();
        touches.any(|t| t.effect == Effect::Gate)
    }
}
