//! The rival of every explanation: something that no component explains.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use super::company::Beside;
use super::fit::Fault;
use super::law::LogSum;
use super::mixture::{Draw, may_serve};
use super::model::{Cell, Model, index32};
use super::scaled::exp_of_moderate;

/// Shares of the cells that an unknown cause may touch.
const TOUCHED: [f64; 5] = [0.003, 0.01, 0.03, 0.1, 0.3];

/// Rates that all that is touched may have in common.
const RATES: [f64; 8] = [0.005, 0.012, 0.03, 0.08, 0.2, 0.4, 0.7, 0.97];
/// Ways in which rates may be: each has its own, or all have one of [`RATES`].
const WAYS: usize = RATES.len() + 1;
/// Prior probability that each has its own.
const OWN: f64 = 0.5;

/// Failures and trials beside the logarithm of their probability under the faults.
#[derive(Clone, Copy, Default)]
struct Pool {
    failed: f64,
    trials: f64,
    /// Logarithm of what a free rate leaves open: which symptom, and who served.
    rest: f64,
    modelled: f64,
}

impl Pool {
    fn add(&mut self, other: Self) {
        self.failed += other.failed;
        self.trials += other.trials;
        self.rest += other.rest;
        self.modelled += other.modelled;
    }

    /// Logarithms of the probabilities with a rate of its own, and with each of the common rates.
    fn free(&self) -> [f64; WAYS] {
        let mut free = [log_beta_binomial(self.failed, self.trials); WAYS];
        for (free, rate) in free.iter_mut().skip(1).zip(RATES) {
            let passed = self.trials - self.failed;
            *free = self.failed * libm::log(rate) + passed * libm::log1p(-rate);
        }
        free.map(|log| log + self.rest)
    }
}

/// A cell or a way with failures: logarithms of the probabilities when something unknown touches it
/// and under the faults.
#[derive(Clone, Copy)]
struct Suspect {
    free: [f64; WAYS],
    modelled: f64,
}

impl Model {
    /// What the cells look like while nothing is at fault, for [`Self::unknown_gain`].
    pub(crate) fn calm(&self) -> Calm {
        let mut calm = Calm::default();
        let kins = self.cells.iter().map(|c| c.kin as usize + 1).max();
        let mut ways = vec![Pool::default(); kins.unwrap_or(0)];
        let mut alone = Beside::new(self, &[]);
        for (index, cell) in self.cells.iter().enumerate() {
            let modelled = alone.log_likelihood(index);
            let pool = Pool {
                failed: cell.failed,
                trials: cell.trials,
                rest: self.served_share(cell) - cell.failed * libm::log(cell.kinds),
                modelled,
            };
            ways[cell.kin as usize].add(pool);
            calm.modelled.push(modelled);
            calm.cells.push(&pool);
        }
        ways.iter().for_each(|pool| calm.ways.push(pool));
        calm.cells.add_clean();
        calm.ways.add_clean();
        calm
    }

    /// Logarithm of the gain of an unknown cause beside faults: some of the cells have a rate of
    /// their own with a Beta(1/2, 1/2) prior, or all of these the same rate, and symptoms at random;
    /// each cell for itself, or those that go the same way from different vantage points together.
    pub(crate) fn unknown_gain(&self, calm: &Calm, faults: &[Fault]) -> f64 {
        let touches = faults.iter().flat_map(|f| &self.causes[f.cause].touches);
        let mut touched: Vec<u32> = touches.map(|t| t.cell).collect();
        touched.sort_unstable();
        touched.dedup();
        let mut beside = Beside::new(self, faults);
        let (mut cells, mut ways) = (calm.cells.modelled(), calm.ways.modelled());
        for cell in touched {
            let place = cell as usize;
            let suspects = (
                calm.cells.place(place),
                calm.ways.place(self.cells[place].kin as usize),
            );
            if suspects == (None, None) {
                continue;
            }
            let modelled = beside.log_likelihood(place);
            if let Some(suspect) = suspects.0 {
                cells[suspect] = modelled;
            }
            if let Some(suspect) = suspects.1 {
                ways[suspect] += modelled - calm.modelled[place];
            }
        }
        let mut both = LogSum::default();
        both.add(calm.cells.log_mean(&cells));
        both.add(calm.ways.log_mean(&ways));
        both.value() - libm::log(2.0)
    }

    /// Logarithm of the probability of who served, where answers told, as the balancer chooses while all is well.
    fn served_share(&self, cell: &Cell) -> f64 {
        let outcomes = self.outcomes(cell).iter();
        let told = outcomes.filter(|outcome| outcome.server.is_some());
        told.map(|outcome| {
            let draw = Draw::new(self.ways(cell), outcome.kept);
            let ways = self.ways(cell).iter().filter(|way| may_serve(way, outcome));
            let share: f64 = ways.map(|way| draw.weight(way)).sum();
            outcome.total * libm::log(share.max(1e-6))
        })
        .sum()
    }
}

/// What the cells look like while nothing is at fault, each and by way.
#[derive(Default)]
pub(crate) struct Calm {
    /// Logarithms of the probabilities of all cells.
    modelled: Vec<f64>,
    cells: Touchable,
    /// By the number of their kin.
    ways: Touchable,
}

/// Sums over which of some pools are touched, for each way of rates and each share.
type Totals = [[f64; TOUCHED.len()]; WAYS];

/// Pools some of which something unknown may have touched.
#[derive(Default)]
struct Touchable {
    /// Those with failures.
    suspects: Vec<Suspect>,
    /// The suspect, if it is one, by pool; one more than its place.
    places: Vec<u32>,
    /// How many have no failure, by trials, whose bits sort as the numbers do.
    clean: BTreeMap<u64, f64>,
    /// Sums over those without failures.
    totals: Totals,
}

/// A gain so high is that of what is touched for certain, in nats, and more does not count.
const CERTAIN: f64 = 60.0;
const MOST: f64 = 500.0;
/// Factors that are multiplied before it is seen to it that the product stays finite.
const FINITE: usize = 4;

impl Touchable {
    fn push(&mut self, pool: &Pool) {
        if pool.failed > 0.0 {
            self.suspects.push(Suspect {
                free: pool.free(),
                modelled: pool.modelled,
            });
            self.places.push(index32(self.suspects.len()));
        } else {
            *self.clean.entry(pool.trials.to_bits()).or_default() += 1.0;
            self.places.push(0);
        }
    }

    /// The suspect that a pool is.
    fn place(&self, pool: usize) -> Option<usize> {
        (self.places[pool] as usize).checked_sub(1)
    }

    /// Logarithms of the probabilities of all suspects.
    fn modelled(&self) -> Vec<f64> {
        self.suspects.iter().map(|s| s.modelled).collect()
    }

    /// Adds those without failures to the totals: at low rates, what is touched may go on passing.
    fn add_clean(&mut self) {
        let passing = |rate: f64, trials: u64| libm::pow(1.0 - rate, f64::from_bits(trials));
        for (trials, count) in &self.clean {
            for (way, totals) in self.totals.iter_mut().enumerate() {
                let ratio = if way == 0 {
                    0.0
                } else {
                    passing(RATES[way - 1], *trials)
                };
                for (total, touched) in totals.iter_mut().zip(TOUCHED) {
                    *total += count * libm::log1p(-touched * (1.0 - ratio));
                }
            }
        }
    }

    /// Logarithm of the mean over shares and ways, where the faults make the suspects so probable.
    fn log_mean(&self, modelled: &[f64]) -> f64 {
        let mut totals = self.totals;
        let mut products = [[1.0; TOUCHED.len()]; WAYS];
        let log_touched = TOUCHED.map(libm::log);
        for (suspects, modelled) in self.suspects.chunks(FINITE).zip(modelled.chunks(FINITE)) {
            for (suspect, modelled) in suspects.iter().zip(modelled) {
                let gains = suspect.free.map(|free| free - modelled);
                let ratios = gains.map(|gain| exp_of_moderate(gain.clamp(-CERTAIN, CERTAIN)));
                for (way, gain) in gains.into_iter().enumerate() {
                    if gain < CERTAIN {
                        let factors = products[way].iter_mut().zip(TOUCHED);
                        factors.for_each(|(product, t)| *product *= 1.0 - t + t * ratios[way]);
                    } else {
                        let sums = totals[way].iter_mut().zip(log_touched);
                        sums.for_each(|(total, log)| *total += gain.min(MOST) + log);
                    }
                }
            }
            let products = products.iter_mut().flatten();
            for (product, total) in products.zip(totals.iter_mut().flatten()) {
                if !(1e-100..1e100).contains(product) {
                    *total += libm::log(*product);
                    *product = 1.0;
                }
            }
        }
        let mut all = LogSum::default();
        for (way, (totals, products)) in totals.iter().zip(products).enumerate() {
            let prior = if way == 0 {
                OWN
            } else {
                (1.0 - OWN) / RATES.len() as f64
            };
            let pairs = totals.iter().zip(products);
            pairs.for_each(|(total, p)| all.add(total + libm::log(p) + libm::log(prior)));
        }
        all.value() - libm::log(TOUCHED.len() as f64)
    }
}

/// Logarithm of the probability of one particular sequence with `k` failures among `n` under a
/// Beta(1/2, 1/2) rate.
fn log_beta_binomial(k: f64, n: f64) -> f64 {
    libm::lgamma(k + 0.5) + libm::lgamma(n - k + 0.5)
        - libm::lgamma(n + 1.0)
        - 2.0 * libm::lgamma(0.5)
}
