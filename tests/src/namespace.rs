//! Network namespaces that carry their owner's process number in their names, so that two runs do
//! not meet and whatever a killed run left can be told and removed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::clock;
use crate::shell;

/// What every namespace of every lab starts with.
const MARK: &str = "mlab";
/// Where `ip netns exec` finds files that replace those of /etc.
const ETC_NETNS: &str = "/etc/netns";

/// The names that belong to one run of the lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    owner: u32,
}

impl Run {
    /// The names of this process.
    pub fn mine() -> Run {
        Run {
            owner: std::process::id(),
        }
    }

    /// The namespace of a host of the topology.
    pub fn namespace(&self, host: &str) -> String {
        format!("{MARK}{}-{host}", self.owner)
    }

    /// The folder for configuration, logs and data of this run.
    pub fn folder(&self) -> PathBuf {
        std::env::temp_dir().join(format!("{MARK}{}", self.owner))
    }

    /// The folder of files that stand in for /etc on a host.
    pub fn etc(&self, host: &str) -> PathBuf {
        Path::new(ETC_NETNS).join(self.namespace(host))
    }

    /// A command that will run on a host of the topology, and dies with the thread that started it.
    pub fn command(&self, host: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.namespace(host)])
            .args(["setpriv", "--pdeathsig", "KILL", "--"])
            .arg(program);
        command
    }

    /// Ends every process in this run's namespaces and removes them with all files. Does nothing
    /// that is done already, and goes on when a part fails.
    pub fn remove(&self) {
        let start = format!("{MARK}{}-", self.owner);
        let mine: Vec<String> = namespaces()
            .into_iter()
            .filter(|name| name.starts_with(&start))
            .collect();
        for name in &mine {
            end_processes(name);
        }
        for name in &mine {
            let _ = shell::ip(&format!("netns del {name}"));
            let _ = fs::remove_dir_all(Path::new(ETC_NETNS).join(name));
        }
        let _ = fs::remove_dir(ETC_NETNS);
        let _ = fs::remove_dir_all(self.folder());
    }

    fn alive(&self) -> bool {
        fs::read_to_string(format!("/proc/{}/comm", self.owner))
            .is_ok_and(|name| name.trim().starts_with("lab"))
    }
}

/// Removes what runs left whose process is gone; gives how many runs that were.
pub fn remove_stale() -> usize {
    let mut owners: Vec<u32> = namespaces().iter().filter_map(|n| owner_of(n)).collect();
    if let Ok(entries) = fs::read_dir(std::env::temp_dir()) {
        let names = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        owners.extend(names.filter_map(|name| name.strip_prefix(MARK)?.parse::<u32>().ok()));
    }
    owners.sort_unstable();
    owners.dedup();
    let stale: Vec<Run> = owners
        .into_iter()
        .map(|owner| Run { owner })
        .filter(|run| !run.alive())
        .collect();
    for run in &stale {
        run.remove();
    }
    stale.len()
}

/// Whether this process may make network namespaces; the reason when it may not.
pub fn possible() -> Result<()> {
    let probe = format!("{MARK}{}-probe", std::process::id());
    shell::ip(&format!("netns add {probe}")).context("network namespaces cannot be made here")?;
    shell::ip(&format!("netns del {probe}"))?;
    Ok(())
}

fn owner_of(namespace: &str) -> Option<u32> {
    namespace
        .strip_prefix(MARK)?
        .split('-')
        .next()?
        .parse()
        .ok()
}

fn namespaces() -> Vec<String> {
    let listed = shell::ip("netns list").unwrap_or_default();
    listed
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

fn processes(namespace: &str) -> Vec<Pid> {
    let listed = shell::ip(&format!("netns pids {namespace}")).unwrap_or_default();
    let numbers = listed.split_whitespace().filter_map(|n| n.parse().ok());
    numbers.map(Pid::from_raw).collect()
}

fn end_processes(namespace: &str) {
    // Processes may fork while the list is read, so the list is read until it is empty.
    clock::wait_until(Duration::from_secs(2), || {
        let left = processes(namespace);
        for pid in &left {
            let _ = kill(*pid, Signal::SIGKILL);
        }
        left.is_empty()
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_tells_its_owner() {
        let run = Run { owner: 4711 };
        assert_eq!(owner_of(&run.namespace("web1")), Some(4711));
        assert_eq!(owner_of("docker-web1"), None);
        assert_eq!(owner_of("mlabx-web1"), None);
    }

    #[test]
    fn this_process_counts_as_alive_under_its_own_name_alone() {
        assert!(!Run { owner: 0 }.alive());
    }
}
