//! `lab kill`: coordinator and agents are killed (kill -9) at random instants, again and again; then
//! nothing that was acknowledged may be missing, and nothing may be counted twice.
//!
//! Everything runs on loopback addresses, without root.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use localize::{Case, Outcome};
use rand::Rng;
use serde_json::Value;

use crate::daemon::Daemon;
use crate::mesh::programs;
use crate::namespace::Run;
use crate::shell;

/// The service that is watched meanwhile.
const SERVICE: &str = "kill.example";
/// The agents.
const AGENTS: [&str; 2] = ["a1", "a2"];
/// Loopback ports of coordinator and application.
const PORTS: [u16; 2] = [17443, 17480];
/// The longest wait before a kill: long enough to strike a start, a quiet stretch and a round.
const LONGEST_MS: u64 = 2500;

/// An agent that was killed leaves out numbers when it starts again, so that none is used twice. A
/// smaller hole than this is no such leap.
const LEAP: u64 = 1000;

/// The mesh on loopback.
struct Small {
    folder: PathBuf,
    programs: PathBuf,
    coordinator: Option<Daemon>,
    agents: [Option<Daemon>; AGENTS.len()],
    application: Option<Daemon>,
}

/// Which rounds there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rounds {
    /// One each second.
    Scheduled,
    /// Only those of a localisation.
    OnDemand,
}

/// An agent's sequence numbers as the store has them.
#[derive(Debug, Default)]
struct Stored {
    sequences: BTreeSet<u64>,
    repeats: u64,
    /// Fired probes by arm.
    arms: BTreeMap<String, BTreeSet<u64>>,
}

/// Kills coordinator and agents so many times each; true when nothing is lost or counted twice.
pub fn run(kills: u32) -> Result<bool> {
    let folder = Run::mine().folder();
    fs::create_dir_all(&folder)?;
    let done = Small::start(&folder).and_then(|mut mesh| mesh.hunt(kills));
    let _ = fs::remove_dir_all(&folder);
    done
}

impl Small {
    fn start(folder: &Path) -> Result<Small> {
        let mut mesh = Small {
            folder: folder.to_owned(),
            programs: programs()?,
            coordinator: None,
            agents: [None, None],
            application: None,
        };
        let mut application = Command::new(std::env::current_exe()?);
        let listen = format!("127.0.0.1:{}", PORTS[1]);
        application.args(["app", "--name", "a", "--listen", &listen, "--behaviour"]);
        application.arg(folder.join("app.json"));
        mesh.application = Some(Daemon::start("app", application, folder)?);
        mesh.start_coordinator()?;
        mesh.meshctl(&["status", "--wait", "10s"])?;
        for (number, name) in AGENTS.into_iter().enumerate() {
            let words = ["agent", "token", "--name", name, "--role", "inside"];
            let token = mesh.meshctl(&words)?.trim().to_owned();
            mesh.start_agent(number, Some(&token))?;
        }
        mesh.apply(Rounds::Scheduled)?;
        Ok(mesh)
    }

    fn apply(&self, rounds: Rounds) -> Result<()> {
        let file = self.folder.join("service.toml");
        fs::write(&file, service_file(rounds))?;
        // What a check has seen is not kept, so that its numbers would be missing.
        let file = file.display().to_string();
        self.meshctl(&["service", "apply", "-f", &file, "--no-check"])?;
        Ok(())
    }

    fn start_coordinator(&mut self) -> Result<()> {
        let address = format!("127.0.0.1:{}", PORTS[0]);
        let mut command = Command::new(self.programs.join("mesh-coordinator"));
        command
            .arg("run")
            .arg("--data-dir")
            .arg(self.folder.join("coordinator"));
        command.args(["--listen", &address, "--advertise", &address]);
        let mut daemon = Daemon::start("coordinator", command, &self.folder)?;
        daemon.wait_ready(|| TcpStream::connect(&address).is_ok())?;
        self.coordinator = Some(daemon);
        Ok(())
    }

    fn start_agent(&mut self, number: usize, token: Option<&str>) -> Result<()> {
        let name = AGENTS[number];
        let mut command = Command::new(self.programs.join("mesh-agent"));
        let data = self.folder.join(name);
        // What is probed stands on loopback.
        std::fs::create_dir_all(&data)?;
        std::fs::write(data.join("policy.toml"), "allow = [\"127.0.0.0/8\"]\n")?;
        command.arg("run").arg("--data-dir").arg(data);
        if let Some(token) = token {
            command.args(["--join", token]);
        }
        let mut daemon = Daemon::start(name, command, &self.folder)?;
        if token.is_some() {
            // A kill before the certificate is there would need a new token: that is another test.
            let joined = || {
                self.show(name)
                    .is_ok_and(|agent| agent["state"] == "connected")
            };
            daemon.wait_ready(joined)?;
        }
        self.agents[number] = Some(daemon);
        Ok(())
    }

    fn meshctl_command(&self) -> Command {
        let mut command = Command::new(self.programs.join("meshctl"));
        let context = self.folder.join("coordinator").join("admin.toml");
        command.arg("--context").arg(context);
        command
    }

    fn meshctl(&self, words: &[&str]) -> Result<String> {
        shell::output_of(self.meshctl_command().args(words))
    }

    fn json(&self, words: &[&str]) -> Result<Value> {
        let text = self.meshctl(&[words, &["-o", "json"]].concat())?;
        serde_json::from_str(&text).with_context(|| text.clone())
    }

    fn show(&self, agent: &str) -> Result<Value> {
        self.json(&["agent", "show", agent])
    }

    fn durable(&self) -> Result<Vec<u64>> {
        let agents = AGENTS.iter();
        agents
            .map(|agent| durable_through(&self.show(agent)?))
            .collect()
    }

    /// Kills, restarts and compares.
    fn hunt(&mut self, kills: u32) -> Result<bool> {
        let mut promised = vec![0; AGENTS.len()];
        let mut promises = vec![BTreeSet::new(); AGENTS.len()];
        let mut lost_promises = 0_u32;
        for kill in 0..kills * 2 {
            let pause = rand::rng().random_range(0..LONGEST_MS);
            std::thread::sleep(Duration::from_millis(pause));
            promised = self.durable().unwrap_or(promised);
            for (promises, promised) in promises.iter_mut().zip(&promised) {
                promises.insert(*promised);
            }
            if kill % 2 == 0 {
                if let Some(coordinator) = self.coordinator.take() {
                    coordinator.kill();
                }
                self.start_coordinator()?;
                let kept = self.durable()?;
                let short = kept.iter().zip(&promised).any(|(kept, was)| kept < was);
                lost_promises += u32::from(short);
            } else {
                let number = usize::try_from(kill / 2)? % AGENTS.len();
                if let Some(agent) = self.agents[number].take() {
                    agent.kill();
                }
                self.start_agent(number, None)?;
            }
        }
        println!("{kills} kills of the coordinator, {kills} of an agent");
        println!("watermarks that went back over a kill: {lost_promises}");
        // The agents find the coordinator again and send what is left. Then the schedule is taken away,
        // so that case and history speak of the same rounds, and the last round closes.
        std::thread::sleep(Duration::from_secs(12));
        self.apply(Rounds::OnDemand)?;
        std::thread::sleep(Duration::from_secs(14));
        let compared = self.compare(&promises)?;
        Ok(lost_promises == 0 && compared)
    }

    /// Compares watermarks, the exported case and the history with each other.
    fn compare(&self, promises: &[BTreeSet<u64>]) -> Result<bool> {
        let history = self.json(&["history", SERVICE, "--since", "15m"])?;
        let until_us = number(&self.json(&["status"])?["now_us"]);
        let watermarks = self.durable()?;
        let verdict = self.localize()?;
        let id = verdict["id"].as_str().context("a verdict without id")?;
        let file = self.folder.join("case.json");
        self.meshctl(&["explain", id, "--case", &file.display().to_string()])?;
        let case: Case = serde_json::from_slice(&fs::read(&file)?)?;
        let mut good = true;
        for (number, agent) in AGENTS.into_iter().enumerate() {
            let stored = stored(&case, agent, until_us);
            // A watermark is the number of a record.
            let missing = promises[number]
                .iter()
                .chain([&watermarks[number]])
                .filter(|promised| **promised != 0 && !stored.sequences.contains(promised));
            let missing = missing.count();
            let (holes, leaps) = holes(&stored.sequences);
            println!(
                "{agent}: {} records stored, {holes} numbers missing between {leaps} restarts, \
                 {missing} of {} watermarks missing, {} records twice",
                stored.sequences.len(),
                promises[number].len() + 1,
                stored.repeats
            );
            good &= missing == 0 && holes == 0 && stored.repeats == 0;
            for (arm, counted, distinct) in counted(&history, agent, &stored)? {
                println!("{agent} {arm}: {counted} counted, {distinct} distinct");
                good &= counted == distinct;
            }
        }
        Ok(good)
    }

    fn localize(&self) -> Result<Value> {
        let words = [
            "localize", SERVICE, "-o", "json", "--budget", "10s", "--since", "15m",
        ];
        // Its status is the verdict's, and this test does not mind which.
        let output = self.meshctl_command().args(words).output()?;
        let trouble = || String::from_utf8_lossy(&output.stderr).into_owned();
        serde_json::from_slice(&output.stdout).with_context(trouble)
    }
}

/// Numbers missing, and leaps over numbers that were never used.
fn holes(sequences: &BTreeSet<u64>) -> (u64, u32) {
    let steps = sequences.iter().zip(sequences.iter().skip(1));
    steps.fold((0, 0), |(holes, leaps), (before, after)| {
        match after - before - 1 {
            hole if hole < LEAP => (holes + hole, leaps),
            _ => (holes, leaps + 1),
        }
    })
}

/// For each arm: what the history counts, and how many distinct probes there were.
fn counted(history: &Value, agent: &str, stored: &Stored) -> Result<Vec<(String, u64, u64)>> {
    let lines = history.as_array().context("a history without lines")?;
    let mut arms = Vec::new();
    for (arm, sequences) in &stored.arms {
        let counts = lines
            .iter()
            .filter(|line| line["vantage"] == agent && line["arm"] == arm.as_str())
            .map(|line| number(&line["passed"]) + number(&line["failed"]));
        // Every probe of an arm passes or fails its first layer.
        let first_layer = counts.max().unwrap_or(0);
        arms.push((arm.clone(), first_layer, u64::try_from(sequences.len())?));
    }
    Ok(arms)
}

/// What is stored of an agent, of rounds that were due before `until_us`.
fn stored(case: &Case, agent: &str, until_us: u64) -> Stored {
    let mut stored = Stored::default();
    for observation in case.observations.iter().filter(|o| o.id.vantage.0 == agent) {
        let sequence = observation.id.sequence;
        stored.repeats += u64::from(!stored.sequences.insert(sequence));
        let fired = observation.outcome != Outcome::NotFired;
        if fired && observation.scheduled_us < until_us {
            let arm = stored.arms.entry(observation.arm.label()).or_default();
            arm.insert(sequence);
        }
    }
    for report in case.sightings.iter().filter(|r| r.witness.0 == agent) {
        stored.repeats += u64::from(!stored.sequences.insert(report.sequence));
    }
    for trace in case.traces.iter().filter(|t| t.vantage.0 == agent) {
        stored.repeats += u64::from(!stored.sequences.insert(trace.sequence));
    }
    stored
}

fn durable_through(agent: &Value) -> Result<u64> {
    let value = &agent["durable_through"];
    if value.is_null() {
        bail!("no watermark in {agent}");
    }
    Ok(number(value))
}

/// JSON writes 64-bit numbers as numbers or, as protobuf's mapping does, as text.
fn number(value: &Value) -> u64 {
    let text = || value.as_str().and_then(|text| text.parse().ok());
    value.as_u64().or_else(text).unwrap_or(0)
}

fn service_file(rounds: Rounds) -> String {
    let schedule = match rounds {
        Rounds::Scheduled => "[schedule]\nevery = \"1s\"\n\n",
        Rounds::OnDemand => "",
    };
    let address = format!("127.0.0.1:{}", PORTS[1]);
    format!(
        "name = \"{SERVICE}\"\nurl = \"http://{SERVICE}/\"\n\n[cdn]\nprovider = \"none\"\n\n\
         [load_balancer]\nvip = [\"{address}\"]\n\n{schedule}\
         [[backend]]\nname = \"web1\"\naddress = \"{address}\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_counted_and_leaps_are_not_holes() {
        let numbers = [5, 6, 8, 20_008, 20_009];
        assert_eq!(holes(&numbers.into_iter().collect()), (1, 1));
    }
}
