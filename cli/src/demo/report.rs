//! What the demonstration prints.

use localize::Verdict;
use serde_json::{Value, json};

use super::fault::{Expected, Fault};
use crate::exit::Exit;
use crate::output::Output;
use crate::render::{self, Grid, Table};
use crate::trouble::Trouble;

/// One fault, what had to be said of it and what was said.
pub struct Trial {
    /// The fault.
    pub fault: Fault,
    /// What the verdict had to be.
    pub expected: Expected,
    /// What it was.
    pub verdict: Verdict,
}

impl Trial {
    /// Whether the verdict is the expected one.
    pub fn is_right(&self) -> bool {
        self.expected.is_met_by(&self.verdict)
    }

    fn judgement(&self) -> &'static str {
        if self.is_right() { "right" } else { "wrong" }
    }

    fn as_json(&self) -> Value {
        json!({
            "fault": self.fault.name(),
            "expected": self.expected.to_string(),
            "right": self.is_right(),
            "verdict": self.verdict,
        })
    }
}

/// The names of all faults.
pub fn list(output: &Output) -> Result<Exit, Trouble> {
    let value: Vec<Value> = Fault::ALL
        .iter()
        .map(|fault| json!({"name": fault.name(), "what": fault.what()}))
        .collect();
    output.print(&value, || {
        let mut table = Table::new(["FAULT", "WHAT IS BROKEN"]);
        for fault in Fault::ALL {
            table.row([fault.name().to_owned(), fault.what().to_owned()]);
        }
        table.text(output.grid())
    })?;
    Ok(Exit::Ok)
}

/// One trial of so many: in full where it is the only one or was wrong, in a line else.
pub fn one(trial: &Trial, of: usize, output: &Output) -> Result<(), Trouble> {
    if output.is_for_scripts() {
        return Ok(());
    }
    if of == 1 || !trial.is_right() {
        output.text(&format!(
            "\n{}",
            render::verdict(&trial.verdict, output.style())
        ))?;
    } else {
        output.text(&format!("{}\n", render::verdict_line(&trial.verdict)))?;
    }
    output.text(&format!(
        "expected: {} – {}\n",
        trial.expected,
        trial.judgement()
    ))
}

/// All trials, when they are over.
pub fn all(trials: &[Trial], output: &Output) -> Result<(), Trouble> {
    if output.is_for_scripts() {
        return match trials {
            [only] => output.value(&only.verdict),
            several => output.value(&several.iter().map(Trial::as_json).collect::<Vec<_>>()),
        };
    }
    if let [_] = trials {
        return Ok(());
    }
    // The wrong ones are printed in full already.
    if let Some(example) = trials.iter().rfind(|trial| trial.is_right()) {
        output.text(&format!(
            "\nOne of the verdicts in full:\n\n{}",
            render::verdict(&example.verdict, output.style())
        ))?;
    }
    output.text(&format!("\n{}", table(trials)))?;
    let right = trials.iter().filter(|trial| trial.is_right()).count();
    output.text(&format!("\n{right} of {} right.\n", trials.len()))
}

fn table(trials: &[Trial]) -> String {
    let mut table = Table::new(["FAULT", "VERDICT", "SURE", "SECONDS", ""]).numbers([2, 3]);
    for trial in trials {
        let sure = match trial.verdict.faults.first() {
            Some(fault) => render::percent(fault.confidence),
            None => String::new(),
        };
        let said = render::verdict_line(&trial.verdict)
            .replace(&format!(" {}", trial.verdict.service), "");
        table.row([
            trial.fault.name().to_owned(),
            said,
            sure,
            format!("{:.1}", trial.verdict.elapsed_ms as f64 / 1e3),
            trial.judgement().to_owned(),
        ]);
    }
    table.text(Grid::USUAL)
}
