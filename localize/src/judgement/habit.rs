//! How a fault shows itself, drawn once for all its failures: Dirichlet-multinomial laws about the signature
//! of its mode (Minka 2000, "Estimating a Dirichlet distribution").

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use crate::engine::law::LogSum;
use crate::world::signature::{Distribution, Signatures, makes, view};
use crate::world::symptom::Symptom;

/// As many failures as a table's word weighs on how a fault shows itself: one that always shows in the same
/// way, and the table says in how many of its mode's faults it is which, is as probable as one that does so
/// now in one way and now in another.
const WORDS: [f64; 2] = [0.2, 2.0];

/// As many failures as a table's word weighs on how much of it is what the mode makes at all: what proxies
/// make of a slow answer is now and then an error, and of a hundred slow answers none need be.
const MADE: f64 = 5.0;

/// A mode that both fails probes and makes them late does so in at least this share of each.
const BOTH: f64 = 0.2;
/// One that fails probes and makes late no more than this share of them need not make any late.
const INCIDENTAL: f64 = 0.06;

/// A fault that goes on, or is there again, shows as it did with this probability.
pub(crate) const AS_BEFORE: f64 = 0.95;
/// What was seen of it before weighs as so many failures at most.
const REMEMBERED: f64 = 10.0;

/// How a cause shows itself.
pub(crate) struct Drawn {
    /// By the signature of all that has its place.
    pub(crate) signatures: BTreeMap<u16, Distribution>,
    /// Whether that is how it showed before.
    pub(crate) as_before: bool,
}

/// How a cause shows itself of which this was seen, by signature: as it did before, where that is likelier
/// than anew.
pub(crate) fn drawn(
    seen: &BTreeMap<u16, Distribution>,
    before: Option<&BTreeMap<u16, Distribution>>,
    signatures: &Signatures,
) -> Drawn {
    let draw = |before: &BTreeMap<u16, Distribution>| -> BTreeMap<u16, Distribution> {
        let own = seen.iter().filter_map(|(signature, seen)| {
            let table = signatures.all()[usize::from(*signature)]?;
            let makes = makes(view(usize::from(*signature)));
            let drawn = accustomed(&table, makes, seen, before.get(signature));
            Some((*signature, drawn))
        });
        own.collect()
    };
    let fresh = draw(&BTreeMap::new());
    let known = before.filter(|before| seen.keys().any(|s| before.contains_key(s)));
    let again = known.map(draw).filter(|again| {
        let gains = again.iter().zip(fresh.values());
        let gains = gains.map(|((s, again), fresh)| likelier(again, fresh, &seen[s]));
        gains.sum::<f64>() + libm::log(AS_BEFORE / (1.0 - AS_BEFORE)) >= 0.0
    });
    Drawn {
        as_before: again.is_some(),
        signatures: again.unwrap_or(fresh),
    }
}

/// A distribution whose product over what was seen is the probability of that when how the fault shows
/// itself is drawn once, from a Dirichlet law about the table, and not for each probe anew: every further
/// one of the same symptom is less of a surprise. Failures are drawn among failures, and how late the late
/// ones are among those, but where a mode does both, or next to nothing of one of them: what loses packets fails all
/// probes when it loses most of them, and hardly any when it loses few. What a mode hardly shows stays as improbable as it is.
/// `makes` is from which probability on a symptom is one that the mode makes, `before` what was seen of the same
/// fault at another time, where it shows as it did then.
fn accustomed(
    table: &Distribution,
    makes: f64,
    seen: &Distribution,
    before: Option<&Distribution>,
) -> Distribution {
    let mut drawn = *table;
    let made = |s: &&Symptom| table[**s as usize] > makes;
    let sum = |of: &[&Symptom], values: &Distribution| -> f64 {
        of.iter().map(|s| values[**s as usize]).sum()
    };
    let all: Vec<&Symptom> = Symptom::ALL.iter().filter(made).collect();
    let (lateness, failures): (Vec<&Symptom>, Vec<&Symptom>) =
        all.iter().partition(|s| s.is_late());
    let whole: f64 = table.iter().sum();
    let many = sum(&all, seen);
    // How much of it is what the mode makes at all.
    let share = mean_log(MADE * sum(&all, table) / whole, many) - mean_log(MADE, many);
    let (late, failed) = (sum(&lateness, table), sum(&failures, table));
    let together = late.min(failed) >= BOTH * whole || late <= INCIDENTAL * whole;
    let groups = if together {
        vec![all.clone()]
    } else {
        vec![lateness, failures]
    };
    for group in groups {
        let part = sum(&group, table) / sum(&all, table) * whole;
        for (symptom, own) in drawn_once(&group, table, seen, before) {
            drawn[symptom as usize] = part * libm::exp(share + own);
        }
    }
    drawn
}

/// By how much likelier, as a logarithm, one distribution makes what was seen than another one does.
fn likelier(one: &Distribution, other: &Distribution, seen: &Distribution) -> f64 {
    let terms = one.iter().zip(other).zip(seen);
    let terms = terms.filter(|((one, other), n)| **n > 0.0 && one.min(**other) > 0.0);
    terms
        .map(|((one, other), n)| n * libm::log(one / other))
        .sum()
}

/// The laws by which a fault may show itself, each with its probability and the parameters of its symptoms.
fn laws(table: &[f64], before: Option<&[f64]>) -> Vec<(f64, Vec<f64>)> {
    let mass: f64 = table.iter().sum();
    let about = |word: f64| table.iter().map(move |p| word * p / mass);
    let known = before.map_or(0.0, |before| before.iter().sum());
    let Some(before) = before.filter(|_| known > 0.0) else {
        let share = 1.0 / WORDS.len() as f64;
        return WORDS.map(|word| (share, about(word).collect())).to_vec();
    };
    let scale = REMEMBERED.min(known) / known;
    let drawn = about(WORDS[0]).zip(before).map(|(own, n)| own + scale * n);
    vec![(1.0, drawn.collect())]
}

/// Mean logarithms of what each symptom of a group has for its probability, over all laws by which a fault
/// may show itself: those of [`WORDS`] about the table, or the one about how it did before.
fn drawn_once(
    group: &[&Symptom],
    table: &Distribution,
    seen: &Distribution,
    before: Option<&Distribution>,
) -> Vec<(Symptom, f64)> {
    let of = |values: &Distribution| -> Vec<f64> {
        group.iter().map(|s| values[**s as usize]).collect()
    };
    let (table, seen) = (of(table), of(seen));
    let before = before.map(of);
    let many: f64 = seen.iter().sum();
    let drawn: Vec<(f64, Vec<f64>)> = laws(&table, before.as_deref())
        .into_iter()
        .map(|(weight, law)| {
            let all = mean_log(law.iter().sum(), many);
            let own = law
                .iter()
                .zip(&seen)
                .map(|(from, n)| mean_log(*from, *n) - all);
            let own: Vec<f64> = own.collect();
            let total: f64 = own.iter().zip(&seen).map(|(own, n)| own * n).sum();
            (libm::log(weight) + total, own)
        })
        .collect();
    // The mixture of all, spread over what was seen as in the law that explains it best.
    let mut sum = LogSum::default();
    drawn.iter().for_each(|(total, _)| sum.add(*total));
    let best = drawn.into_iter().max_by(|a, b| a.0.total_cmp(&b.0));
    let Some((_, own)) = best else {
        return Vec::new();
    };
    let explained: f64 = own.iter().zip(&seen).map(|(own, n)| own * n).sum();
    let gain = (sum.value() - explained) / many.max(1.0);
    group
        .iter()
        .zip(own)
        .map(|(s, own)| (**s, own + gain))
        .collect()
}

/// Mean of ln(from), ln(from + 1) and so on, of so many; of the next one alone where there are none.
fn mean_log(from: f64, many: f64) -> f64 {
    match many > 0.0 {
        true => (libm::lgamma(from + many) - libm::lgamma(from)) / many,
        false => libm::log(from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAKES: f64 = 0.04;

    /// A distribution, or counts, of some symptoms.
    fn of(some: &[(Symptom, f64)]) -> Distribution {
        let mut all = [0.0; Symptom::COUNT];
        for (symptom, value) in some {
            all[*symptom as usize] = *value;
        }
        all
    }

    /// The logarithm of the probability of everything seen.
    fn total(drawn: &Distribution, seen: &Distribution) -> f64 {
        let terms = drawn.iter().zip(seen).filter(|(_, n)| **n > 0.0);
        terms.map(|(p, n)| n * libm::log(*p)).sum()
    }

    /// Three of one sort and two of another, one after the other, each drawn in proportion to its share of
    /// the word and to how often it came.
    fn chain(word: f64, shares: [f64; 2]) -> f64 {
        let [first, second] = shares.map(|share| word * share);
        let above = [first, first + 1.0, first + 2.0, second, second + 1.0];
        let below = (0..5).map(|before| word + f64::from(before));
        above.iter().zip(below).map(|(a, b)| a / b).product()
    }

    #[test]
    fn what_goes_on_shows_as_before_or_is_another() {
        let signatures = Signatures::new();
        // A mode that shows itself in two ways.
        let ways = |d: &Distribution| -> Vec<Symptom> {
            let often = Symptom::ALL.iter().filter(|s| d[**s as usize] > 0.1);
            often.copied().collect()
        };
        let places = signatures.all().iter().enumerate();
        let mut places = places.filter_map(|(place, d)| Some((place, ways(d.as_ref()?))));
        let (place, ways) = places
            .find(|(_, ways)| ways.len() > 1)
            .expect("one of them");
        let place = u16::try_from(place).expect("few signatures");
        let seen = |symptom, n| BTreeMap::from([(place, of(&[(symptom, n)]))]);
        let now = seen(ways[0], 100.0);
        let anew = drawn(&now, None, &signatures);
        let again = drawn(&now, Some(&seen(ways[0], 40.0)), &signatures);
        let other = drawn(&now, Some(&seen(ways[1], 40.0)), &signatures);
        assert!(again.as_before && !other.as_before && !anew.as_before);
        assert_eq!(other.signatures, anew.signatures);
        let gain = total(&again.signatures[&place], &now[&place]);
        assert!(gain > total(&anew.signatures[&place], &now[&place]) + 0.5);
        // What nothing was seen of may go on.
        let silent = drawn(&seen(ways[0], 0.0), Some(&now), &signatures);
        assert!(silent.as_before);
    }

    #[test]
    fn a_habit_is_surprising_but_once() {
        use Symptom::{Closed, HttpTimeout, Reset, Slow, Truncated};
        let table = of(&[(Truncated, 0.5), (Reset, 0.3), (Closed, 0.2)]);
        let seen = of(&[(Truncated, 3.0), (Reset, 2.0)]);
        let mean = WORDS.map(|word| 0.5 * chain(word, [0.5, 0.3]));
        let expected = libm::log(mean.iter().sum());
        let own = total(&accustomed(&table, MAKES, &seen, None), &seen);
        assert!((own - expected).abs() < 1e-9, "{own} {expected}");
        // A thousand of one sort cost about what the table says of the first one.
        let seen = of(&[(Reset, 1000.0)]);
        let drawn = accustomed(&table, MAKES, &seen, None);
        let own = total(&drawn, &seen);
        assert!((-4.0..-1.2).contains(&own), "{own}");
        assert_eq!(drawn[Slow as usize], 0.0);
        // So it is with whether it fails probes, or makes them late.
        let table = of(&[(Slow, 0.5), (HttpTimeout, 0.47), (Reset, 0.03)]);
        let seen = of(&[(Slow, 40.0)]);
        assert!(total(&accustomed(&table, MAKES, &seen, None), &seen) > -10.0);
        // One that makes few late need not make any, and each failure of another sort is no less probable for that.
        let table = of(&[(Reset, 0.95), (Slow, 0.05)]);
        let seen = of(&[(Reset, 600.0)]);
        assert!(total(&accustomed(&table, MAKES, &seen, None), &seen) > -5.0);
        // What it hardly shows is as rare the tenth time as the first.
        let table = of(&[(Slow, 0.5), (HttpTimeout, 0.47), (Reset, 0.03)]);
        let seen = of(&[(Slow, 40.0), (Reset, 10.0)]);
        let drawn = accustomed(&table, MAKES, &seen, None);
        assert!((drawn[Reset as usize] - 0.03).abs() < 1e-9);
    }
}
