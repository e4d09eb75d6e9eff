//! One cause fitted beside others that are held fast: its rate, what proxies make of it, and when it was
//! on are integrated.

use alloc::borrow::Cow;
use alloc::vec;
use alloc::vec::Vec;
use core::array;
use core::cell::{OnceCell, RefCell};
use core::cmp::Ordering;

use super::company::Beside;
use super::law::abreast::{ABREAST, Lane};
use super::law::{Course, Laws, LogSum};
use super::memo::{Meeting, Memo};
use super::model::{Acting, Group, Habit, Model, Restless, Shelter, Touch};
use super::terms::{Classes, Likeness, Scenes, Spot, Terms, TermsAlone, Trace, growth};

/// The prior of a rate: a share of hard ones, the others even over the logarithm.
struct Rates {
    /// Hard rates with their prior: a few probes may get through.
    hard: &'static [(f64, f64)],
    /// Prior of all others together, and where they end.
    soft: f64,
    top: f64,
}

const FAULTY: Rates = Rates {
    hard: &[(0.97, 0.05), (0.995, 0.075), (0.9995, 0.125)],
    soft: 0.75,
    top: 1.0,
};
/// What is nobody's fault fails some of the probes; more would be a fault of somebody.
const STORMY: Rates = Rates {
    hard: &[],
    soft: 1.0,
    top: 0.35,
};

impl Rates {
    const fn of(habit: Habit) -> &'static Self {
        match habit {
            Habit::Fault | Habit::Lasting => &FAULTY,
            Habit::Storm => &STORMY,
        }
    }
}

/// Places on the logarithmic grid of rates before it is refined round the peak, and how often that is.
struct Grid {
    places: usize,
    refinements: usize,
}

const FINE: Grid = Grid {
    places: 12,
    refinements: 2,
};
/// For what has little to gain, in nats, and so no narrow peak.
const ROUGH: Grid = Grid {
    places: 6,
    refinements: 0,
};
const LITTLE: f64 = 8.0;

impl Grid {
    const fn fine(&self) -> bool {
        self.refinements > 0
    }
}

/// With no more causes than these nothing is done roughly, or left out because it promises little.
const FEW_CAUSES: usize = 16;

/// Places added on either side of the peak.
const FINER: usize = 2;
/// Neighbours of the peak that are no further below it, in nats, need no refinement.
const BLUNT: f64 = 0.5;
/// No rate is higher.
const TOP: f64 = 0.9995;
/// Terms this far under the largest one are left out of the sums, in nats.
const NEGLIGIBLE: f64 = 25.0;

/// Steps between off and on in which the course of a fault is kept.
pub(super) const LEVELS: u8 = 4;

/// How a rate elsewhere relates to the rate that direct probes meet.
#[derive(Clone, Copy)]
enum Elsewhere {
    /// The proxy in front keeps its clients away from the component.
    KeptAway,
    /// The same, once its checks have found out.
    OutOfRotation,
    /// Retries, another source address or a cache spare the proxy's clients.
    Spared,
    /// So many times the rate.
    Times(f64),
}

use Elsewhere::{KeptAway, OutOfRotation, Spared, Times};

/// In this share of the windows of something that is out of rotation its clients meet it all the same: a proxy's
/// checks have not found out yet, or are mistaken.
const IN_SPITE: f64 = 0.05;
/// Logarithms of the shares of the other windows, and of those.
const SHARES: [f64; 2] = [-0.051_293_294_387_550_53, -2.995_732_273_553_991];
/// By so much more, in nats, one of the two is all there is.
const CLEARLY: f64 = 12.0;

/// Where nothing is seen.
const NOWHERE: &[Elsewhere] = &[Times(1.0)];
/// What follows the handshake, when packets are lost: a request is many packets, and TCP mends some
/// losses without anybody noticing.
const DATA: &[Elsewhere] = &[Times(0.23), Times(0.56), Times(1.0), Times(1.8)];

impl Shelter {
    const fn choices(self) -> &'static [Elsewhere] {
        match self {
            Self::Chosen => &[OutOfRotation, Times(0.31), Times(1.0), Times(1.34)],
            Self::ChosenLossy => &[OutOfRotation, Times(0.31), Times(1.0), Times(2.4)],
            Self::ChosenWay => &[
                OutOfRotation,
                KeptAway,
                Spared,
                Times(0.31),
                Times(1.0),
                Times(2.4),
            ],
            Self::Optional => &[KeptAway, Spared, Times(0.31), Times(1.0), Times(2.4)],
            Self::Cached => &[Spared, Times(0.31), Times(1.0)],
        }
    }

    /// The same where nobody meets the component straight: its rate is what the proxy's clients meet, and what they
    /// are spared nobody could know of.
    const fn unmet(self) -> &'static [Elsewhere] {
        match self {
            Self::Chosen | Self::ChosenLossy | Self::ChosenWay => &[OutOfRotation, Times(1.0)],
            Self::Optional => &[KeptAway, Times(1.0)],
            Self::Cached => NOWHERE,
        }
    }
}

/// A cause with its parameters.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    /// The cause's place in the model.
    pub(crate) cause: usize,
    /// Rate while it is on, by group.
    pub(crate) theta: [f64; Group::COUNT],
    /// Whether a proxy kept users away from the component, by window; none where it never did.
    masked: Vec<bool>,
    /// How far it was on, by window.
    levels: Vec<u8>,
}

impl Fault {
    /// Whether it was rather on than off.
    pub(crate) fn on(&self, window: usize) -> bool {
        self.levels[window] * 2 >= LEVELS
    }

    /// Whether two fits of one cause make no difference to others.
    pub(crate) fn near(&self, other: &Self) -> bool {
        let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 0.03 * a.max(*b);
        self.masked == other.masked
            && self.levels == other.levels
            && self.theta.iter().zip(&other.theta).all(close)
    }

    /// Whether it was on, and a proxy kept users away from the component.
    pub(crate) fn masked(&self, window: usize) -> bool {
        self.on(window) && self.masked.get(window).copied().unwrap_or(false)
    }

    /// Whether it was so when it was on for the last time.
    pub(crate) fn masked_at_last(&self) -> bool {
        let last = (0..self.levels.len()).rev().find(|window| self.on(*window));
        last.is_some_and(|window| self.masked(window))
    }

    /// Its rates while it is on, in a window.
    pub(crate) fn rates(&self, window: usize) -> [f64; Group::COUNT] {
        match self.masked(window) {
            true => Group::kept_away(self.theta),
            false => self.theta,
        }
    }

    /// How far it was on, in steps.
    pub(super) fn level(&self, window: usize) -> u8 {
        self.levels[window]
    }

    /// How it acts in a window, where it touches this.
    pub(super) fn acting<'a>(&self, touches: &'a [Touch], window: usize) -> Acting<'a> {
        let level = self.level(window);
        let share = f64::from(level) / f64::from(LEVELS);
        Acting {
            touches,
            theta: self.rates(window).map(|t| t * share),
            masked: self.masked(window),
        }
    }
}

/// What came of fitting one cause.
#[derive(Clone, Debug)]
pub(crate) struct Fit {
    /// The most probable parameters.
    pub(crate) fault: Fault,
    /// Logarithm of the likelihood gain at those.
    pub(crate) gain: f64,
    /// The same beside those faults alone that stand before it in its set.
    pub(crate) telescoped: f64,
    /// Logarithm of the gain, integrated over all parameters.
    pub(crate) integral: f64,
    /// Logarithm of the gain if the component is well but restless, times the prior odds of that.
    pub(crate) restless: f64,
    /// Probability that the fault is there at the end of the record.
    pub(crate) present: f64,
    /// Rates with their posterior probabilities.
    pub(crate) rates: Vec<(f64, f64)>,
}

/// Fits causes of a model, and keeps what is so while nothing else is at fault.
pub(crate) struct Fitter<'a> {
    pub(super) model: &'a Model,
    /// Whether more is to be learnt from a cell than its successes tell at any rate; close together,
    /// as most cells that a cause touches have nothing more to say.
    informative: Vec<bool>,
    /// Whether something failed in a cell.
    failing: Vec<bool>,
    likeness: Likeness,
    alone: Vec<Alone>,
    memo: Memo,
    /// Room to work in.
    scenes: RefCell<Scenes>,
}

/// What is known of a cause while nothing else is at fault.
#[derive(Default)]
struct Alone {
    terms: OnceCell<TermsAlone>,
    fit: OnceCell<Fit>,
    /// The informative cells that it touches.
    spots: OnceCell<Vec<Spot>>,
}

impl<'a> Fitter<'a> {
    /// For a model as it stands.
    pub(crate) fn new(model: &'a Model) -> Self {
        let causes = model.causes.iter();
        let cells = model.cells.iter();
        let informative: Vec<bool> = cells
            .map(|cell| cell.failed > 0.0 || !model.plain(cell))
            .collect();
        Self {
            model,
            likeness: Likeness::new(model, &informative),
            informative,
            failing: model.cells.iter().map(|c| c.failed > 0.0).collect(),
            alone: causes.map(|_| Alone::default()).collect(),
            memo: Memo::default(),
            scenes: RefCell::default(),
        }
    }

    /// Fits a cause beside faults that are held fast.
    pub(super) fn fit(&self, cause: usize, others: &[Fault]) -> Fit {
        let met = self.met(cause, others);
        if met.is_empty() {
            return self.fit_alone(cause).clone();
        }
        let meeting = self.memo.meeting(cause, &met);
        self.fit_fine(cause, &meeting).clone()
    }

    /// The same, unless the cause cannot gain as much as is needed, in nats.
    pub(super) fn fit_if(&self, cause: usize, others: &[Fault], needed: f64) -> Option<Fit> {
        let met = self.met(cause, others);
        if met.is_empty() {
            let known = self.alone[cause].fit.get();
            let worth = known.is_some()
                || self.model.ceiling(cause, &self.failing) >= needed
                    && self.terms_alone(cause).bound() >= needed;
            return worth.then(|| self.fit_alone(cause).clone());
        }
        let meeting = self.memo.meeting(cause, &met);
        let mut terms = None;
        let bound = *meeting.bound.get_or_init(|| {
            let terms = terms.insert(self.terms_beside(cause, &meeting.others));
            terms.bound()
        });
        let terms = || terms.unwrap_or_else(|| self.terms_beside(cause, &meeting.others));
        (bound >= needed).then(|| {
            let grid = self.grid(bound);
            let fit = if grid.fine() {
                &meeting.fine
            } else {
                &meeting.rough
            };
            fit.get_or_init(|| self.integrate(cause, &terms(), grid))
                .clone()
        })
    }

    fn fit_fine<'m>(&self, cause: usize, meeting: &'m Meeting) -> &'m Fit {
        let terms = || self.terms_beside(cause, &meeting.others);
        meeting
            .fine
            .get_or_init(|| self.integrate(cause, &terms(), &FINE))
    }

    /// For what can gain so much at most, in nats.
    fn grid(&self, bound: f64) -> &'static Grid {
        match bound < LITTLE && !self.few_causes() {
            true => &ROUGH,
            false => &FINE,
        }
    }

    /// Whether there is time for everything.
    pub(super) fn few_causes(&self) -> bool {
        self.model.components() <= FEW_CAUSES
    }

    fn fit_alone(&self, cause: usize) -> &Fit {
        self.alone[cause].fit.get_or_init(|| {
            let terms = self.terms_alone(cause);
            self.integrate(cause, terms, self.grid(terms.bound()))
        })
    }

    fn terms_alone(&self, cause: usize) -> &Terms {
        &self.alone(cause).terms
    }

    fn alone(&self, cause: usize) -> &TermsAlone {
        let terms = || {
            let room = &mut self.scenes.borrow_mut();
            self.model
                .terms(cause, self.trace(cause), &self.likeness, room)
        };
        self.alone[cause].terms.get_or_init(terms)
    }

    fn terms(&self, cause: usize, others: &[Fault]) -> Cow<'_, Terms> {
        if self.met(cause, others).is_empty() {
            Cow::Borrowed(self.terms_alone(cause))
        } else {
            Cow::Owned(self.terms_beside(cause, others))
        }
    }

    fn terms_beside(&self, cause: usize, others: &[Fault]) -> Terms {
        let alone = self.alone(cause);
        let mut theirs: Vec<Trace<'_>> = others.iter().map(|o| self.trace(o.cause)).collect();
        let traces = (self.trace(cause), theirs.as_mut_slice());
        let room = &mut self.scenes.borrow_mut();
        self.model
            .terms_beside(alone, traces, others, &self.likeness, room)
    }

    /// The faults with which a cause shares an informative cell.
    fn met<'f>(&self, cause: usize, others: &'f [Fault]) -> Vec<&'f Fault> {
        let mine = self.spots(cause);
        let meets = |other: &&Fault| !disjoint(mine, self.spots(other.cause));
        others.iter().filter(meets).collect()
    }

    fn trace(&self, cause: usize) -> Trace<'_> {
        Trace::new(self.model, cause, self.spots(cause))
    }

    fn spots(&self, cause: usize) -> &[Spot] {
        let touches = &self.model.causes[cause].touches;
        let spots = || self.likeness.spots(touches, &self.informative);
        self.alone[cause].spots.get_or_init(spots)
    }

    fn integrate(&self, cause: usize, terms: &Terms, grid: &Grid) -> Fit {
        let model = self.model;
        let integrand = Integrand {
            terms,
            classes: terms.classes(),
            prior: Rates::of(model.causes[cause].habit),
            laws: Laws::new(model.causes[cause].habit, model.windows),
            data: if terms.seen(Group::DATA) {
                DATA
            } else {
                NOWHERE
            },
            behind: match (terms.seen_behind(), terms.seen(Group::STRAIGHT)) {
                (true, true) => model.causes[cause].shelter.choices(),
                (true, false) if terms.is_missed() => model.causes[cause].shelter.unmet(),
                (true, false) | (false, _) => NOWHERE,
            },
        };
        integrand.integrate(cause, model.floor, model.causes[cause].restless, grid)
    }

    /// Logarithm of the likelihood gain of a fault beside others.
    pub(super) fn gain(&self, fault: &Fault, others: &[Fault]) -> f64 {
        if !self.model.bent(fault.cause) {
            return self.terms(fault.cause, others).at_levels(fault);
        }
        let mut all = others.to_vec();
        all.push(fault.clone());
        let touches = self.model.causes[fault.cause].touches.iter();
        let mut cells: Vec<u32> = touches.map(|t| t.cell).collect();
        cells.dedup();
        let sum = |faults: &[Fault]| -> f64 {
            let mut beside = Beside::new(self.model, faults);
            let logs = cells.iter().map(|c| beside.log_likelihood(*c as usize));
            logs.sum()
        };
        sum(&all) - sum(others)
    }
}

/// Whether two sorted lists have nothing in common.
fn disjoint(a: &[Spot], b: &[Spot]) -> bool {
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        match a[i].cell.cmp(&b[j].cell) {
            Ordering::Less => i += 1,
            Ordering::Greater => j += 1,
            Ordering::Equal => return false,
        }
    }
    true
}

/// The likelihood of one cause over all its parameters.
struct Integrand<'a> {
    terms: &'a Terms,
    classes: Classes<'a>,
    prior: &'static Rates,
    laws: Laws,
    data: &'static [Elsewhere],
    behind: &'static [Elsewhere],
}

/// A rate with the logarithm of its prior mass and of the likelihood there.
#[derive(Clone, Copy)]
struct Place {
    theta: f64,
    mass: f64,
    value: f64,
}

/// The highest point met.
struct Peak {
    value: f64,
    theta: [f64; Group::COUNT],
    masked: bool,
    gains: Vec<f64>,
}

/// Room to work in, by window: gains of the groups so far, and what the laws make of them.
struct Room {
    front: Vec<f64>,
    with_data: Vec<f64>,
    all: Vec<Lane>,
    single: Vec<f64>,
    ratios: Vec<f64>,
    /// What the classes behind a proxy grow by.
    behind: Vec<Lane>,
    /// What those grow by that follow the handshake there.
    behind_data: Vec<Lane>,
    batch: Batch,
}

/// A rate and what is made of it elsewhere, with the highest that its sum over laws can be.
#[derive(Clone, Copy)]
struct Combination {
    place: usize,
    theta: [f64; Group::COUNT],
    masked: bool,
    bound: f64,
}

/// Combinations that wait to be summed over the laws side by side.
struct Batch {
    waiting: Vec<Combination>,
    /// Their gains by window.
    gains: Vec<Lane>,
}

impl Peak {
    fn new(windows: usize, floor: f64) -> Self {
        Self {
            value: f64::NEG_INFINITY,
            theta: [floor; Group::COUNT],
            masked: false,
            gains: vec![0.0; windows],
        }
    }

    /// Whether a sum that is no higher than this is too small to count.
    fn dwarfs(&self, bound: f64) -> bool {
        bound < self.value - NEGLIGIBLE
    }
}

impl Room {
    fn new(windows: usize) -> Self {
        let zeros = vec![0.0; windows];
        Self {
            front: zeros.clone(),
            with_data: zeros.clone(),
            all: vec![[0.0; ABREAST]; windows],
            single: zeros.clone(),
            ratios: zeros,
            behind: Vec::new(),
            behind_data: Vec::new(),
            batch: Batch {
                waiting: Vec::with_capacity(ABREAST),
                gains: vec![[0.0; ABREAST]; windows],
            },
        }
    }
}

impl Integrand<'_> {
    fn integrate(&self, cause: usize, floor: f64, restless: Restless, grid: &Grid) -> Fit {
        let mut peak = Peak::new(self.terms.windows, floor);
        let mut room = Room::new(self.terms.windows);
        let span = libm::log(self.prior.top / floor);
        let soft =
            (0..grid.places).map(|i| floor * libm::exp(span * i as f64 / grid.places as f64));
        let hard = self.prior.hard.iter();
        let thetas: Vec<f64> = soft.chain(hard.clone().map(|(theta, _)| *theta)).collect();
        let mut soft = self.places(&thetas, &mut peak, &mut room);
        let mut hard_places = soft.split_off(grid.places);
        for (place, (_, share)) in hard_places.iter_mut().zip(hard) {
            place.mass = libm::log(*share);
        }
        let hard = hard_places;
        for _ in 0..grid.refinements {
            self.refine(&mut soft, &mut peak, &mut room);
        }
        weigh(&mut soft, self.prior.soft, floor, span);
        let places = || soft.iter().chain(&hard);
        let mut all = LogSum::default();
        places().for_each(|p| all.add(p.mass + p.value));
        let integral = all.value();
        let Course { on, present } = self.laws.course(&peak.gains);
        let fault = Fault {
            cause,
            theta: peak.theta,
            masked: self.masked(&peak),
            levels: on.iter().map(|p| level(*p)).collect(),
        };
        let gain = self.terms.at_levels(&fault);
        Fit {
            gain,
            telescoped: gain,
            fault,
            integral,
            restless: self.restless(floor, restless, &mut room.front),
            present,
            rates: places()
                .map(|p| (p.theta, libm::exp(p.mass + p.value - integral)))
                .filter(|(_, p)| *p > 1e-6)
                .collect(),
        }
    }

    /// The logarithms of the likelihood at rates, over all choices and laws.
    fn places(&self, thetas: &[f64], peak: &mut Peak, room: &mut Room) -> Vec<Place> {
        let mut sums = vec![LogSum::default(); thetas.len()];
        for (place, theta) in thetas.iter().enumerate() {
            self.combine(place, *theta, &mut sums, peak, room);
        }
        self.settle(&mut sums, peak, room);
        let choices = (self.data.len() * self.behind.len()) as f64;
        let pairs = thetas.iter().zip(sums);
        let places = pairs.map(|(theta, sum)| Place {
            theta: *theta,
            mass: 0.0,
            value: sum.value() - libm::log(choices),
        });
        places.collect()
    }

    /// Puts a rate with each choice among what is to be summed.
    fn combine(
        &self,
        place: usize,
        theta: f64,
        sums: &mut [LogSum],
        peak: &mut Peak,
        room: &mut Room,
    ) {
        room.front.fill(0.0);
        self.classes.sum(Group::Front, theta, &mut room.front);
        self.grow_behind(theta, &mut room.behind);
        for data in self.data {
            let at_data = elsewhere(theta, *data);
            room.with_data.copy_from_slice(&room.front);
            self.classes.sum(Group::Data, at_data, &mut room.with_data);
            for (chunk, behind) in self.behind.chunks(ABREAST).enumerate() {
                let bounds = self.sum_behind(chunk, behind, at_data, room);
                for (row, (behind, bound)) in behind.iter().zip(bounds).enumerate() {
                    if peak.dwarfs(bound) {
                        continue;
                    }
                    let at_behind = elsewhere(theta, *behind);
                    let combination = Combination {
                        place,
                        theta: [theta, at_data, at_behind, elsewhere(at_data, *behind)],
                        masked: matches!(behind, KeptAway | OutOfRotation),
                        bound,
                    };
                    room.batch.push(combination, row, &room.all);
                    if room.batch.waiting.len() == self.laws.at_once() {
                        self.settle(sums, peak, room);
                    }
                }
            }
        }
    }

    /// For each choice what the classes behind a proxy grow by, choices side by side.
    fn grow_behind(&self, theta: f64, grown: &mut Vec<Lane>) {
        grown.clear();
        for behind in self.behind.chunks(ABREAST) {
            let classes = self.classes.of(Group::Behind).iter();
            grown.extend(classes.map(|(slope, _)| grown_by(theta, behind, *slope)));
        }
    }

    /// Adds to the gains so far what the choices of a chunk make of a rate, and of that of what follows the
    /// handshake, side by side, and returns what no sums over laws of them are higher than.
    fn sum_behind(
        &self,
        chunk: usize,
        behind: &[Elsewhere],
        at_data: f64,
        room: &mut Room,
    ) -> Lane {
        let classes = self.classes.of(Group::Behind);
        let grown = &room.behind[chunk * classes.len()..(chunk + 1) * classes.len()];
        let of_data = self.classes.of(Group::BehindData);
        room.behind_data.clear();
        let more = of_data
            .iter()
            .map(|(slope, _)| grown_by(at_data, behind, *slope));
        room.behind_data.extend(more);
        let mut bounds = [0.0; ABREAST];
        for (window, (all, so_far)) in room.all.iter_mut().zip(&room.with_data).enumerate() {
            let mut gains = [*so_far; ABREAST];
            let data = of_data.iter().zip(&room.behind_data);
            for ((_, counts), grown) in classes.iter().zip(grown).chain(data) {
                let count = counts[window];
                gains = array::from_fn(|row| gains[row] + count * grown[row]);
            }
            let out = so_far + self.terms.masked[window];
            for (gain, behind) in gains.iter_mut().zip(behind) {
                match behind {
                    KeptAway => *gain = out,
                    OutOfRotation => *gain = in_spite(out, *gain),
                    Spared | Times(_) => {}
                }
            }
            bounds = array::from_fn(|row| bounds[row] + gains[row].max(0.0));
            *all = gains;
        }
        bounds
    }

    /// The windows in which the proxy kept its clients away at the peak.
    fn masked(&self, peak: &Peak) -> Vec<bool> {
        if !peak.masked {
            return Vec::new();
        }
        let rate = peak.theta[Group::Behind as usize];
        if rate == 0.0 {
            return vec![true; self.terms.windows];
        }
        let mut met = vec![0.0; self.terms.windows];
        for group in Group::BEHIND {
            self.classes
                .sum(group, peak.theta[group as usize], &mut met);
        }
        let odds = SHARES[0] - SHARES[1];
        let windows = self.terms.masked.iter().zip(&met);
        windows.map(|(out, met)| out + odds >= *met).collect()
    }

    /// Sums what waits over the laws, in the order in which it came.
    fn settle(&self, sums: &mut [LogSum], peak: &mut Peak, room: &mut Room) {
        let batch = &mut room.batch;
        if batch.waiting.is_empty() {
            return;
        }
        let values = match self.laws.at_once() {
            ABREAST => self.laws.log_sums(&batch.gains),
            _ => {
                let gains = batch.gains.iter().map(|gains| gains[0]);
                room.single.clear();
                room.single.extend(gains);
                [self.laws.log_sum(&room.single, &mut room.ratios); ABREAST]
            }
        };
        for (row, (combination, value)) in batch.waiting.iter().zip(values).enumerate() {
            // The peak may have risen since.
            if peak.dwarfs(combination.bound) {
                continue;
            }
            sums[combination.place].add(value);
            if value > peak.value {
                peak.value = value;
                peak.theta = combination.theta;
                peak.masked = combination.masked;
                let pairs = peak.gains.iter_mut().zip(&batch.gains);
                pairs.for_each(|(peak, gains)| *peak = gains[row]);
            }
        }
        batch.waiting.clear();
    }

    /// Adds places round the highest one, where the grid is too coarse for its width.
    fn refine(&self, soft: &mut Vec<Place>, peak: &mut Peak, room: &mut Room) {
        let top = (0..soft.len()).max_by(|a, b| soft[*a].value.total_cmp(&soft[*b].value));
        let Some(top) = top else { return };
        let below = |i: usize| soft[top].value - soft[i].value;
        let left = (top > 0).then(|| top - 1);
        let right = (top + 1 < soft.len()).then_some(top + 1);
        if left.is_none_or(|i| below(i) < BLUNT) && right.is_none_or(|i| below(i) < BLUNT) {
            return;
        }
        let from = soft[left.unwrap_or(top)].theta;
        let middle = soft[top].theta;
        let to = right.map_or(self.prior.top.min(TOP).max(middle), |i| soft[i].theta);
        let mut thetas = Vec::with_capacity(2 * FINER);
        for (low, high) in [(from, middle), (middle, to)] {
            if high <= low {
                continue;
            }
            let step = libm::pow(high / low, 1.0 / (FINER + 1) as f64);
            let mut theta = low;
            for _ in 0..FINER {
                theta *= step;
                thetas.push(theta);
            }
        }
        soft.extend(self.places(&thetas, peak, room));
        soft.sort_by(|a, b| a.theta.total_cmp(&b.theta));
    }

    /// The component's gain at rates that are no fault.
    fn restless(&self, floor: f64, restless: Restless, gains: &mut [f64]) -> f64 {
        let mut all = LogSum::default();
        for (rate, log_odds) in restless.0 {
            gains.fill(0.0);
            for group in Group::ALL {
                self.classes.sum(group, floor * rate, gains);
            }
            all.add(log_odds + gains.iter().sum::<f64>());
        }
        all.value()
    }
}

impl Batch {
    fn push(&mut self, combination: Combination, row: usize, gains: &[Lane]) {
        let mine = self.waiting.len();
        self.waiting.push(combination);
        let pairs = self.gains.iter_mut().zip(gains);
        pairs.for_each(|(lane, gains)| lane[mine] = gains[row]);
    }
}

/// Parts a prior among places by the trapezoid rule over the logarithm of the rate.
fn weigh(soft: &mut [Place], prior: f64, floor: f64, span: f64) {
    let at = |theta: f64| libm::log(theta / floor);
    let logs: Vec<f64> = soft.iter().map(|p| at(p.theta)).collect();
    let last = logs.len() - 1;
    for (i, place) in soft.iter_mut().enumerate() {
        let from = if i == 0 {
            0.0
        } else {
            (logs[i - 1] + logs[i]) / 2.0
        };
        let to = if i == last {
            span
        } else {
            (logs[i] + logs[i + 1]) / 2.0
        };
        place.mass = libm::log(prior * (to - from).max(1e-9) / span);
    }
}

/// What a window gains where a component is out of rotation, and now and then not yet.
fn in_spite(out: f64, met: f64) -> f64 {
    let more = met - out;
    if more == 0.0 {
        out
    } else if more < -CLEARLY {
        out + SHARES[0]
    } else if more > CLEARLY {
        met + SHARES[1]
    } else {
        out + libm::log(1.0 - IN_SPITE + IN_SPITE * libm::exp(more))
    }
}

fn elsewhere(theta: f64, elsewhere: Elsewhere) -> f64 {
    match elsewhere {
        KeptAway | Spared => 0.0,
        // Of its clients those meet it whom the proxy does not keep away.
        OutOfRotation => theta,
        Times(factor) => (theta * factor).min(TOP),
    }
}

/// What a class grows by at a rate, by choice of what that is behind a proxy.
fn grown_by(theta: f64, behind: &[Elsewhere], slope: f64) -> Lane {
    let mut logs = [0.0; ABREAST];
    for (log, behind) in logs.iter_mut().zip(behind) {
        let rate = elsewhere(theta, *behind);
        if rate > 0.0 {
            *log = growth(rate, slope);
        }
    }
    logs
}

fn level(p: f64) -> u8 {
    (1..=LEVELS)
        .rev()
        .find(|level| p * f64::from(LEVELS) >= f64::from(*level) - 0.5)
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_out_of_rotation_or_met_all_the_same() {
        for (out, met) in [(0.0, -40.0), (-40.0, 0.0), (1.0, 2.0), (-3.0, -1.0)] {
            let mean = (1.0 - IN_SPITE) * libm::exp(out) + IN_SPITE * libm::exp(met);
            let gain = in_spite(out, met);
            assert!((gain - libm::log(mean)).abs() < 1e-6, "{out} {met}: {gain}");
        }
        // Where nothing was seen nothing is lost.
        assert_eq!(in_spite(0.0, 0.0), 0.0);
    }
}
