//! One cause fitted beside others that are held fast: its rate, what proxies make of it, and when it was
//! on are integrated.

use alloc::vec;
use alloc::vec::Vec;

use super::law::{Course, Laws, LogSum};
use super::model::{
    Acting, Effect, Group, Model, Outcome, Restless, Shelter, Touch, index32, touches_in,
};

/// Prior share of hard faults; the others are even over the logarithm of the rate.
const HARD: f64 = 0.25;
/// Rates of hard faults, with their shares: a few probes may get through.
const HARD_RATES: [(f64, f64); 3] = [(0.97, 0.2), (0.995, 0.3), (0.9995, 0.5)];
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
/// Places added on either side of the peak.
const FINER: usize = 2;
/// Neighbours of the peak that are no further below it, in nats, need no refinement.
const BLUNT: f64 = 0.5;
/// No rate is higher.
const TOP: f64 = 0.9995;
/// Terms this far under the largest one are left out of the sums, in nats.
const NEGLIGIBLE: f64 = 18.0;

/// The lowest rate of a component that is well and fails probes all the same, as a share of the floor
/// of faults, and the places between that and the highest.
const RESTLESS_FROM: f64 = 0.03;
const RESTLESS_PLACES: usize = 4;

/// Rates at which it is tried whether a fit is worth its cost, and what lies between them, in nats.
const BOUNDS: [f64; 6] = [0.01, 0.04, 0.12, 0.3, 0.6, 0.97];
const BOUND_SLACK: f64 = 1.0;

/// Steps between off and on in which the course of a fault is kept.
const LEVELS: u8 = 4;

/// Other causes in one cell beyond this many are left out.
const MOST_OTHERS: usize = 7;

/// How a rate elsewhere relates to the rate that direct probes meet.
#[derive(Clone, Copy)]
enum Elsewhere {
    /// The proxy in front keeps its clients away from the component.
    OutOfRotation,
    /// Retries, another source address or a cache spare the proxy's clients.
    Spared,
    /// So many times the rate.
    Times(f64),
}

use Elsewhere::{OutOfRotation, Spared, Times};

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
            Self::Optional => &[OutOfRotation, Spared, Times(0.31), Times(1.0), Times(2.4)],
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
    /// A proxy keeps users away from the component.
    pub(crate) masked: bool,
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

    fn acting<'a>(&self, touches: &'a [Touch], level: u8) -> Acting<'a> {
        let share = f64::from(level) / f64::from(LEVELS);
        Acting {
            touches,
            theta: self.theta.map(|t| t * share),
            masked: self.masked && level * 2 >= LEVELS,
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

/// By how much a cause at a rate raises the logarithm of what was seen: for each class of outcomes, all
/// of which grow by 1 + rate * slope, how many there were in each window.
struct Terms {
    windows: usize,
    classes: Vec<(Group, f64)>,
    counts: Vec<f64>,
    /// Gain of being out of rotation, by window.
    masked: Vec<f64>,
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

    fn add(&mut self, class: usize, window: usize, count: f64) {
        self.counts[class * self.windows + window] += count;
    }

    /// What can be gained at most, roughly: each window at its own best rate, or off.
    fn bound(&self) -> f64 {
        let mut best = self.masked.clone();
        let mut gains = vec![0.0; self.windows];
        for theta in BOUNDS {
            gains.fill(0.0);
            for group in Group::ALL {
                self.sum(group, theta, &mut gains);
            }
            for (best, gain) in best.iter_mut().zip(&gains) {
                *best = best.max(*gain);
            }
        }
        best.iter().map(|gain| gain.max(0.0)).sum::<f64>() + BOUND_SLACK
    }

    fn seen(&self, group: Group) -> bool {
        self.classes.iter().any(|(g, _)| *g == group)
    }

    /// Adds the gains of a group at a rate to those of each window.
    fn sum(&self, group: Group, theta: f64, gains: &mut [f64]) {
        for (class, (_, slope)) in self
            .classes
            .iter()
            .enumerate()
            .filter(|(_, c)| c.0 == group)
        {
            let log = libm::log((1.0 + theta * slope).max(1e-12));
            let counts = &self.counts[class * self.windows..(class + 1) * self.windows];
            for (gain, count) in gains.iter_mut().zip(counts) {
                *gain += count * log;
            }
        }
    }
}

/// What one outcome gains while others act in a certain way.
#[derive(Clone, Copy)]
struct Slopes {
    key: u64,
    /// Classes of numerator and denominator, by group.
    classes: [(Option<usize>, Option<usize>); Group::COUNT],
    masked: f64,
}

/// Other faults in one cell, with their touches there.
struct Company<'a> {
    others: [(usize, &'a [Touch]); MOST_OTHERS],
    len: usize,
}

impl<'a> Company<'a> {
    fn new(model: &'a Model, faults: &[Fault], cell: u32) -> Self {
        let mut company = Self {
            others: [(0, &[]); MOST_OTHERS],
            len: 0,
        };
        for (place, fault) in faults.iter().enumerate() {
            let touches = touches_in(&model.causes[fault.cause].touches, cell);
            if !touches.is_empty() && company.len < MOST_OTHERS {
                company.others[company.len] = (place, touches);
                company.len += 1;
            }
        }
        company
    }

    /// The same for one cell after the other: `rest` holds the touches of each fault that are not
    /// passed yet.
    fn merge(rest: &mut [&'a [Touch]], cell: u32) -> Self {
        let mut company = Self {
            others: [(0, &[]); MOST_OTHERS],
            len: 0,
        };
        for (place, rest) in rest.iter_mut().enumerate() {
            let passed = rest.iter().take_while(|t| t.cell < cell).count();
            *rest = &rest[passed..];
            let here = rest.iter().take_while(|t| t.cell == cell).count();
            if here > 0 && company.len < MOST_OTHERS {
                company.others[company.len] = (place, &rest[..here]);
                company.len += 1;
            }
        }
        company
    }

    fn all(&self) -> &[(usize, &'a [Touch])] {
        &self.others[..self.len]
    }

    /// A number for the state of all others in a window.
    fn key(&self, faults: &[Fault], window: usize) -> u64 {
        let digit = |key, (place, _): &(usize, &[Touch])| {
            key * u64::from(LEVELS + 1) + u64::from(faults[*place].levels[window])
        };
        self.all().iter().fold(0, digit)
    }

    fn acting(&self, faults: &[Fault], window: usize) -> ([Acting<'a>; MOST_OTHERS + 1], usize) {
        let mut acting = [NOBODY; MOST_OTHERS + 1];
        for (slot, (place, touches)) in acting.iter_mut().zip(self.all()) {
            let fault = &faults[*place];
            *slot = fault.acting(touches, fault.levels[window]);
        }
        (acting, self.len)
    }
}

const NOBODY: Acting<'static> = Acting {
    touches: &[],
    theta: [0.0; Group::COUNT],
    masked: false,
};

impl Model {
    /// Fits a cause beside faults that are held fast.
    pub(crate) fn fit(&self, cause: usize, others: &[Fault]) -> Fit {
        self.integrate(cause, &self.terms(cause, others), &FINE)
    }

    /// The same, unless the cause cannot gain as much as is needed, in nats.
    pub(crate) fn fit_if(&self, cause: usize, others: &[Fault], needed: f64) -> Option<Fit> {
        let terms = self.terms(cause, others);
        let bound = terms.bound();
        let grid = if bound < LITTLE { &ROUGH } else { &FINE };
        (bound >= needed).then(|| self.integrate(cause, &terms, grid))
    }

    fn integrate(&self, cause: usize, terms: &Terms, grid: &Grid) -> Fit {
        let integrand = Integrand {
            terms,
            laws: Laws::new(self.causes[cause].habit, self.windows),
            data: if terms.seen(Group::Data) {
                DATA
            } else {
                NOWHERE
            },
            behind: if terms.seen(Group::Behind) {
                self.causes[cause].shelter.choices()
            } else {
                NOWHERE
            },
        };
        integrand.integrate(cause, self.floor, self.restless, grid)
    }

    /// Logarithm of the likelihood gain of a fault beside others.
    pub(crate) fn gain(&self, fault: &Fault, others: &[Fault]) -> f64 {
        if !self.bent(fault.cause) {
            return at_levels(&self.terms(fault.cause, others), fault);
        }
        let mut all = others.to_vec();
        all.push(fault.clone());
        let mut cells: Vec<u32> = self.causes[fault.cause]
            .touches
            .iter()
            .map(|t| t.cell)
            .collect();
        cells.dedup();
        let gain = |cell: &u32| {
            let cell = *cell as usize;
            self.log_likelihood(cell, &all) - self.log_likelihood(cell, others)
        };
        cells.iter().map(gain).sum()
    }

    /// Whether a cause keeps probes from cells in which it fails them as well: its gains are then no
    /// function of one rate at a time, and a fit is an approximation.
    pub(crate) fn bent(&self, cause: usize) -> bool {
        let mut touches = self.causes[cause].touches.iter();
        touches.any(|t| t.effect == Effect::Gate)
    }

    /// Logarithm of the probability of a cell's outcomes beside faults.
    pub(crate) fn log_likelihood(&self, cell: usize, faults: &[Fault]) -> f64 {
        self.log_likelihood_of(cell, faults, |_| true)
    }

    /// Logarithm of the probability of everything that was seen if nothing were at fault.
    pub(crate) fn calm_total(&self) -> f64 {
        let cells = 0..self.cells.len();
        cells.map(|c| self.log_likelihood(c, &[])).sum()
    }

    /// Logarithm of the probability of some of a cell's outcomes beside faults.
    pub(crate) fn log_likelihood_of(
        &self,
        cell: usize,
        faults: &[Fault],
        wanted: impl Fn(&Outcome) -> bool,
    ) -> f64 {
        let id = index32(cell);
        let cell = &self.cells[cell];
        let company = Company::new(self, faults, id);
        let mut sum = 0.0;
        for outcome in self.outcomes(cell).iter().filter(|o| wanted(o)) {
            let mut known: Option<(u64, f64)> = None;
            for count in self.counts(outcome) {
                let window = usize::from(count.window);
                let key = company.key(faults, window);
                let log = match known {
                    Some((same, log)) if same == key => log,
                    _ => {
                        let (acting, len) = company.acting(faults, window);
                        self.log_probability(cell, outcome, &acting[..len])
                    }
                };
                known = Some((key, log));
                sum += f64::from(count.count) * log;
            }
        }
        sum
    }

    /// How many of a cell's failures are by chance, beside faults.
    pub(crate) fn by_chance(&self, cell: usize, faults: &[Fault]) -> f64 {
        let id = index32(cell);
        let cell = &self.cells[cell];
        let company = Company::new(self, faults, id);
        let mut sum = 0.0;
        for outcome in self.outcomes(cell).iter().filter(|o| o.symptom.is_some()) {
            for count in self.counts(outcome) {
                let (acting, len) = company.acting(faults, usize::from(count.window));
                let (share, whole) = self.shares(cell, outcome, &acting[..len]);
                let chance = cell.background * outcome.chance * whole / share;
                sum += f64::from(count.count) * chance.min(1.0);
            }
        }
        sum
    }

    fn terms(&self, cause: usize, others: &[Fault]) -> Terms {
        let cause = &self.causes[cause];
        let mut terms = Terms::new(self.windows);
        for (group, passes) in Group::ALL.into_iter().zip(&cause.passes) {
            if !passes.is_empty() {
                terms.classes.push((group, -1.0));
                terms.counts.extend_from_slice(passes);
            }
        }
        let touches = |other: &Fault| self.causes[other.cause].touches.as_slice();
        let mut rest: Vec<&[Touch]> = others.iter().map(touches).collect();
        for mine in cause.touches.chunk_by(|a, b| a.cell == b.cell) {
            let cell = &self.cells[mine[0].cell as usize];
            if cell.failed > 0.0 || !self.plain(cell) {
                let company = Company::merge(&mut rest, mine[0].cell);
                self.cell_terms(mine, others, &company, &mut terms);
            }
        }
        terms
    }

    fn cell_terms(
        &self,
        mine: &[Touch],
        others: &[Fault],
        company: &Company<'_>,
        terms: &mut Terms,
    ) {
        let id = mine[0].cell;
        let cell = &self.cells[id as usize];
        let plain = self.plain(cell);
        for outcome in self.outcomes(cell) {
            if plain && outcome.symptom.is_none() {
                continue;
            }
            let mut known: Option<Slopes> = None;
            for count in self.counts(outcome) {
                let window = usize::from(count.window);
                let key = company.key(others, window);
                let slopes = match known {
                    Some(slopes) if slopes.key == key => slopes,
                    _ => {
                        let acting = company.acting(others, window);
                        self.slopes(id, outcome, mine, acting, key, terms)
                    }
                };
                known = Some(slopes);
                let count = f64::from(count.count);
                for (numerator, denominator) in slopes.classes {
                    if let Some(class) = numerator {
                        terms.add(class, window, count);
                    }
                    if let Some(class) = denominator {
                        terms.add(class, window, -count);
                    }
                }
                terms.masked[window] += count * slopes.masked;
            }
        }
    }

    fn slopes<'a>(
        &'a self,
        cell: u32,
        outcome: &Outcome,
        mine: &'a [Touch],
        (mut acting, len): ([Acting<'a>; MOST_OTHERS + 1], usize),
        key: u64,
        terms: &mut Terms,
    ) -> Slopes {
        let cell = &self.cells[cell as usize];
        let (share, whole) = self.shares(cell, outcome, &acting[..len]);
        let mut slopes = Slopes {
            key,
            classes: [(None, None); Group::COUNT],
            masked: 0.0,
        };
        for group in Group::ALL {
            if !mine.iter().any(|t| t.group == group) {
                continue;
            }
            let mut theta = [0.0; Group::COUNT];
            theta[group as usize] = 1.0;
            acting[len] = Acting {
                touches: mine,
                theta,
                masked: false,
            };
            let (hard, hard_whole) = self.shares(cell, outcome, &acting[..=len]);
            let mut class = |slope: f64| (slope.abs() > 1e-12).then(|| terms.class(group, slope));
            slopes.classes[group as usize] =
                (class(hard / share - 1.0), class(hard_whole / whole - 1.0));
            if group == Group::Behind {
                acting[len] = Acting {
                    touches: mine,
                    theta: [0.0; Group::COUNT],
                    masked: true,
                };
                let (masked, masked_whole) = self.shares(cell, outcome, &acting[..=len]);
                slopes.masked = libm::log(masked / masked_whole) - libm::log(share / whole);
            }
        }
        slopes
    }
}

fn at_levels(terms: &Terms, fault: &Fault) -> f64 {
    let mut gain = 0.0;
    for level in 1..=LEVELS {
        let share = f64::from(level) / f64::from(LEVELS);
        let masked = fault.masked && level * 2 >= LEVELS;
        for (class, (group, slope)) in terms.classes.iter().enumerate() {
            if *group == Group::Behind && masked {
                continue;
            }
            let counts = &terms.counts[class * terms.windows..(class + 1) * terms.windows];
            let count: f64 = counts
                .iter()
                .zip(&fault.levels)
                .filter(|(_, l)| **l == level)
                .map(|(count, _)| count)
                .sum();
            let theta = fault.theta[*group as usize] * share;
            gain += count * libm::log((1.0 + theta * slope).max(1e-12));
        }
        if masked {
            let windows = terms.masked.iter().zip(&fault.levels);
            gain += windows
                .filter(|(_, l)| **l == level)
                .map(|(m, _)| m)
                .sum::<f64>();
        }
    }
    gain
}

/// The likelihood of one cause over all its parameters.
struct Integrand<'a> {
    terms: &'a Terms,
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

impl Integrand<'_> {
    fn integrate(&self, cause: usize, floor: f64, restless: Restless, grid: &Grid) -> Fit {
        let mut peak = Peak {
            value: f64::NEG_INFINITY,
            theta: [floor; Group::COUNT],
            masked: false,
            gains: vec![0.0; self.terms.windows],
        };
        let span = libm::log(1.0 / floor);
        let mut soft: Vec<Place> = (0..grid.places)
            .map(|i| {
                let theta = floor * libm::exp(span * i as f64 / grid.places as f64);
                self.place(theta, &mut peak)
            })
            .collect();
        let hard = HARD_RATES.map(|(theta, share)| Place {
            mass: libm::log(HARD * share),
            ..self.place(theta, &mut peak)
        });
        for _ in 0..grid.refinements {
            self.refine(&mut soft, &mut peak);
        }
        weigh(&mut soft, floor, span);
        let places = || soft.iter().chain(&hard);
        let mut all = LogSum::default();
        places().for_each(|p| all.add(p.mass + p.value));
        let integral = all.value();
        let Course { on, present } = self.laws.course(&peak.gains);
        let fault = Fault {
            cause,
            theta: peak.theta,
            masked: peak.masked,
            levels: on.iter().map(|p| level(*p)).collect(),
        };
        let gain = at_levels(self.terms, &fault);
        Fit {
            gain,
            telescoped: gain,
            fault,
            integral,
            restless: self.restless(floor, restless),
            present,
            rates: places()
                .map(|p| (p.theta, libm::exp(p.mass + p.value - integral)))
                .filter(|(_, p)| *p > 1e-6)
                .collect(),
        }
    }

    /// The logarithm of the likelihood at a rate, over all choices and laws.
    fn place(&self, theta: f64, peak: &mut Peak) -> Place {
        let mut front = vec![0.0; self.terms.windows];
        self.terms.sum(Group::Front, theta, &mut front);
        let mut all = LogSum::default();
        for data in self.data {
            let at_data = elsewhere(theta, *data);
            let mut with_data = front.clone();
            self.terms.sum(Group::Data, at_data, &mut with_data);
            for behind in self.behind {
                let mut gains = with_data.clone();
                let at_behind = elsewhere(theta, *behind);
                let masked = matches!(behind, OutOfRotation);
                if masked {
                    for (gain, m) in gains.iter_mut().zip(&self.terms.masked) {
                        *gain += m;
                    }
                } else {
                    self.terms.sum(Group::Behind, at_behind, &mut gains);
                }
                if bound(&gains) < peak.value - NEGLIGIBLE {
                    continue;
                }
                let value = self.laws.log_sum(&gains);
                all.add(value);
                if value > peak.value {
                    peak.value = value;
                    peak.theta = [theta, at_data, at_behind];
                    peak.masked = masked;
                    peak.gains = gains;
                }
            }
        }
        let choices = (self.data.len() * self.behind.len()) as f64;
        Place {
            theta,
            mass: 0.0,
            value: all.value() - libm::log(choices),
        }
    }

    /// Adds places round the highest one, where the grid is too coarse for its width.
    fn refine(&self, soft: &mut Vec<Place>, peak: &mut Peak) {
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
        let to = right.map_or(TOP.max(middle), |i| soft[i].theta);
        for (low, high) in [(from, middle), (middle, to)] {
            if high <= low {
                continue;
            }
            let step = libm::pow(high / low, 1.0 / (FINER + 1) as f64);
            let mut theta = low;
            for _ in 0..FINER {
                theta *= step;
                soft.push(self.place(theta, peak));
            }
        }
        soft.sort_by(|a, b| a.theta.total_cmp(&b.theta));
    }

    /// The component's gain at rates that are no fault.
    fn restless(&self, floor: f64, restless: Restless) -> f64 {
        let (low, high) = (RESTLESS_FROM, restless.most);
        let mut all = LogSum::default();
        for i in 0..RESTLESS_PLACES {
            let share = (i as f64 + 0.5) / RESTLESS_PLACES as f64;
            let theta = floor * low * libm::pow(high / low, share);
            let mut gains = vec![0.0; self.terms.windows];
            for group in Group::ALL {
                self.terms.sum(group, theta, &mut gains);
            }
            all.add(gains.iter().sum::<f64>());
        }
        all.value() + libm::log(restless.share / RESTLESS_PLACES as f64)
    }
}

/// Prior mass of each place by the trapezoid rule over the logarithm of the rate.
fn weigh(soft: &mut [Place], floor: f64, span: f64) {
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
        place.mass = libm::log((1.0 - HARD) * (to - from).max(1e-9) / span);
    }
}

/// No sum over laws is higher.
fn bound(gains: &[f64]) -> f64 {
    gains.iter().map(|g| g.max(0.0)).sum()
}

fn elsewhere(theta: f64, elsewhere: Elsewhere) -> f64 {
    match elsewhere {
        OutOfRotation | Spared => 0.0,
        Times(factor) => (theta * factor).min(TOP),
    }
}

fn level(p: f64) -> u8 {
    (1..=LEVELS)
        .rev()
        .find(|level| p * f64::from(LEVELS) >= f64::from(*level) - 0.5)
        .unwrap_or(0)
}
