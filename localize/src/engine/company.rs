//! Faults that act in one cell together, and what was seen there beside them.

use alloc::vec::Vec;

use super::fit::{Fault, LEVELS};
use super::mixture::{Mixture, Room};
use super::model::{Acting, Group, Model, Outcome, Touch, index32, touches_in};

/// Other causes in one cell beyond this many are left out.
const MOST_OTHERS: usize = 7;

/// Faults in one cell, with their touches there.
pub(super) struct Company<'a> {
    others: [(usize, &'a [Touch]); MOST_OTHERS],
    len: usize,
}

/// Nobody else.
pub(super) const NONE: Company<'static> = Company {
    others: [(0, &[]); MOST_OTHERS],
    len: 0,
};

/// Faults as they act in one window, and how many there are.
pub(super) type Acts<'a> = ([Acting<'a>; MOST_OTHERS + 1], usize);

const NOBODY: Acting<'static> = Acting {
    touches: &[],
    theta: [0.0; Group::COUNT],
    masked: false,
};

impl<'a> Company<'a> {
    fn new(model: &'a Model, faults: &[Fault], cell: u32) -> Self {
        let mut company = NONE;
        for (place, fault) in faults.iter().enumerate() {
            company.join(place, touches_in(&model.causes[fault.cause].touches, cell));
        }
        company
    }

    /// Adds the touches of the fault at a place; false when they are none, or there is no room left.
    pub(super) fn join(&mut self, place: usize, touches: &'a [Touch]) -> bool {
        let joins = !touches.is_empty() && self.len < MOST_OTHERS;
        if joins {
            self.others[self.len] = (place, touches);
            self.len += 1;
        }
        joins
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A number for the places of all, which are fewer than bits.
    fn who(&self) -> u64 {
        let bit = |(place, _): &(usize, &[Touch])| 1 << (place % 64);
        self.all().iter().fold(0, |who, one| who | bit(one))
    }

    fn all(&self) -> &[(usize, &'a [Touch])] {
        &self.others[..self.len]
    }

    /// A number for the state of all in a window.
    fn key(&self, faults: &[Fault], window: usize) -> u64 {
        let digit = |key, (place, _): &(usize, &[Touch])| {
            let fault = &faults[*place];
            let state = 2 * u64::from(fault.level(window)) + u64::from(fault.masked(window));
            key * 2 * u64::from(LEVELS + 1) + state
        };
        self.all().iter().fold(0, digit)
    }

    pub(super) fn acting(&self, faults: &[Fault], window: usize) -> Acts<'a> {
        let mut acting = [NOBODY; MOST_OTHERS + 1];
        for (slot, (place, touches)) in acting.iter_mut().zip(self.all()) {
            *slot = faults[*place].acting(touches, window);
        }
        (acting, self.len)
    }
}

/// The states in which a company is, and when.
pub(super) struct States {
    /// By window.
    of: Vec<usize>,
    len: usize,
}

impl States {
    fn new(company: &Company<'_>, faults: &[Fault], windows: usize) -> Self {
        let mut keys = Vec::new();
        let state = |window| {
            let key = company.key(faults, window);
            let known = keys.iter().position(|k| *k == key);
            known.unwrap_or_else(|| {
                keys.push(key);
                keys.len() - 1
            })
        };
        let of = (0..windows).map(state).collect();
        let len = keys.len();
        Self { of, len }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The state in a window.
    pub(super) fn of(&self, window: usize) -> usize {
        self.of[window]
    }
}

/// The states of companies met already, by who they are.
#[derive(Default)]
pub(super) struct Known {
    states: Vec<(u64, States)>,
}

impl Known {
    pub(super) fn states(
        &mut self,
        company: &Company<'_>,
        faults: &[Fault],
        windows: usize,
    ) -> &States {
        let who = company.who();
        let known = self.states.iter().position(|(w, _)| *w == who);
        let place = known.unwrap_or_else(|| {
            self.states
                .push((who, States::new(company, faults, windows)));
            self.states.len() - 1
        });
        &self.states[place].1
    }
}

impl Model {
    /// Logarithm of the probability of a cell's outcomes beside faults.
    pub(crate) fn log_likelihood(&self, cell: usize, faults: &[Fault]) -> f64 {
        self.log_likelihood_of(cell, faults, |_| true)
    }

    /// Logarithm of the probability of everything that was seen if nothing were at fault.
    pub(crate) fn calm_total(&self) -> f64 {
        let cells = 0..self.cells.len();
        cells.map(|c| self.log_likelihood(c, &[])).sum()
    }

    /// Logarithm of one over the prior probability of no fault at all.
    pub(crate) fn prior_total(&self) -> f64 {
        let odds = self.causes.iter().map(|cause| libm::exp(cause.log_odds));
        odds.map(libm::log1p).sum()
    }

    /// Logarithm of the probability of some of a cell's outcomes beside faults.
    pub(crate) fn log_likelihood_of(
        &self,
        cell: usize,
        faults: &[Fault],
        wanted: impl Fn(&Outcome) -> bool,
    ) -> f64 {
        Beside::new(self, faults).log_likelihood_of(cell, wanted)
    }

    /// How many of a cell's failures are by chance, beside faults.
    pub(crate) fn by_chance(&self, cell: usize, faults: &[Fault]) -> f64 {
        let id = index32(cell);
        let cell = &self.cells[cell];
        let failed = |outcome: &Outcome| outcome.symptom.is_some();
        Beside::new(self, faults).sum(id, failed, |outcome, mixture| {
            let (share, whole) = mixture.shares(outcome).with_chance;
            (cell.background * outcome.chance * whole / share).min(1.0)
        })
    }
}

/// Cells beside some faults.
pub(super) struct Beside<'a> {
    model: &'a Model,
    faults: &'a [Fault],
    known: Known,
    /// Room to work in; values by state.
    room: Room,
    values: Vec<Option<f64>>,
}

impl<'a> Beside<'a> {
    pub(super) fn new(model: &'a Model, faults: &'a [Fault]) -> Self {
        Self {
            model,
            faults,
            known: Known::default(),
            room: Room::default(),
            values: Vec::new(),
        }
    }

    /// Logarithm of the probability of a cell's outcomes.
    pub(super) fn log_likelihood(&mut self, cell: usize) -> f64 {
        self.log_likelihood_of(cell, |_| true)
    }

    fn log_likelihood_of(&mut self, cell: usize, wanted: impl Fn(&Outcome) -> bool) -> f64 {
        self.sum(index32(cell), wanted, |outcome, mixture| {
            libm::log(mixture.probability(outcome))
        })
    }

    /// Sum over counts of some of a cell's outcomes of a value that depends on who acts.
    fn sum(
        &mut self,
        cell: u32,
        wanted: impl Fn(&Outcome) -> bool,
        value: impl Fn(&Outcome, &Mixture<'_>) -> f64,
    ) -> f64 {
        let Self {
            model,
            faults,
            known,
            room,
            values,
        } = self;
        let company = Company::new(model, faults, cell);
        let cell = &model.cells[cell as usize];
        let outcomes = || model.outcomes(cell).iter().filter(|o| wanted(o));
        let mut in_window = |window: usize, outcome: &Outcome| {
            let (acting, len) = company.acting(faults, window);
            value(outcome, &Mixture::new(model, cell, &acting[..len], room))
        };
        let states = (!company.is_empty()).then(|| known.states(&company, faults, model.windows));
        let Some(states) = states.filter(|states| states.len() > 1) else {
            return outcomes().map(|o| o.total * in_window(0, o)).sum();
        };
        let mut sum = 0.0;
        for outcome in outcomes() {
            values.clear();
            values.resize(states.len(), None);
            for count in model.counts(outcome) {
                let window = usize::from(count.window);
                let value = &mut values[states.of(window)];
                sum += f64::from(count.count)
                    * *value.get_or_insert_with(|| in_window(window, outcome));
            }
        }
        sum
    }
}
