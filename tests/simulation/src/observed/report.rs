//! Many scored cases as a table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::score::{Blame, Fate, NAMED, Scored};

/// Figures of a group of cases.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Cases.
    pub cases: usize,
    /// Faults that were there and could be seen.
    pub seen: usize,
    /// Of these, named.
    pub found: usize,
    /// Of these, by their mode as well.
    pub in_mode: usize,
    /// Undeclared ones among the candidates.
    pub open: usize,
    /// Declared ones among the candidates.
    pub listed: usize,
    /// Named wrongly that had been at fault.
    pub over: usize,
    /// Named wrongly that never were.
    pub innocent: usize,
    /// Cases with any of these two.
    pub blaming: usize,
    /// Cases without anything to be seen, of these called healthy, of these with somebody named.
    pub well: (usize, usize, usize),
    /// Cases called healthy although something could be seen.
    pub overlooked: usize,
    /// Sum over the cases of what [`Scored::brier`] says.
    pub brier: f64,
    /// Everything said.
    pub said: Vec<(f64, bool)>,
    /// Seconds to the verdict: of hard faults that were found, of other cases with faults, of well cases.
    pub took: [Vec<f64>; 3],
}

impl Figures {
    /// Adds up.
    #[must_use]
    pub fn new<'a>(cases: impl IntoIterator<Item = &'a Scored>) -> Self {
        let mut figures = Self::default();
        for case in cases {
            figures.add(case);
        }
        for took in &mut figures.took {
            took.sort_by(f64::total_cmp);
        }
        figures
    }

    fn add(&mut self, case: &Scored) {
        self.cases += 1;
        for present in &case.present {
            match present.fate {
                Fate::Found { in_mode } => {
                    self.found += 1;
                    self.in_mode += usize::from(in_mode);
                }
                Fate::Open => self.open += 1,
                Fate::Listed => self.listed += 1,
                Fate::Missed => {}
                Fate::Unseen => continue,
            }
            self.seen += 1;
        }
        let over = case
            .wrong
            .iter()
            .filter(|(_, blame)| *blame == Blame::Over)
            .count();
        self.over += over;
        self.innocent += case.wrong.len() - over;
        self.blaming += usize::from(!case.wrong.is_empty());
        let healthy = usize::from(case.outcome == "healthy");
        if case.is_well() {
            self.well.0 += 1;
            self.well.1 += healthy;
            self.well.2 += usize::from(!case.wrong.is_empty());
        } else {
            self.overlooked += healthy;
        }
        self.brier += case.brier;
        self.said.extend(&case.said);
        let all_hard = case.present.iter().all(|p| p.hard);
        let found = case
            .present
            .iter()
            .any(|p| matches!(p.fate, Fate::Found { .. }));
        let kind = match (case.is_well(), all_hard && found) {
            (true, _) => 2,
            (false, true) => 0,
            (false, false) => 1,
        };
        self.took[kind].push(case.took_s);
    }

    /// Share of what was named that was at fault.
    #[must_use]
    pub fn precision(&self) -> f64 {
        share(self.found, self.found + self.over + self.innocent)
    }

    /// Share of what was at fault that was named, without what is open.
    #[must_use]
    pub fn recall(&self) -> f64 {
        share(self.found, self.seen - self.open)
    }

    /// Their harmonic mean.
    #[must_use]
    pub fn f1(&self) -> f64 {
        let wrong = self.over + self.innocent;
        share(2 * self.found, self.found + wrong + self.seen - self.open)
    }

    /// The same where candidates with a question are open for declared parts, too.
    #[must_use]
    pub fn lenient_f1(&self) -> f64 {
        let wrong = self.over + self.innocent;
        let open = self.open + self.listed;
        share(2 * self.found, self.found + wrong + self.seen - open)
    }

    /// Expected calibration error over ten bins (Naeini et al., AAAI 2015).
    #[must_use]
    pub fn ece(&self) -> f64 {
        let all = self.said.len() as f64;
        self.bins()
            .iter()
            .map(|(count, said, came)| count / all * (said - came).abs())
            .sum()
    }

    /// How often something was said, its mean and the share that was so, by tenths.
    #[must_use]
    pub fn bins(&self) -> [(f64, f64, f64); 10] {
        let mut bins = [(0.0, 0.0, 0.0); 10];
        for (probability, so) in &self.said {
            let place = (1..10)
                .filter(|edge| *probability >= f64::from(*edge) / 10.0)
                .count();
            bins[place].0 += 1.0;
            bins[place].1 += probability;
            bins[place].2 += f64::from(u8::from(*so));
        }
        for (count, said, came) in bins.iter_mut().filter(|bin| bin.0 > 0.0) {
            *said /= *count;
            *came /= *count;
        }
        bins
    }

    fn row(&self, name: &str) -> String {
        let each = |count: usize| count as f64 / self.cases.max(1) as f64;
        let median = |took: &[f64]| {
            took.get(took.len() / 2)
                .map_or("-".to_owned(), |s| format!("{s:.0}"))
        };
        format!(
            "| {name} | {} | {} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} | {} of {} | {} | {:.3} | {:.3} | {} | {} | {} |\n",
            self.cases,
            self.seen,
            self.f1(),
            self.precision(),
            self.recall(),
            self.lenient_f1(),
            share(self.in_mode, self.found),
            each(self.over),
            each(self.innocent),
            each(self.blaming),
            self.well.1,
            self.well.0,
            self.well.2,
            self.ece(),
            self.brier / self.cases.max(1) as f64,
            median(&self.took[0]),
            median(&self.took[1]),
            median(&self.took[2]),
        )
    }
}

fn share(of: usize, all: usize) -> f64 {
    if all == 0 {
        1.0
    } else {
        of as f64 / all as f64
    }
}

/// All cases, and broken down by every trait.
#[must_use]
pub fn table(cases: &[Scored]) -> String {
    let mut text = String::from(
        "| cases | number | faults seen | F1 | precision | recall | F1, candidates open | in the right mode | over, a case | innocent, a case | cases with a false blame | healthy of well | alarms | ECE | Brier | s, hard | s, others | s, well |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    text.push_str(&Figures::new(cases).row("all"));
    let mut groups: BTreeMap<(usize, &str, &str), Vec<&Scored>> = BTreeMap::new();
    for case in cases {
        for (order, (name, value)) in case.traits.iter().enumerate() {
            groups.entry((order, name, value)).or_default().push(case);
        }
    }
    for ((_, name, value), group) in groups {
        text.push_str(&Figures::new(group).row(&format!("{name}: {value}")));
    }
    text
}

/// What was said against what was so.
#[must_use]
pub fn calibration(cases: &[Scored]) -> String {
    let figures = Figures::new(cases);
    let mut text = String::from("| said | times | mean said | was so |\n|---|---|---|---|\n");
    for (place, (count, said, came)) in figures.bins().iter().enumerate() {
        let low = place as f64 / 10.0;
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "| {low:.1} to {:.1} | {count} | {said:.3} | {came:.3} |",
            low + 0.1
        );
    }
    text
}

/// By how often a fault showed, and of what course it was: how many were found.
#[must_use]
pub fn strikes(cases: &[Scored]) -> String {
    let mut text = String::from(
        "| probes in which it showed | hard, found of seen | others |\n|---|---|---|\n",
    );
    let seen = || {
        let all = cases.iter().flat_map(|case| &case.present);
        all.filter(|present| present.fate != Fate::Unseen && present.fate != Fate::Open)
    };
    for (low, high) in [
        (1, 2),
        (3, 5),
        (6, 10),
        (11, 30),
        (31, 100),
        (101, u32::MAX),
    ] {
        let row = |hard: bool| {
            let all = seen().filter(|p| p.hard == hard && (low..=high).contains(&p.struck));
            let found = |p: &&super::score::Present| matches!(p.fate, Fate::Found { .. });
            let all: Vec<_> = all.collect();
            format!(
                "{} of {}",
                all.iter().filter(|p| found(p)).count(),
                all.len()
            )
        };
        let range = if high == u32::MAX {
            format!("{low} and more")
        } else {
            format!("{low} to {high}")
        };
        let _ = writeln!(text, "| {range} | {} | {} |", row(true), row(false));
    }
    text
}

/// By kind and mode of what was there: seen, found, found in its mode, open or listed; and what was named
/// in its place, most often first.
#[must_use]
pub fn modes(cases: &[Scored]) -> String {
    let mut rows: BTreeMap<(String, &str), [usize; 4]> = BTreeMap::new();
    for present in cases.iter().flat_map(|case| &case.present) {
        let kind = present
            .text
            .split(['(', ' '])
            .next()
            .unwrap_or_default()
            .to_owned();
        let row = rows.entry((kind, present.word)).or_default();
        match present.fate {
            Fate::Unseen => continue,
            Fate::Found { in_mode } => {
                row[1] += 1;
                row[2] += usize::from(in_mode);
            }
            Fate::Open | Fate::Listed => row[3] += 1,
            Fate::Missed => {}
        }
        row[0] += 1;
    }
    let mut text = String::from(
        "| part | mode | seen | found | in its mode | candidate |\n|---|---|---|---|---|---|\n",
    );
    for ((kind, word), [seen, found, in_mode, listed]) in rows {
        let _ = writeln!(
            text,
            "| {kind} | {word} | {seen} | {found} | {in_mode} | {listed} |"
        );
    }
    let mut blamed: BTreeMap<String, (usize, BTreeSet<u64>)> = BTreeMap::new();
    for case in cases {
        for (said, blame) in &case.wrong {
            let entry = blamed
                .entry(format!("{} {} ({blame:?})", said.kind, said.mode))
                .or_default();
            entry.0 += 1;
            entry.1.insert(case.seed);
        }
    }
    let mut blamed: Vec<_> = blamed.into_iter().collect();
    blamed.sort_by_key(|(_, (times, _))| std::cmp::Reverse(*times));
    let _ = writeln!(
        text,
        "\n| named wrongly at {NAMED} or above | times | seeds |\n|---|---|---|"
    );
    for (what, (times, seeds)) in blamed {
        let some: Vec<String> = seeds.iter().take(5).map(u64::to_string).collect();
        let _ = writeln!(text, "| {what} | {times} | {} |", some.join(" "));
    }
    text
}

/// A wrong case in a line.
#[must_use]
pub fn line(case: &Scored) -> String {
    let traits: Vec<&str> = case
        .traits
        .iter()
        .map(|(_, value)| value.as_str())
        .collect();
    let present: Vec<String> = case
        .present
        .iter()
        .map(|p| format!("{:?} {}", p.fate, p.text))
        .collect();
    format!(
        "{} ({}; {} past; {:.0} s, {} probes) TRUE [{}] SAID {}",
        case.seed,
        traits.join(", "),
        case.past,
        case.took_s,
        case.probes,
        present.join("; "),
        case.spoken
    )
}

/// Of faults that were seen, how many were found, and how many could have been.
#[must_use]
pub fn ceiling(known: &[(bool, super::ceiling::Known)]) -> String {
    let count = |test: &dyn Fn(&(bool, super::ceiling::Known)) -> bool| {
        known.iter().filter(|pair| test(pair)).count()
    };
    let found = count(&|(_, known)| known.is_found());
    let wrong = count(&|(_, known)| known.is_wrong());
    let recall = share(found, known.len());
    let precision = share(found, found + wrong);
    format!(
        "{} faults seen: {} found; with all else known {found} would be, {wrong} taken for others (precision {precision:.3}, recall {recall:.3}, F1 {:.3}); {} of these the engine did not find, {} it found although they would not be",
        known.len(),
        count(&|(found, _)| *found),
        share(2 * found, found + wrong + known.len()),
        count(&|(found, known)| !found && known.is_found()),
        count(&|(found, known)| *found && !known.is_found()),
    )
}
