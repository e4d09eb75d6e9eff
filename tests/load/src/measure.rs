//! One size: from an empty folder to a row of the table.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::unistd::{SysconfVar, sysconf};
use tokio::process::Command;

use crate::agent;
use crate::counts::{Counts, Snapshot};
use crate::mesh::{Mesh, Shape, program};

/// Longest wait for all agents to have a session.
const CONNECTING: Duration = Duration::from_secs(300);
/// Handshakes begun each second: the coordinator has 2,048 places for them, and this host two cores.
const DIALS: Duration = Duration::from_millis(2);
/// A localisation that is this much past its budget was on its way: a process starts and connects.
const SLACK: Duration = Duration::from_secs(1);
/// A localisation that never comes back is given up after so many budgets.
const PATIENCE: u32 = 10;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub shape: Shape,
    pub warm_up: Duration,
    pub seconds: Duration,
    pub budget: Duration,
}

/// What came of it.
#[derive(Debug)]
pub struct Row {
    agents: usize,
    /// Memory of an idle session, in kilobytes.
    idle_kb: f64,
    asked: f64,
    sent: f64,
    acknowledged: f64,
    cpu_us: f64,
    /// Share of one core.
    cpu: f64,
    waits_ms: (u64, u64),
    resident_mb: f64,
    disk_bytes: f64,
    lost: u64,
    localized: Localized,
    budget: Duration,
}

/// What a localisation under load came to.
#[derive(Debug)]
struct Localized {
    took: Duration,
    outcome: String,
}

impl Row {
    /// The table's head.
    pub fn head() -> String {
        [
            "| agents | idle KB/agent | asked/s | sent/s | acknowledged/s | CPU µs/observation | CPU % | \
             ack p50/p99 ms | RSS MB | disk bytes/observation | sessions lost | localize s (budget) |",
            "|---|---|---|---|---|---|---|---|---|---|---|---|",
        ]
        .join("\n")
    }

    /// The localisation was back within its budget.
    pub fn in_time(&self) -> bool {
        self.localized.took <= self.budget + SLACK
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "| {} | {:.1} | {:.0} | {:.0} | {:.0} | {:.1} | {:.0} | {}/{} | {:.0} | {:.0} | {} | {:.1} ({}) {} |",
            self.agents,
            self.idle_kb,
            self.asked,
            self.sent,
            self.acknowledged,
            self.cpu_us,
            self.cpu * 100.0,
            self.waits_ms.0,
            self.waits_ms.1,
            self.resident_mb,
            self.disk_bytes,
            self.lost,
            self.localized.took.as_secs_f64(),
            self.budget.as_secs(),
            self.localized.outcome,
        )
    }
}

/// The coordinator and the fleet at one instant.
struct Instantaneous {
    at: Instant,
    counts: Snapshot,
    cpu: Duration,
    disk: u64,
}

/// Starts a coordinator and its agents, puts them under load and measures.
pub async fn run(folder: &Path, plan: &Plan) -> Result<Row> {
    let mesh = Mesh::start(folder).await?;
    let shape = plan.shape;
    let members = mesh.enrol(shape.agents).await?;
    eprintln!("{} agents have joined", members.len());
    let before = resident(mesh.pid())?;
    let counts = Arc::new(Counts::new()?);
    let mut agents = tokio::task::JoinSet::new();
    for member in members {
        let (coordinator, counts) = (mesh.coordinator.clone(), Arc::clone(&counts));
        agents.spawn(async move {
            if let Err(error) = agent::live(&coordinator, member, counts, shape.failing).await {
                eprintln!("a session has ended: {error:#}");
            }
        });
        tokio::time::sleep(DIALS).await;
    }
    connected(&counts, shape.agents).await?;
    eprintln!("{} agents are connected", shape.agents);
    let idle = resident(mesh.pid())?.saturating_sub(before);
    mesh.apply(&shape).await?;
    tokio::time::sleep(plan.warm_up).await;
    counts.take_waits();
    let from = instantaneous(&mesh, &counts)?;
    tokio::time::sleep(plan.seconds).await;
    let to = instantaneous(&mesh, &counts)?;
    let waits_ms = counts.take_waits();
    let resident = resident(mesh.pid())?;
    eprintln!("measured; localising under load");
    let localized = localize(&mesh, plan.budget).await?;
    let seconds = (to.at - from.at).as_secs_f64();
    let cpu = (to.cpu - from.cpu).as_secs_f64();
    let acknowledged = number(to.counts.acknowledged - from.counts.acknowledged);
    ensure!(acknowledged > 0.0, "nothing was acknowledged");
    Ok(Row {
        agents: shape.agents,
        idle_kb: number(idle) / 1024.0 / number(u64::try_from(shape.agents)?),
        asked: number(to.counts.asked - from.counts.asked) / seconds,
        sent: number(to.counts.sent - from.counts.sent) / seconds,
        acknowledged: acknowledged / seconds,
        cpu_us: cpu * 1e6 / acknowledged,
        cpu: cpu / seconds,
        waits_ms,
        resident_mb: number(resident) / 1e6,
        disk_bytes: number(to.disk.saturating_sub(from.disk)) / acknowledged,
        lost: counts.lost.load(Ordering::Relaxed),
        localized,
        budget: plan.budget,
    })
}

async fn connected(counts: &Counts, agents: usize) -> Result<()> {
    let agents = u64::try_from(agents)?;
    let deadline = Instant::now() + CONNECTING;
    while counts.connected.load(Ordering::Relaxed) < agents {
        ensure!(
            Instant::now() < deadline,
            "{} of {agents} agents are connected",
            counts.connected.load(Ordering::Relaxed)
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // What the handshakes have left is given back.
    tokio::time::sleep(Duration::from_secs(2)).await;
    Ok(())
}

fn instantaneous(mesh: &Mesh, counts: &Counts) -> Result<Instantaneous> {
    Ok(Instantaneous {
        at: Instant::now(),
        counts: counts.snapshot(),
        cpu: cpu(mesh.pid())?,
        disk: disk(&mesh.store())?,
    })
}

/// What a user runs, from the start of the process to its end.
async fn localize(mesh: &Mesh, budget: Duration) -> Result<Localized> {
    let mut command = Command::new(program("meshctl")?);
    command.arg("--context").arg(mesh.context());
    command.args(["localize", &Shape::service(0), "-o", "json", "--budget"]);
    command.arg(format!("{}s", budget.as_secs()));
    command.kill_on_drop(true);
    let started = Instant::now();
    let output = tokio::time::timeout(budget * PATIENCE, command.output()).await;
    let took = started.elapsed();
    let outcome = match output {
        Err(_) => "never".to_owned(),
        Ok(output) => outcome(&output?),
    };
    Ok(Localized { took, outcome })
}

fn outcome(output: &std::process::Output) -> String {
    let verdict = serde_json::from_slice::<serde_json::Value>(&output.stdout).ok();
    let outcome = verdict.as_ref().and_then(|v| v["outcome"].as_str());
    match outcome {
        Some(outcome) => outcome.to_owned(),
        None => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    }
}

/// Time that a process had on the cores, in user and kernel mode (proc(5), fields 14 and 15).
fn cpu(pid: u32) -> Result<Duration> {
    let stat =
        fs::read_to_string(format!("/proc/{pid}/stat")).context("the coordinator is gone")?;
    // The name, in brackets, may hold anything.
    let Some((_, fields)) = stat.rsplit_once(')') else {
        bail!("an unknown form of /proc/{pid}/stat");
    };
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().unwrap_or(0))
        .sum();
    let hertz = sysconf(SysconfVar::CLK_TCK)?.context("no clock ticks")?;
    Ok(Duration::from_secs_f64(
        number(ticks) / number(u64::try_from(hertz)?),
    ))
}

/// Memory of a process, in bytes.
fn resident(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kb.context("no VmRSS")? << 10)
}

/// Bytes that a folder's files take.
fn disk(folder: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // A file may have gone meanwhile.
        let Ok(meta) = entry.metadata() else { continue };
        bytes += match meta.is_dir() {
            true => disk(&entry.path())?,
            false => meta.blocks() * 512,
        };
    }
    Ok(bytes)
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn number(count: u64) -> f64 {
    count as f64
}
