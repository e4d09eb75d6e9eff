//! Meshes asked side by side, and what came of it: a line for people, a case to be replayed.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::expectation::{Expected, Judgement, judge};
use crate::fault::Fault;
use crate::mesh::{Localized, Mesh};
use crate::said::{Outcome, Said};
use crate::verdicts::{Setting, expected};

/// The file that says of each recorded case what was true: case, kind, name, mode, user impact, by
/// tabs; a line for each fault.
const TRUTHS: &str = "truth.tsv";

/// A question that was put to a mesh.
#[derive(Debug)]
pub struct Asked {
    /// What was broken.
    pub fault: Option<Fault>,
    /// What the mesh is given.
    pub setting: Setting,
    /// What it had to say.
    pub expected: Expected,
    /// What it said, or why it said nothing.
    pub answer: Result<(Localized, Judgement)>,
}

/// A folder for cases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    folder: PathBuf,
}

impl Asked {
    /// Whether it was as expected.
    pub fn passed(&self) -> bool {
        match &self.answer {
            Ok((_, judgement)) => judgement.passes(),
            Err(_) => false,
        }
    }

    /// The verdict.
    pub fn said(&self) -> Option<&Said> {
        let (localized, _) = self.answer.as_ref().ok()?;
        Some(&localized.said)
    }

    /// A line for people.
    pub fn line(&self) -> String {
        let name = self.fault.map_or("healthy", Fault::name);
        let head = format!("{name:<26} {}", self.setting.name());
        match &self.answer {
            Err(error) => format!("{head}  WRONG  {error:#}"),
            Ok((localized, judgement)) => {
                let said = &localized.said;
                let seconds = localized.took.as_secs_f64();
                let cost = format!("{seconds:>5.1} s {:>5} probes", said.probes);
                let got = in_words(said);
                match judgement {
                    Judgement::Right => format!("{head}  right  {cost}  {got}"),
                    Judgement::AmbiguousOk => format!("{head}  open   {cost}  {got}"),
                    Judgement::Wrong(why) => format!("{head}  WRONG  {cost}  {got}  [{why}]"),
                }
            }
        }
    }
}

impl Record {
    /// A folder, which is made.
    pub fn at(folder: &Path) -> Result<Record> {
        fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
        let folder = folder.canonicalize()?;
        Ok(Record { folder })
    }

    fn keep(&self, mesh: &Mesh, stem: &str, expected: &Expected, got: &Localized) -> Result<()> {
        let stem = format!("{stem}-{}", mesh.setting.name());
        let case = format!("{stem}.case.json");
        mesh.export_case(&got.said.id, &self.folder.join(&case))?;
        fs::write(self.folder.join(format!("{stem}.verdict.json")), &got.text)?;
        let truths = self.folder.join(TRUTHS);
        let mut truths = fs::File::options().create(true).append(true).open(truths)?;
        for row in rows(expected) {
            writeln!(truths, "{case}\t{row}")?;
        }
        Ok(())
    }
}

/// What was true, a row for each fault.
fn rows(expected: &Expected) -> Vec<String> {
    let truth = expected.truth();
    if truth.is_empty() {
        return vec!["healthy".to_owned()];
    }
    truth.iter().map(crate::expectation::Blame::row).collect()
}

/// Lets every mesh localise at the same time, prints a line for each, and keeps the cases under names
/// that begin with `stem`.
pub fn ask(
    meshes: &mut [Mesh],
    fault: Option<Fault>,
    record: Option<&Record>,
    stem: &str,
) -> Result<Vec<Asked>> {
    let answers: Vec<Result<Localized>> = std::thread::scope(|scope| {
        let runs: Vec<_> = meshes
            .iter()
            .map(|mesh| scope.spawn(|| mesh.localize()))
            .collect();
        let ended = runs.into_iter().map(|run| {
            run.join()
                .unwrap_or_else(|_| Err(anyhow::anyhow!("the localisation panicked")))
        });
        ended.collect()
    });
    let mut all = Vec::new();
    for (mesh, answer) in meshes.iter_mut().zip(answers) {
        mesh.check()?;
        let expected = expected(fault, mesh.setting);
        if let (Some(record), Ok(localized)) = (record, &answer) {
            record.keep(mesh, stem, &expected, localized)?;
        }
        let answer = answer.map(|localized| {
            let judgement = judge(&expected, &localized.said);
            (localized, judgement)
        });
        let asked = Asked {
            fault,
            setting: mesh.setting,
            expected,
            answer,
        };
        println!("{}", asked.line());
        all.push(asked);
    }
    Ok(all)
}

fn in_words(said: &Said) -> String {
    let mut text = match said.outcome {
        Outcome::Healthy => "healthy".to_owned(),
        Outcome::Fault => String::new(),
        Outcome::Inconclusive => "inconclusive".to_owned(),
    };
    for fault in &said.faults {
        let masked = if fault.user_impact { "" } else { " (masked)" };
        let _ = write!(
            text,
            "{}{:?} {} {} {:.3}{masked}",
            if text.is_empty() { "" } else { ", " },
            fault.kind,
            fault.name,
            fault.mode,
            fault.confidence,
        );
    }
    if said.outcome == Outcome::Inconclusive {
        for other in said.alternatives.iter().take(4) {
            let _ = write!(
                text,
                ", {:?} {} {} {:.2}?",
                other.kind, other.name, other.mode, other.confidence
            );
        }
        let _ = write!(
            text,
            ", unknown {:.2}, asks: {}",
            said.unknown,
            said.ask.join("; ")
        );
    }
    text
}
