//! `meshctl completion`: the lines by which a shell asks this program what may come next.

use std::path::PathBuf;

use clap_complete::env::Shells;

use crate::args::Shell;
use crate::exit::Exit;
use crate::output::Output;
use crate::trouble::Trouble;

/// The variable by which a shell says that it asks.
const ASKS: &str = "COMPLETE";

pub fn run(shell: Shell, output: &Output) -> Result<Exit, Trouble> {
    let name = match shell {
        Shell::Bash => "bash",
        Shell::Elvish => "elvish",
        Shell::Fish => "fish",
        Shell::Powershell => "powershell",
        Shell::Zsh => "zsh",
    };
    // It may not be in the search path under its own name.
    let program = std::env::current_exe().unwrap_or(PathBuf::from("meshctl"));
    let program = program.to_string_lossy();
    let mut script = Vec::new();
    if let Some(shell) = Shells::builtins().completer(name) {
        let written = shell.write_registration(ASKS, "meshctl", "meshctl", &program, &mut script);
        written.map_err(Trouble::Output)?;
    }
    output.text(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Ok)
}
