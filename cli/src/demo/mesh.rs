//! The mesh: coordinator and agents as processes of their own, and `meshctl` beside them, all used
//! as a user would.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid};
use tokio::time::Instant;

use super::DemoError;
use super::certificates::Certificates;
use super::plan::{AGENTS, AgentPlan, Plan, SERVICE};

/// How long the programs have to start, all together.
const START: Duration = Duration::from_secs(30);
/// How long a program has to end by itself before it is killed.
const END: Duration = Duration::from_secs(2);
/// Pause between two looks at whether something has happened.
const LOOK: Duration = Duration::from_millis(50);
/// Where the page is, if nobody else is there.
const PAGE: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 7480);
/// Lines of a program's log that are shown when it ends unasked.
const LOG_LINES: usize = 5;

/// The running programs in their folder; dropping it ends them and removes the folder.
pub struct Mesh {
    folder: tempfile::TempDir,
    page: SocketAddr,
    programs: PathBuf,
    children: Vec<Program>,
}

struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

/// What a command of `meshctl` said.
pub struct Answer {
    /// Its exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    /// Its standard output.
    pub stdout: Vec<u8>,
}

impl Mesh {
    /// Starts coordinator and agents, enrols the agents and applies the service.
    pub async fn start(plan: &Plan, certificates: &Certificates) -> Result<Self, DemoError> {
        let executable = std::env::current_exe().map_err(DemoError::Folder)?;
        let folder = tempfile::Builder::new()
            .prefix("meshctl-demo-")
            .tempdir()
            .map_err(DemoError::Folder)?;
        let mut mesh = Self {
            folder,
            page: page_address().map_err(DemoError::Ports)?,
            programs: executable.parent().unwrap_or(Path::new(".")).to_owned(),
            children: Vec::new(),
        };
        let until = Instant::now() + START;
        mesh.start_coordinator(plan)?;
        mesh.wait_for_coordinator(until).await?;
        for agent in &AGENTS {
            mesh.start_agent(plan, agent).await?;
        }
        mesh.wait_for_agents(until).await?;
        mesh.apply_service(plan, certificates).await?;
        Ok(mesh)
    }

    /// The context file of the coordinator.
    pub fn context(&self) -> PathBuf {
        self.folder.path().join("coordinator/admin.toml")
    }

    /// The address of its page.
    pub fn page(&self) -> String {
        format!("http://{}/", self.page)
    }

    /// Runs `meshctl` with these arguments, progress to our own standard error.
    pub async fn meshctl(&self, arguments: &[&str]) -> Result<Answer, DemoError> {
        let executable = std::env::current_exe().map_err(DemoError::Folder)?;
        let failed = |source| DemoError::Spawn {
            program: executable.clone(),
            source,
        };
        // Not `output()`, which would take standard error away from the terminal.
        let child = tokio::process::Command::new(&executable)
            .arg("--context")
            .arg(self.context())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let output = child.wait_with_output().await.map_err(failed)?;
        Ok(Answer {
            status: output.status.code(),
            stdout: output.stdout,
        })
    }

    /// The same, for commands that must succeed.
    async fn meshctl_done(&self, arguments: &[&str]) -> Result<Vec<u8>, DemoError> {
        let answer = self.meshctl(arguments).await?;
        match answer.status {
            Some(0) => Ok(answer.stdout),
            _ => Err(DemoError::Command(arguments.join(" "))),
        }
    }

    fn start_coordinator(&mut self, plan: &Plan) -> Result<(), DemoError> {
        let address = plan.coordinator.to_string();
        let data = self.folder.path().join("coordinator");
        let mut command = self.command("mesh-coordinator");
        command
            .args(["run", "--listen", &address, "--advertise", &address])
            .args(["--web", &self.page.to_string()])
            .arg("--data-dir")
            .arg(data);
        self.spawn("mesh-coordinator", command)
    }

    async fn wait_for_coordinator(&mut self, until: Instant) -> Result<(), DemoError> {
        while !self.context().exists() {
            self.look(until).await?;
        }
        self.meshctl_done(&["status", "--wait", "10s"]).await?;
        Ok(())
    }

    async fn start_agent(&mut self, plan: &Plan, agent: &AgentPlan) -> Result<(), DemoError> {
        let token = ["agent", "token", "--name", agent.name, "--role", agent.role];
        let token = self.meshctl_done(&token).await?;
        let token = String::from_utf8_lossy(&token).trim().to_owned();
        let data = self.folder.path().join(agent.name);
        // An agent refuses loopback targets unless its own host says otherwise.
        fs::create_dir(&data)
            .and_then(|()| fs::write(data.join("policy.toml"), "allow = [\"127.0.0.0/8\"]\n"))
            .map_err(DemoError::Folder)?;
        let mut command = self.command("mesh-agent");
        command
            .arg("run")
            .arg("--data-dir")
            .arg(&data)
            .args(["--join", &token])
            .args(["--source", &agent.source.to_string()])
            .args(["--resolver", &plan.resolvers[agent.resolver].to_string()]);
        self.spawn(agent.name, command)
    }

    async fn wait_for_agents(&mut self, until: Instant) -> Result<(), DemoError> {
        loop {
            let status = self.meshctl_done(&["-o", "json", "status"]).await?;
            let status: serde_json::Value = serde_json::from_slice(&status)?;
            if status["agents_connected"].as_u64() == Some(AGENTS.len() as u64) {
                return Ok(());
            }
            self.look(until).await?;
        }
    }

    async fn apply_service(
        &self,
        plan: &Plan,
        certificates: &Certificates,
    ) -> Result<(), DemoError> {
        let file = self.folder.path().join(format!("{SERVICE}.toml"));
        fs::write(self.folder.path().join("ca.pem"), &certificates.ca_pem)
            .and_then(|()| fs::write(&file, plan.service_file("ca.pem")))
            .map_err(DemoError::Folder)?;
        let file = file.to_string_lossy();
        self.meshctl_done(&["service", "apply", "-f", &file])
            .await?;
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        Command::new(self.programs.join(program))
    }

    /// Starts a program. Has to be called on the main thread: the death signal is bound to the
    /// thread that starts the program (prctl(2)).
    fn spawn(&mut self, name: &str, mut command: Command) -> Result<(), DemoError> {
        let log = self.folder.path().join(format!("{name}.log"));
        let file = File::create(&log).map_err(DemoError::Folder)?;
        let parent = Pid::this();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::from(file.try_clone().map_err(DemoError::Folder)?))
            .stderr(Stdio::from(file))
            // Ctrl-C on the terminal is for the demonstration, which ends its programs in order.
            .process_group(0);
        // SAFETY: the closure makes two system calls and allocates nothing.
        unsafe {
            command.pre_exec(move || {
                prctl::set_pdeathsig(Signal::SIGKILL)?;
                if getppid() == parent {
                    Ok(())
                } else {
                    Err(io::Error::from(io::ErrorKind::NotConnected))
                }
            });
        }
        let child = command.spawn().map_err(|source| DemoError::Spawn {
            program: PathBuf::from(command.get_program()),
            source,
        })?;
        self.children.push(Program {
            name: name.to_owned(),
            child,
            log,
        });
        Ok(())
    }

    /// Waits a moment, unless a program has ended or the time is over.
    async fn look(&mut self, until: Instant) -> Result<(), DemoError> {
        for program in &mut self.children {
            if let Ok(Some(status)) = program.child.try_wait() {
                return Err(DemoError::Ended {
                    program: program.name.clone(),
                    status,
                    log: last_lines(&program.log),
                });
            }
        }
        if Instant::now() >= until {
            return Err(DemoError::Slow(START));
        }
        tokio::time::sleep(LOOK).await;
        Ok(())
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        for program in &self.children {
            if let Ok(pid) = i32::try_from(program.child.id()) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
        }
        let mut patience = END;
        for program in &mut self.children {
            while matches!(program.child.try_wait(), Ok(None)) && !patience.is_zero() {
                std::thread::sleep(LOOK);
                patience = patience.saturating_sub(LOOK);
            }
            let _ = program.child.kill();
            let _ = program.child.wait();
        }
    }
}

/// The usual one if it is free, else one that the kernel chooses.
fn page_address() -> io::Result<SocketAddr> {
    let bound = TcpListener::bind(PAGE).or_else(|_| TcpListener::bind((PAGE.0, 0)))?;
    bound.local_addr()
}

fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}
