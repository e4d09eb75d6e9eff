//! Network namespaces for tests on real packets, taken away when the test is over, however it ends.

use std::fs::File;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};

/// Namespaces of one test, whose names begin alike.
pub(crate) struct Namespaces {
    prefix: String,
    hosts: Vec<String>,
}

impl Namespaces {
    /// `None` where they cannot be made, which is said.
    pub(crate) fn new(prefix: &str) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: network namespaces can be made by root alone");
            return None;
        }
        for program in ["ip", "nft"] {
            if let Err(error) = Command::new(program).arg("-V").output() {
                eprintln!("skipped: {program}: {error}; tests/packages.sh installs it");
                return None;
            }
        }
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Some(Self {
            prefix: format!("{prefix}-{}-{count}", std::process::id()),
            hosts: Vec::new(),
        })
    }

    /// The namespace of a host of the test.
    pub(crate) fn name(&self, host: &str) -> String {
        format!("{}{host}", self.prefix)
    }

    /// Adds a host, with these values below /proc/sys/net, which its interfaces take when they are made.
    pub(crate) fn add(&mut self, host: &str, settings: &[(&str, &str)]) {
        let name = self.name(host);
        run(&format!("ip netns add {name}"));
        self.hosts.push(name.clone());
        run(&format!("ip -n {name} link set lo up"));
        inside(&name, || {
            for (setting, value) in settings {
                std::fs::write(format!("/proc/sys/net/{setting}"), value).unwrap();
            }
        });
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for host in &self.hosts {
            let _ = Command::new("ip").args(["netns", "del", host]).status();
        }
    }
}

/// Runs a command whose words have no spaces, and fails the test where that fails.
pub(crate) fn run(command: &str) {
    let mut words = command.split(' ');
    let status = Command::new(words.next().unwrap()).args(words).status();
    assert!(status.unwrap().success(), "{command}");
}

/// Runs the function on a thread of its own in a network namespace.
pub(crate) fn inside<T: Send>(namespace: &str, function: impl FnOnce() -> T + Send) -> T {
    let thread = || {
        let namespace = File::open(format!("/var/run/netns/{namespace}")).unwrap();
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        function()
    };
    std::thread::scope(|scope| scope.spawn(thread).join().unwrap())
}
