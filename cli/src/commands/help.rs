//! `meshctl help` and `meshctl man`.

use std::fs;
use std::path::Path;

use clap::CommandFactory;

use crate::args::Args;
use crate::exit::{self, Exit};
use crate::output::Output;
use crate::trouble::Trouble;

pub fn run(words: &[String], output: &Output) -> Result<Exit, Trouble> {
    if words == ["exit-codes"] {
        output.text(exit::CODES)?;
        return Ok(Exit::Ok);
    }
    let mut command = Args::command();
    command.build();
    let mut named = &mut command;
    for word in words {
        named = named
            .find_subcommand_mut(word)
            .ok_or_else(|| Trouble::NoHelp(words.join(" ")))?;
    }
    output.text(&named.render_long_help().to_string())?;
    Ok(Exit::Ok)
}

/// Writes one page for the program and one for each command.
pub fn man(dir: &Path, output: &Output) -> Result<Exit, Trouble> {
    let failed = |source| Trouble::Write {
        path: dir.to_owned(),
        source,
    };
    fs::create_dir_all(dir).map_err(failed)?;
    clap_mangen::generate_to(Args::command(), dir).map_err(failed)?;
    output.say(&format!("The manual pages are in {}.", dir.display()));
    Ok(Exit::Ok)
}
