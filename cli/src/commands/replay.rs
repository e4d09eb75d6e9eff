//! `meshctl replay`: the heart alone, on a case from a file.

use std::fs;
use std::path::Path;

use localize::Case;

use crate::exit::Exit;
use crate::output::Output;
use crate::render;
use crate::trouble::Trouble;

pub fn run(file: &Path, output: &Output) -> Result<Exit, Trouble> {
    let text = fs::read_to_string(file).map_err(|source| Trouble::Read {
        path: file.to_owned(),
        source,
    })?;
    let case: Case = serde_json::from_str(&text).map_err(|source| Trouble::NotACase {
        path: file.to_owned(),
        source,
    })?;
    let verdict = localize::localize(&case).verdict;
    output.print(&verdict, || render::verdict(&verdict, output.style()))?;
    Ok(verdict.outcome.into())
}
