//! A mesh of the real programs on loopback, without root. They must be built beside the test, as
//! `make unit` does.
#![allow(
    dead_code,
    reason = "each test file compiles this module for itself and uses a part of it"
)]

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::Command;

use lab::daemon::Daemon;
use lab::shell;
use serde_json::Value;

/// A coordinator on loopback, and agents.
pub struct Mesh {
    /// They end before their folder goes.
    daemons: Vec<Daemon>,
    programs: PathBuf,
    folder: tempfile::TempDir,
    log: &'static str,
}

impl Mesh {
    /// With this much logged (`RUST_LOG`).
    pub fn start(log: &'static str) -> Self {
        let exe = std::env::current_exe().unwrap();
        let programs = exe.parent().unwrap().parent().unwrap().to_owned();
        let built = programs.join("mesh-coordinator").is_file();
        assert!(built, "build the programs first: make build");
        let mut mesh = Self {
            folder: tempfile::tempdir().unwrap(),
            programs,
            daemons: Vec::new(),
            log,
        };
        let address = free_address().to_string();
        let mut coordinator = mesh.program("mesh-coordinator");
        coordinator.args(["run", "--listen", &address, "--advertise", &address]);
        coordinator.arg("--data-dir").arg(mesh.path("coordinator"));
        mesh.run("coordinator", coordinator, |_| {
            TcpStream::connect(&address).is_ok()
        });
        mesh.meshctl(&["status", "--wait", "10s"]);
        mesh
    }

    /// A place in the folder of everything.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.env("RUST_LOG", self.log).env_remove("SHOP_TOKEN");
        command
    }

    fn run(&mut self, name: &str, command: Command, ready: impl Fn(&Self) -> bool) {
        let mut daemon = Daemon::start(name, command, self.folder.path()).unwrap();
        daemon.wait_ready(|| ready(self)).unwrap();
        self.daemons.push(daemon);
    }

    /// An agent of role `inside` with options and perhaps a variable in its environment.
    pub fn join(&mut self, name: &str, options: &[&str], variable: Option<(&str, &str)>) {
        let words = ["agent", "token", "--name", name, "--role", "inside"];
        let token = self.meshctl(&words).trim().to_owned();
        // What is probed stands on loopback.
        std::fs::create_dir_all(self.path(name)).unwrap();
        std::fs::write(
            self.path(name).join("policy.toml"),
            "allow = [\"127.0.0.0/8\"]\n",
        )
        .unwrap();
        let mut agent = self.program("mesh-agent");
        agent.args(["run", "--join", &token, "--data-dir"]);
        agent.arg(self.path(name)).args(options).envs(variable);
        let connected = |mesh: &Self| {
            let shown = mesh.meshctl(&["agent", "show", name, "-o", "json"]);
            let shown: Value = serde_json::from_str(&shown).unwrap();
            shown["state"] == "connected"
        };
        self.run(name, agent, connected);
    }

    /// A command that is yet to be run.
    pub fn meshctl_command(&self, words: &[&str]) -> Command {
        let mut command = self.program("meshctl");
        command.arg("--context");
        command.arg(self.path("coordinator").join("admin.toml"));
        command.args(words);
        command
    }

    /// What a command prints that must do its work.
    pub fn meshctl(&self, words: &[&str]) -> String {
        shell::output_of(&mut self.meshctl_command(words)).unwrap()
    }

    /// What a command says and shows on the way, whatever its status.
    pub fn said(&self, words: &[&str]) -> Vec<u8> {
        let output = self.meshctl_command(words).output().unwrap();
        [output.stdout, output.stderr].concat()
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// A name server at 127.0.0.1 that knows every name to be there too, or refuses every question (RFC 1035,
/// section 4).
pub fn name_server(knows: bool) -> SocketAddr {
    const HEADER: usize = 12;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut question) {
            let labels = question[HEADER..length].iter().position(|byte| *byte == 0);
            let end = HEADER + labels.unwrap() + 5;
            let has_address = knows && question[end - 4..end - 2] == [0, 1];
            let mut answer = question[..end].to_vec();
            // An authoritative answer, or REFUSED; one question, nothing after the answers.
            let code = if knows { [0x85, 0x80] } else { [0x80, 0x05] };
            answer[2..4].copy_from_slice(&code);
            answer[6..HEADER].copy_from_slice(&[0, u8::from(has_address), 0, 0, 0, 0]);
            if has_address {
                answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
            }
            let _ = socket.send_to(&answer, from);
        }
    });
    address
}
