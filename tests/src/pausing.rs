//! Something that stops a process now and then, as a collector of garbage does: `lab pause`.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::daemon::Daemon;

/// From one stop to the next.
pub const EVERY: Duration = Duration::from_secs(30);
/// How long a stop lasts.
pub const LASTS: Duration = Duration::from_secs(2);

/// The settings of `lab pause`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
pub struct Pause {
    /// The process
    #[arg(long)]
    pub pid: i32,
}

/// A process that is stopped now and then for as long as this value lives, and goes on after it.
#[derive(Debug)]
pub struct Pauses {
    daemon: Option<Daemon>,
    pid: Pid,
}

impl Pauses {
    /// What a started `lab pause` does to a process.
    pub fn of(daemon: Daemon, pid: i32) -> Pauses {
        Pauses {
            daemon: Some(daemon),
            pid: Pid::from_raw(pid),
        }
    }
}

impl Drop for Pauses {
    fn drop(&mut self) {
        // It may be ended in the middle of a stop.
        self.daemon = None;
        let _ = kill(self.pid, Signal::SIGCONT);
    }
}

/// Stops the process again and again until it is killed itself.
pub fn serve(pause: Pause) -> Result<()> {
    let pid = Pid::from_raw(pause.pid);
    loop {
        kill(pid, Signal::SIGSTOP).context("stopping")?;
        std::thread::sleep(LASTS);
        kill(pid, Signal::SIGCONT).context("letting go on")?;
        std::thread::sleep(EVERY - LASTS);
    }
}
