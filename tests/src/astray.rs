//! A host whose clock can be set, while all namespaces share the machine's: libfaketime in front of what runs there.
//!
//! Programs there read the time of day from it; how long something takes they read from clocks that nobody
//! sets, as on a host whose clock was set wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::namespace::Run;

/// The host.
pub const HOST: &str = "home1";

/// As a clock stands whose battery is empty, from that instant on.
const LONG_AGO: &str = "@2019-12-01 00:00:00";
/// As the machine's stands.
const RIGHT: &str = "+0";

/// Sets the host's clock wrong, or right again.
pub fn set(run: &Run, wrong: bool) -> Result<()> {
    let file = file(run);
    let beside = file.with_extension("new");
    fs::write(&beside, if wrong { LONG_AGO } else { RIGHT })?;
    fs::rename(&beside, &file).with_context(|| format!("{}", file.display()))
}

/// A command that will run on the host and read the time from its clock.
pub fn command(run: &Run, program: &Path) -> Result<Command> {
    if !file(run).is_file() {
        set(run, false)?;
    }
    let library = library().context("libfaketime is not installed")?;
    let mut command = run.command(HOST, "env");
    command
        .arg(format!("LD_PRELOAD={}", library.display()))
        .arg(format!("FAKETIME_TIMESTAMP_FILE={}", file(run).display()))
        .args([
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
            "FAKETIME_CACHE_DURATION=1",
        ])
        .arg(program);
    Ok(command)
}

/// The library, wherever this architecture keeps it.
pub fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten();
    let places = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    places.into_iter().find(|place| place.is_file())
}

fn file(run: &Run) -> PathBuf {
    run.folder().join("clock-of-home1")
}
