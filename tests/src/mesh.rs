//! The programs under test, started and used through their published commands alone.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::address::{
    BACKEND_NAMES, BACKENDS, COORDINATOR, COORDINATOR_PORTS, NAME_SERVERS, PUBLIC_SIDE, SERVICE,
    VIP,
};
use crate::app::LARGE_PATH;
use crate::astray;
use crate::certificates::Certificates;
use crate::clock;
use crate::daemon::Daemon;
use crate::daemons;
use crate::namespace::Run;
use crate::net::Balancer;
use crate::said::{Outcome, Said};
use crate::shell;
use crate::verdicts::{Coverage, Declared, Setting};

/// A mesh is there within so long, on a disk that has other things to do: nothing is connected before it is on disk.
const PATIENCE: Duration = Duration::from_secs(120);
/// A verdict that was told is kept within so long.
const KEPT_WITHIN: Duration = Duration::from_secs(20);

/// An agent of a mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentPlan {
    /// Its name, which is also the host that it runs on.
    pub name: &'static str,
    /// `--role`.
    pub role: &'static str,
    /// `--host`.
    pub host: Option<&'static str>,
}

/// How often a mesh looks by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// A round every five seconds.
    Usual,
    /// A round each second.
    Dense,
}

/// A coordinator with its agents.
#[derive(Debug)]
pub struct Mesh {
    /// What it is given.
    pub setting: Setting,
    run: Run,
    folder: PathBuf,
    programs: PathBuf,
    /// The text of the service file.
    service: String,
    coordinator: Option<Daemon>,
    agents: Vec<(AgentPlan, Option<Daemon>)>,
}

/// What `meshctl localize` gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Localized {
    /// The verdict.
    pub said: Said,
    /// The verdict as it was printed.
    pub text: String,
    /// How long the command ran.
    pub took: Duration,
}

impl Setting {
    /// The mesh's name in the lab's output.
    pub fn name(self) -> &'static str {
        match (self.declared, self.coverage) {
            (Declared::Name, _) => "name",
            (Declared::Vip, _) => "vip",
            (Declared::Backends, Coverage::Bare) => "backends",
            (Declared::Backends, Coverage::Full | Coverage::Beside) => "hosts",
            (Declared::All, Coverage::Full) => "full",
            (Declared::All, Coverage::Beside) => "beside",
            (Declared::All, Coverage::Bare) => "bare",
        }
    }
}

impl Coverage {
    fn port(self) -> u16 {
        match self {
            Coverage::Full => COORDINATOR_PORTS[0],
            Coverage::Bare => COORDINATOR_PORTS[1],
            Coverage::Beside => COORDINATOR_PORTS[2],
        }
    }

    /// The agents.
    pub fn agents(self) -> Vec<AgentPlan> {
        let agent = |name, role, host| AgentPlan { name, role, host };
        let mut agents = vec![
            agent("home1", "outside", None),
            agent("home2", "outside", None),
            agent("cdn1", "behind-cdn", None),
            agent("dc1", "inside", None),
        ];
        if self == Coverage::Full {
            agents.push(agent("lb", "inside", Some("lb")));
        }
        if self != Coverage::Bare {
            agents.extend(BACKEND_NAMES.map(|name| agent(name, "inside", Some(name))));
        }
        agents
    }
}

/// What the owner of an agent's host says of it.
fn policy(plan: &AgentPlan) -> String {
    format!("role = {:?}\nallow = {PUBLIC_SIDE:?}\n", plan.role)
}

impl Mesh {
    /// Starts a coordinator and its agents, and applies the service's file.
    pub fn start(
        run: &Run,
        setting: Setting,
        certificates: &Certificates,
        schedule: Schedule,
    ) -> Result<Mesh> {
        let folder = run.folder().join(format!("mesh-{}", setting.name()));
        std::fs::create_dir_all(&folder)?;
        let mut mesh = Mesh {
            setting,
            run: run.clone(),
            folder,
            programs: programs()?,
            service: String::new(),
            coordinator: None,
            agents: Vec::new(),
        };
        mesh.start_coordinator()?;
        for plan in setting.coverage.agents() {
            let token = mesh.token(plan)?;
            mesh.agents.push((plan, None));
            mesh.start_agent(mesh.agents.len() - 1, Some(&token))?;
        }
        mesh.service = service_file(certificates, schedule, setting);
        mesh.apply(&mesh.service)?;
        mesh.wait_connected()?;
        Ok(mesh)
    }

    fn apply(&self, service: &str) -> Result<()> {
        let file = self.folder.join("service.toml");
        std::fs::write(&file, service)?;
        let file = file.display().to_string();
        self.meshctl(&["service", "apply", "-f", &file])?;
        Ok(())
    }

    /// Has the agents ask for the large object as well, or no longer.
    pub fn ask_for_large(&self, on: bool) -> Result<()> {
        match on {
            true => self.apply(&format!("large_path = \"{LARGE_PATH}\"\n{}", self.service)),
            false => self.apply(&self.service),
        }
    }

    /// Starts the coordinator and waits until it answers.
    pub fn start_coordinator(&mut self) -> Result<()> {
        let address = format!("{COORDINATOR}:{}", self.setting.coverage.port());
        let data = self.folder.join("coordinator");
        let mut command = self
            .run
            .command("coord", self.programs.join("mesh-coordinator"));
        command.arg("run").arg("--data-dir").arg(&data);
        command.args(["--listen", &address, "--advertise", &address]);
        let name = format!("coordinator-{}", self.setting.name());
        let mut daemon = Daemon::start(&name, command, &self.run.folder())?;
        let port = self.setting.coverage.port();
        daemon.wait_ready(|| {
            data.join("admin.toml").is_file()
                && daemons::listens(&self.run, "coord", "-t", COORDINATOR, port)
        })?;
        self.coordinator = Some(daemon);
        self.meshctl(&["status", "--wait", "10s"])?;
        Ok(())
    }

    fn token(&self, plan: AgentPlan) -> Result<String> {
        let mut words = vec!["agent", "token", "--name", plan.name, "--role", plan.role];
        if let Some(host) = plan.host {
            words.extend(["--host", host]);
        }
        Ok(self.meshctl(&words)?.trim().to_owned())
    }

    /// Starts an agent; with a token it joins.
    pub fn start_agent(&mut self, number: usize, token: Option<&str>) -> Result<()> {
        let (plan, daemon) = &mut self.agents[number];
        let program = self.programs.join("mesh-agent");
        let mut command = match plan.name {
            astray::HOST => astray::command(&self.run, &program)?,
            _ => self.run.command(plan.name, program),
        };
        let data = self.folder.join(format!("agent-{}", plan.name));
        std::fs::create_dir_all(&data)?;
        std::fs::write(data.join("policy.toml"), policy(plan))?;
        command.arg("run").arg("--data-dir").arg(data);
        if let Some(token) = token {
            command.args(["--join", token]);
        }
        let name = format!("agent-{}-{}", self.setting.name(), plan.name);
        *daemon = Some(Daemon::start(&name, command, &self.run.folder())?);
        Ok(())
    }

    fn wait_connected(&mut self) -> Result<()> {
        let wanted = self.agents.len();
        let mut state = String::new();
        let all = clock::wait_until(PATIENCE, || {
            state = self
                .meshctl(&["agent", "list", "-o", "json"])
                .unwrap_or_default();
            state.matches("\"connected\"").count() >= wanted
        });
        for (_, daemon) in &mut self.agents {
            if let Some(daemon) = daemon {
                daemon.check()?;
            }
        }
        if !all {
            bail!(
                "not every agent of {} is connected: {state}",
                self.setting.name()
            );
        }
        Ok(())
    }

    /// A `meshctl` command in front of this mesh's coordinator.
    pub fn meshctl_command(&self) -> Command {
        let mut command = self.run.command("coord", self.programs.join("meshctl"));
        let context = self.folder.join("coordinator").join("admin.toml");
        command.arg("--context").arg(context);
        command
    }

    /// Runs `meshctl` and gives its output.
    pub fn meshctl(&self, words: &[&str]) -> Result<String> {
        shell::output_of(self.meshctl_command().args(words))
    }

    /// Runs `meshctl -o json` and gives its output as JSON.
    pub fn meshctl_json(&self, words: &[&str]) -> Result<Value> {
        let mut command = self.meshctl_command();
        let text = shell::output_of(command.args(words).args(["-o", "json"]))?;
        serde_json::from_str(&text).with_context(|| format!("{words:?}: {text}"))
    }

    /// Asks as a user does: `meshctl localize NAME`, and nothing else said.
    pub fn localize(&self) -> Result<Localized> {
        let start = clock::now();
        let output = self
            .meshctl_command()
            .args(["localize", SERVICE, "-o", "json"])
            .output()
            .context("meshctl localize")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said: Said = serde_json::from_str(&text).with_context(|| {
            let trouble = String::from_utf8_lossy(&output.stderr);
            format!("localize ended with {}: {text} {trouble}", output.status)
        })?;
        check_exit(output.status.code(), said.outcome)?;
        Ok(Localized {
            said,
            text,
            took: start.elapsed(),
        })
    }

    /// Writes the case that a verdict was made from. One that was told at the end of its time is kept a little later.
    pub fn export_case(&self, id: &str, file: &Path) -> Result<()> {
        let file = file.display().to_string();
        let mut exported = self.meshctl(&["explain", id, "--case", &file]);
        clock::wait_until(KEPT_WITHIN, || {
            if exported.is_err() {
                exported = self.meshctl(&["explain", id, "--case", &file]);
            }
            exported.is_ok()
        });
        exported.map(drop)
    }

    /// An error with the end of the log when a program of the mesh has ended.
    pub fn check(&mut self) -> Result<()> {
        let agents = self
            .agents
            .iter_mut()
            .filter_map(|(_, daemon)| daemon.as_mut());
        for daemon in agents.chain(self.coordinator.as_mut()) {
            daemon.check()?;
        }
        Ok(())
    }
}

/// The exit status of `localize` is part of its promise.
fn check_exit(code: Option<i32>, outcome: Outcome) -> Result<()> {
    let promised = match outcome {
        Outcome::Healthy => 0,
        Outcome::Fault => 1,
        Outcome::Inconclusive => 3,
    };
    if code != Some(promised) {
        bail!("localize ended with {code:?} and {outcome:?}");
    }
    Ok(())
}

/// The service file of the lab, with as much of the path as is to be declared.
pub fn service_file(certificates: &Certificates, schedule: Schedule, setting: Setting) -> String {
    let every = match schedule {
        Schedule::Usual => "5s",
        Schedule::Dense => "1s",
    };
    let limits = match setting.declared {
        Declared::All => {
            "timeout = { dns = \"1s\", connect = \"3s\", tls = \"3s\", total = \"6s\" }\n"
        }
        Declared::Name | Declared::Vip | Declared::Backends => "",
    };
    let mut file = format!(
        "name = \"{SERVICE}\"\nurl = \"https://{SERVICE}/\"\n\n\
         [tls]\nca_file = \"{ca}\"\n\n\
         [schedule]\nevery = \"{every}\"\n{limits}",
        ca = certificates.ca.display(),
    );
    if setting.declared == Declared::All {
        let [ns1, ns2] = NAME_SERVERS;
        file.push_str(&format!(
            "\n[dns]\nauthoritative = [\"{ns1}\", \"{ns2}\"]\n"
        ));
    }
    match setting.declared {
        Declared::Name => {}
        Declared::Vip => file.push_str(&balancer_section(setting.balancer)),
        Declared::Backends | Declared::All => {
            file.push_str(&balancer_section(setting.balancer));
            file.push_str(&backend_sections(setting.balancer));
        }
    }
    file
}

fn balancer_section(balancer: Balancer) -> String {
    let mode = match balancer {
        Balancer::L7 | Balancer::Tcp => "auto",
        Balancer::L4 => "l4",
        Balancer::Dsr => "dsr",
    };
    format!("\n[load_balancer]\nvip = [\"{VIP}:443\"]\nmode = \"{mode}\"\n")
}

fn backend_sections(balancer: Balancer) -> String {
    let port = balancer.backend_port();
    let scheme = match balancer {
        Balancer::L7 => "http",
        Balancer::Tcp | Balancer::L4 | Balancer::Dsr => "https",
    };
    let section = |(name, address): (&str, &str)| {
        format!(
            "\n[[backend]]\nname = \"{name}\"\naddress = \"{address}:{port}\"\n\
             scheme = \"{scheme}\"\n"
        )
    };
    BACKEND_NAMES
        .into_iter()
        .zip(BACKENDS)
        .map(section)
        .collect()
}

/// The folder of the programs under test: the lab's own.
pub fn programs() -> Result<PathBuf> {
    let own = std::env::current_exe().context("this program's own path")?;
    let folder = own
        .parent()
        .context("this program has no folder")?
        .to_owned();
    for program in ["mesh-coordinator", "mesh-agent", "meshctl"] {
        if !folder.join(program).is_file() {
            bail!(
                "{program} is not beside the lab in {}: build it first",
                folder.display()
            );
        }
    }
    Ok(folder)
}
