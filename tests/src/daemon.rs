//! A process on a host of the topology.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::clock;

/// A process that is stopped when this value goes. Its output goes to a log file.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts a prepared command. The thread that does so must outlive the daemon, since the daemon
    /// dies with it (`PR_SET_PDEATHSIG`, prctl(2)).
    pub fn start(name: &str, mut command: Command, folder: &Path) -> Result<Daemon> {
        let log = folder.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Daemon {
            name: name.to_owned(),
            child,
            log,
        })
    }

    /// The process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The file that holds what it printed.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// An error with the end of the log when the process has ended.
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended with {status}: {}", self.name, self.log_end());
        }
        Ok(())
    }

    /// Waits until `ready` says yes.
    pub fn wait_ready(&mut self, ready: impl Fn() -> bool) -> Result<()> {
        let mut ended = Ok(());
        let up = clock::wait_until(Duration::from_secs(20), || {
            ended = self.check();
            ended.is_err() || ready()
        });
        ended?;
        if !up {
            bail!("{} is not ready: {}", self.name, self.log_end());
        }
        Ok(())
    }

    /// Asks the process to end, and makes it end when it has not after two seconds.
    pub fn stop(mut self) {
        self.end(Signal::SIGTERM);
    }

    /// Ends the process without asking (kill -9).
    pub fn kill(mut self) {
        self.end(Signal::SIGKILL);
    }

    fn end(&mut self, signal: Signal) {
        // Process numbers fit: the kernel's limit is 2^22.
        let Ok(pid) = i32::try_from(self.child.id()) else {
            return;
        };
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill(Pid::from_raw(pid), signal);
            let gone = || matches!(self.child.try_wait(), Ok(Some(_)) | Err(_));
            if !clock::wait_until(Duration::from_secs(2), gone) {
                let _ = self.child.kill();
            }
        }
        let _ = self.child.wait();
    }

    fn log_end(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end(Signal::SIGTERM);
    }
}
