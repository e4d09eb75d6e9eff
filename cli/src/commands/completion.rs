//! `meshctl completion`.

use clap::CommandFactory;

use crate::args::Args;
use crate::exit::Exit;
use crate::output::Output;
use crate::trouble::Trouble;

pub fn run(shell: clap_complete::Shell, output: &Output) -> Result<Exit, Trouble> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "meshctl", &mut script);
    output.text(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Ok)
}
