//! What the inference works on: counted outcomes of cells, and hypotheses that touch them.
//!
//! A cell is one arm at one layer. Its probes take one of a few paths at random; along a path the first
//! faulty part decides what is seen (noisy-OR). Everything is in flat arrays with 32-bit indices, so
//! that cost and memory follow the number of touched cells.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

use super::common::Common;

/// Every path of a cell.
pub(crate) const EVERY_PATH: u16 = u16::MAX;

/// Which of a hypothesis's rates governs a touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Group {
    /// The component itself answers.
    Front,
    /// What follows the handshake, when packets are lost.
    Data,
    /// A proxy stands in between.
    Behind,
    /// What follows the handshake, when packets are lost behind a balancer that forwards them.
    BehindData,
}

impl Group {
    /// How many groups there are.
    pub(crate) const COUNT: usize = 4;
    /// Every group.
    pub(crate) const ALL: [Group; Self::COUNT] =
        [Group::Front, Group::Data, Group::Behind, Group::BehindData];
    /// Those that a proxy can keep its clients away from.
    pub(crate) const BEHIND: [Group; 2] = [Group::Behind, Group::BehindData];
    /// Those where nothing stands in between.
    pub(crate) const STRAIGHT: [Group; 2] = [Group::Front, Group::Data];
    /// Those of packets that need not all arrive.
    pub(crate) const DATA: [Group; 2] = [Group::Data, Group::BehindData];

    /// The rates where a proxy keeps its clients away.
    pub(crate) fn kept_away(mut rates: [f64; Self::COUNT]) -> [f64; Self::COUNT] {
        for group in Self::BEHIND {
            rates[group as usize] = 0.0;
        }
        rates
    }

    /// Whether a proxy can keep its clients away.
    pub(crate) fn is_behind(self) -> bool {
        Self::BEHIND.contains(&self)
    }
}

/// What a hypothesis does to a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It makes probes fail, with the symptoms of this signature.
    Fail(u16),
    /// It makes them fail before they come to this cell.
    Gate,
}

/// One path of one cell that a hypothesis touches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Touch {
    pub(crate) cell: u32,
    /// The path's place in its cell, or [`EVERY_PATH`].
    pub(crate) path: u16,
    /// How far along the path; what comes first decides.
    pub(crate) order: u16,
    pub(crate) group: Group,
    pub(crate) effect: Effect,
}

/// How a proxy in front may bear on the rate that its clients meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shelter {
    /// A server that it chooses: it can be out of rotation, and retries can spare some requests, but
    /// what it serves in a client's sight has come to no harm only by chance.
    Chosen,
    /// The same where single packets are lost, of which a request has several.
    ChosenLossy,
    /// A way from a server that it chooses: it can do without, and whoever's checks come by it takes the server out
    /// of rotation.
    ChosenWay,
    /// Something that it can do without: a cache answers, or another address is used.
    Optional,
    /// Something that it cannot do without for longer than its cache lasts.
    Cached,
}

/// When a cause acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Always, or for a stretch.
    Lasting,
    /// Always, for a stretch, or now and then.
    Fault,
    /// In few windows: a passing disturbance that nobody is to be blamed for.
    Storm,
}

/// What it means that a cause is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// A fault that a verdict can name.
    Fault,
    /// Nothing that anybody is to be blamed for.
    Nothing,
    /// Something is wrong that no component explains.
    Unknown,
}

/// Something that would explain failures.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    /// What it is a failure of.
    pub(crate) part: u32,
    /// In which phase of what the part does: a set of faults has at most one cause of each part in each.
    pub(crate) phase: u8,
    /// Logarithm of its prior odds.
    pub(crate) log_odds: f64,
    pub(crate) shelter: Shelter,
    pub(crate) habit: Habit,
    pub(crate) meaning: Meaning,
    /// How its component may fail probes while it is well.
    pub(crate) restless: Restless,
    /// Sorted by cell.
    pub(crate) touches: Vec<Touch>,
    /// By group, and there by window, the successes in plain cells that it touches: they count the
    /// same whatever else is at fault. Empty where there is none.
    pub(crate) passes: [Vec<f64>; Group::COUNT],
}

/// A path that a cell's probes may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    /// Probability of this path while nothing is at fault.
    pub(crate) weight: f64,
    /// Who serves on it.
    pub(crate) server: Option<u16>,
}

/// Whom a proxy had chosen for its client the last time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Kept {
    pub(crate) server: u16,
    /// How probable it is that it does not choose anew.
    pub(crate) share: f64,
}

/// An outcome of a cell's probes, and how often it was seen.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// The symptom's place in the signatures; `None` for success.
    pub(crate) symptom: Option<u8>,
    /// Who served, where the answer told.
    pub(crate) server: Option<u16>,
    /// The share of the background that shows as this outcome.
    pub(crate) chance: f64,
    /// Whom the proxy had chosen just before, where it may not have chosen anew.
    pub(crate) kept: Option<Kept>,
    /// How often it was seen in all.
    pub(crate) total: f64,
    counts: Range<u32>,
}

impl Outcome {
    /// An outcome that may be seen, whether it was or not.
    pub(crate) fn possible(symptom: Option<u8>, server: Option<u16>, chance: f64) -> Self {
        Self {
            symptom,
            server,
            chance,
            kept: None,
            total: 0.0,
            counts: 0..0,
        }
    }

    /// The same, of a proxy that keeps its clients.
    pub(crate) fn keeping(self, kept: Option<Kept>) -> Self {
        Self { kept, ..self }
    }
}

/// One arm at one layer.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    /// Rate at which probes fail here by chance.
    pub(crate) background: f64,
    /// What makes the background: the noise of this number so many times, and the common one.
    pub(crate) noise: u32,
    pub(crate) own: f64,
    pub(crate) common: f64,
    /// What the chances of all symptoms add up to.
    pub(crate) spread: f64,
    /// How many symptoms can be seen here.
    pub(crate) kinds: f64,
    /// Cells of one number go the same way, but from different vantage points.
    pub(crate) kin: u32,
    /// What a proxy shows that has nobody left to choose, as a signature; `None` where nothing is known of it.
    pub(crate) forsaken: Option<u16>,
    /// Probability that what fails one layer before is reported here.
    pub(crate) slip: f64,
    /// Probability that what fails here is reported one layer later.
    pub(crate) late: f64,
    /// Probes that came here, and those of them that failed here.
    pub(crate) trials: f64,
    pub(crate) failed: f64,
    ways: Range<u32>,
    outcomes: Range<u32>,
}

/// What a cell is like, and what happens in it by chance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nature {
    /// What fails probes by chance: the noise of this number so many times, and so many times the
    /// common one, which has the number 0.
    pub(crate) noise: u32,
    pub(crate) own: f64,
    pub(crate) common: f64,
    /// What the chances of all symptoms add up to.
    pub(crate) spread: f64,
    /// How many symptoms can be seen.
    pub(crate) kinds: f64,
    /// Cells of one number go the same way, but from different vantage points.
    pub(crate) kin: u32,
    /// What a proxy shows that has nobody left to choose, as a signature; `None` where nothing is known of it.
    pub(crate) forsaken: Option<u16>,
}

/// A count in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) window: u16,
    pub(crate) count: u32,
}

/// How a component that is well may fail probes all the same: rates as shares of the floor of faults, with
/// the logarithms of their prior odds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Restless(pub(crate) [(f64, f64); Self::PLACES]);

impl Restless {
    /// Rates that are told apart.
    const PLACES: usize = 4;

    /// Even over the logarithm of the rate between the lowest and the highest, with the odds of them all.
    pub(crate) fn even(odds: f64, least: f64, most: f64) -> Self {
        let each = libm::log(odds / Self::PLACES as f64);
        let place = |i: usize| {
            let at = (i as f64 + 0.5) / Self::PLACES as f64;
            (least * libm::pow(most / least, at), each)
        };
        Self(core::array::from_fn(place))
    }

    /// The same, each rate weighed by a logarithm.
    pub(crate) fn weighed(mut self, weight: impl Fn(f64) -> f64) -> Self {
        for (rate, log_odds) in &mut self.0 {
            *log_odds += weight(*rate);
        }
        self
    }
}

impl Default for Restless {
    fn default() -> Self {
        Self::even(0.15, 0.03, 0.4)
    }
}

/// The lowest noise is by this factor under the lowest rate of a fault, unless more is known.
const CALMEST: f64 = 30.0;

/// The whole problem.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    /// How many windows the counts are split into.
    pub(crate) windows: usize,
    /// The lowest rate that counts as a fault.
    pub(crate) floor: f64,
    /// No noise is lower.
    pub(crate) calmest: f64,
    /// Logarithm of what the prior odds of a fault are multiplied by where another one is there.
    pub(crate) further: f64,
    /// Logarithm of the prior odds of something in common that fails what seems to fail at once.
    pub(crate) in_common: Option<f64>,
    /// Such causes, among the others.
    pub(crate) common: Vec<Common>,
    /// Rates at which probes fail by chance, by number.
    pub(crate) noises: Vec<f64>,
    /// Noises whose rates are known from elsewhere, and not learnt from the cells; by number.
    pub(crate) known: Vec<bool>,
    pub(crate) cells: Vec<Cell>,
    pub(crate) causes: Vec<Cause>,
    pub(crate) signatures: Vec<Vec<f64>>,
    ways: Vec<Way>,
    outcomes: Vec<Outcome>,
    counts: Vec<Count>,
}

/// A cause in one cell while it acts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acting<'a> {
    pub(crate) touches: &'a [Touch],
    pub(crate) theta: [f64; Group::COUNT],
    /// The proxy in front keeps its clients away from it.
    pub(crate) masked: bool,
}

impl Model {
    /// A problem without cells.
    pub(crate) fn new(windows: usize, floor: f64, signatures: Vec<Vec<f64>>) -> Self {
        Self {
            windows,
            floor,
            calmest: floor / CALMEST,
            signatures,
            ..Self::default()
        }
    }

    /// Makes room for so many cells with a success and sometimes a failure.
    pub(crate) fn reserve(&mut self, cells: usize) {
        self.cells.reserve(cells);
        self.ways.reserve(cells);
        self.outcomes.reserve(cells);
        self.counts.reserve(cells * self.windows);
    }

    /// The rate at which probes fail by chance.
    pub(crate) fn background(&self, noise: u32, own: f64, common: f64) -> f64 {
        (own * self.noises[noise as usize] + common * self.noises[0]).min(0.5)
    }

    /// Whether a noise's rate is known from elsewhere.
    pub(super) fn knows(&self, noise: usize) -> bool {
        self.known.get(noise).copied().unwrap_or(false)
    }

    /// Adds a cell. Outcomes without counts are left out.
    pub(crate) fn push_cell(&mut self, nature: Nature, ways: impl IntoIterator<Item = Way>) {
        let from = index32(self.ways.len());
        self.ways.extend(ways);
        let outcomes = index32(self.outcomes.len());
        self.cells.push(Cell {
            background: self.background(nature.noise, nature.own, nature.common),
            noise: nature.noise,
            own: nature.own,
            common: nature.common,
            spread: nature.spread,
            kinds: nature.kinds,
            kin: nature.kin,
            forsaken: nature.forsaken,
            slip: 0.0,
            late: 0.0,
            trials: 0.0,
            failed: 0.0,
            ways: from..index32(self.ways.len()),
            outcomes: outcomes..outcomes,
        });
    }

    /// Adds an outcome to the cell added last, so often by window.
    pub(crate) fn push_outcome(&mut self, outcome: Outcome, counts: impl Iterator<Item = Count>) {
        let from = index32(self.counts.len());
        let mut total: u64 = 0;
        for count in counts.filter(|c| c.count > 0) {
            total += u64::from(count.count);
            self.counts.push(count);
        }
        let to = index32(self.counts.len());
        let total = total as f64;
        if let Some(cell) = self.cells.last_mut().filter(|_| to > from) {
            cell.trials += total;
            if outcome.symptom.is_some() {
                cell.failed += total;
            }
            self.outcomes.push(Outcome {
                total,
                counts: from..to,
                ..outcome
            });
            cell.outcomes.end += 1;
        }
    }

    /// Lets failures of one cell be reported in that of the next layer, with this probability.
    pub(crate) fn set_slip(&mut self, from: u32, to: u32, slip: f64) {
        self.cells[from as usize].late = slip;
        self.cells[to as usize].slip = slip;
    }

    /// Adds a cause; the cells that it touches must be there.
    pub(crate) fn push_cause(&mut self, mut cause: Cause) {
        for touch in &cause.touches {
            let cell = &self.cells[touch.cell as usize];
            if !self.plain(cell) || touch.effect == Effect::Gate {
                continue;
            }
            let passes = &mut cause.passes[touch.group as usize];
            passes.resize(self.windows, 0.0);
            for outcome in self.outcomes(cell).iter().filter(|o| o.symptom.is_none()) {
                let counts = self.counts(outcome);
                if counts.len() == passes.len() {
                    // One for each window.
                    let pairs = passes.iter_mut().zip(counts);
                    pairs.for_each(|(sum, c)| *sum += f64::from(c.count));
                } else {
                    for count in counts {
                        passes[usize::from(count.window)] += f64::from(count.count);
                    }
                }
            }
        }
        self.causes.push(cause);
    }

    /// How many causes stand for one thing; those that stand for several come after them.
    pub(crate) fn components(&self) -> usize {
        self.causes.len() - self.common.len()
    }

    /// The paths of a cell.
    pub(crate) fn ways(&self, cell: &Cell) -> &[Way] {
        &self.ways[cell.ways.start as usize..cell.ways.end as usize]
    }

    /// The outcomes of a cell.
    pub(crate) fn outcomes(&self, cell: &Cell) -> &[Outcome] {
        &self.outcomes[cell.outcomes.start as usize..cell.outcomes.end as usize]
    }

    /// The counts of an outcome.
    pub(crate) fn counts(&self, outcome: &Outcome) -> &[Count] {
        &self.counts[outcome.counts.start as usize..outcome.counts.end as usize]
    }

    /// Whether a success says the same whatever else is at fault: there is one way only.
    pub(crate) fn plain(&self, cell: &Cell) -> bool {
        cell.ways.len() == 1 && cell.slip == 0.0 && cell.late == 0.0
    }
}

/// Numbers things in the order in which they are met.
#[derive(Debug)]
pub(crate) struct Numbers<T> {
    known: BTreeMap<T, u32>,
}

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Self {
            known: BTreeMap::new(),
        }
    }
}

impl<T: Ord> Numbers<T> {
    /// The number of a thing.
    pub(crate) fn number(&mut self, thing: T) -> u32 {
        let next = index32(self.known.len());
        *self.known.entry(thing).or_insert(next)
    }
}

/// A place in an array as a 32-bit index. Nothing that fits in memory has more of anything.
pub(crate) fn index32(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// A place among the few of one cell as a 16-bit index.
pub(crate) fn index16(place: usize) -> u16 {
    u16::try_from(place).unwrap_or(u16::MAX)
}

/// The touches of a cause in one cell.
pub(crate) fn touches_in(touches: &[Touch], cell: u32) -> &[Touch] {
    let from = touches.partition_point(|t| t.cell < cell);
    let length = touches[from..]
        .iter()
        .take_while(|t| t.cell == cell)
        .count();
    &touches[from..from + length]
}
