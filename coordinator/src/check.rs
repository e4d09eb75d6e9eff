//! What does not hold of a service file, from what a check of it has seen: pure.
//!
//! A target that nobody reaches may be a mistake in the file as well as the fault that somebody looks for,
//! and no probe tells which. Such findings are warnings in words of doubt. An error is what cannot work
//! whatever the state of the service, and a note what was not probed, or is worth knowing.

mod answers;
mod names;
mod reading;
mod seats;
mod targets;
#[cfg(test)]
mod tests;
mod words;

use localize::Failure;

use crate::engine::Checked;
use crate::service_file::{Declaration, Declarations};

pub use self::reading::Tried;
use self::reading::{Row, rows};

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// Something was not probed, or is worth knowing.
    Note,
    /// It did not work just now, which may be a fault as well as a mistake in the file.
    Warning,
    /// It cannot work as the file says it.
    Error,
}

/// Something that does not hold of a service file, or was not probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How grave it is.
    pub grade: Grade,
    /// What of the file it is about; `None` where it is about no line of it.
    pub at: Option<Declaration>,
    /// What happened, in sentences.
    pub what: String,
    /// What to do next.
    pub next: String,
    /// From where it was seen.
    pub vantages: Vec<String>,
    /// The arm, where it is about one.
    pub arm: String,
    /// How that failed, where it failed in one way.
    pub failure: Option<Failure>,
}

/// What a check has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// In the order of the file, those about no line of it last.
    pub findings: Vec<Finding>,
    /// What became of each arm, in the order of a request's way.
    pub arms: Vec<Tried>,
}

/// What a check has found.
#[must_use]
pub fn report(checked: &Checked) -> Report {
    let scene = Scene::of(checked);
    let mut findings = seats::findings(&scene);
    findings.extend(names::findings(&scene));
    findings.extend(answers::findings(&scene));
    findings.extend(targets::findings(&scene));
    // A place that is found twice keeps the order of the request's way.
    findings.sort_by_key(|f| f.at.as_ref().map_or(usize::MAX, |at| at.line));
    Report {
        findings,
        arms: rows(checked).iter().map(Row::tried).collect(),
    }
}

/// What the findings are made from.
struct Scene<'c> {
    checked: &'c Checked,
    places: Declarations<'c>,
    /// Without the vantage points that got no answer from anything.
    rows: Vec<Row<'c>>,
    /// Those vantage points.
    lost: Vec<String>,
    /// Most requests to public addresses are answered as they should.
    served: bool,
}

impl<'c> Scene<'c> {
    fn of(checked: &'c Checked) -> Self {
        let mut rows = rows(checked);
        let lost = reading::lost(&rows);
        for row in &mut rows {
            row.spots.retain(|spot| !lost.contains(&spot.vantage.0));
        }
        rows.retain(|row| !row.spots.is_empty());
        let public = |row: &&Row<'_>| reading::is_public(row, &checked.topology);
        let (mut passed, mut fired) = (0, 0);
        for row in rows.iter().filter(public) {
            passed += row.passed().count();
            fired += row.passed().count() + row.failed().count();
        }
        Self {
            places: Declarations::of(&checked.toml),
            served: passed > 0 && passed * 2 >= fired,
            checked,
            rows,
            lost,
        }
    }

    /// The sentence that leaves it open whether the file or the service is wrong.
    fn doubt(&self) -> String {
        let name = &self.checked.file.name;
        match self.checked.applied {
            true => {
                format!("If the file is right, `meshctl localize {name}` tells what is broken.")
            }
            false => format!(
                "If the file is right, apply it, and `meshctl localize {name}` tells what is broken."
            ),
        }
    }
}

impl Finding {
    fn new(grade: Grade, at: Option<Declaration>, what: String, next: String) -> Self {
        Self {
            grade,
            at,
            what,
            next,
            vantages: Vec::new(),
            arm: String::new(),
            failure: None,
        }
    }
}
