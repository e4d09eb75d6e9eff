//! The whole delivery path, up and running, and its removal on every way out.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SigSet, Signal};

use crate::address::{BACKEND_NAMES, BACKENDS, EDGES, NAME_SERVERS, RESOLVERS, SERVICE, VIP};
use crate::balancer::{self, Serving};
use crate::certificates::{self, Certificates};
use crate::daemon::Daemon;
use crate::daemons;
use crate::namespace::{self, Run};
use crate::net::{self, Balancer, Options};
use crate::pausing::Pauses;
use crate::zone::{self, Zone};

/// The delivery path with its daemons. Everything is removed when the value goes.
#[derive(Debug)]
pub struct Lab {
    /// The names of this run.
    pub run: Run,
    /// How the balancer works.
    pub mode: Balancer,
    /// It has few ports for its connections.
    pub few_ports: bool,
    /// The service's certificates.
    pub certificates: Certificates,
    /// The resolvers of the home networks.
    pub resolvers: [Option<Daemon>; 2],
    /// The zone's name servers.
    pub name_servers: [Option<Daemon>; 2],
    /// The CDN's edges.
    pub edges: [Option<Daemon>; 2],
    /// The cache of an edge, while one has a cache of its own.
    pub cache: Option<Daemon>,
    /// The balancer.
    pub balancer: Option<Daemon>,
    /// nginx on each backend.
    pub webs: [Option<Daemon>; 3],
    /// The application on each backend.
    pub applications: [Option<Daemon>; 3],
    /// What stops an application now and then, while it does.
    pub pauses: Option<Pauses>,
    /// The backbone's delay line, when it has one.
    pub delay: Option<Daemon>,
}

impl Lab {
    /// Builds the path and waits until a request goes through from end to end.
    pub fn up(options: Options) -> Result<Lab> {
        let missing = daemons::missing_programs();
        if !missing.is_empty() {
            bail!(
                "not installed: {}; see tests/packages.sh",
                missing.join(", ")
            );
        }
        namespace::possible()?;
        namespace::remove_stale();
        let run = Run::mine();
        fs::create_dir_all(run.folder())?;
        let certificates = certificates::make(&run.folder())?;
        zone::make(&run.folder()).context("signing the zone")?;
        let mut lab = Lab {
            run,
            mode: options.balancer,
            few_ports: options.few_ports,
            certificates,
            resolvers: [None, None],
            name_servers: [None, None],
            edges: [None, None],
            cache: None,
            balancer: None,
            webs: [None, None, None],
            applications: [None, None, None],
            pauses: None,
            delay: None,
        };
        net::build(&lab.run, options)?;
        lab.start(options).context("starting the daemons")?;
        lab.check()?;
        Ok(lab)
    }

    fn start(&mut self, options: Options) -> Result<()> {
        let run = &self.run;
        for host in net::HOSTS {
            let resolver = match host {
                "home1" => Some(RESOLVERS[0]),
                "home2" => Some(RESOLVERS[1]),
                _ => None,
            };
            net::set_resolver(run, host, resolver, "")?;
        }
        for n in 0..NAME_SERVERS.len() {
            self.name_servers[n] = Some(daemons::name_server(run, n, Zone::Well)?);
        }
        for n in 0..RESOLVERS.len() {
            self.resolvers[n] = Some(daemons::resolver(run, n)?);
        }
        for n in 0..BACKENDS.len() {
            self.applications[n] = Some(daemons::application(run, n)?);
            self.webs[n] = Some(daemons::web(run, n, &self.certificates)?);
        }
        match self.mode {
            Balancer::L7 | Balancer::Tcp => self.serve(Serving::Well)?,
            Balancer::L4 | Balancer::Dsr => {}
        }
        let run = &self.run;
        for n in 0..EDGES.len() {
            self.edges[n] = Some(daemons::edge(run, n, &self.certificates)?);
        }
        if options.backbone_delay_ms > 0 {
            self.delay = Some(daemons::delay_line(run, options.backbone_delay_ms)?);
        }
        Ok(())
    }

    /// Starts the balancer's process anew with another configuration.
    pub fn serve(&mut self, serving: Serving) -> Result<()> {
        // The old process must be gone before its successor can listen.
        self.balancer = None;
        let started = balancer::start(&self.run, &self.certificates, serving, self.mode)?;
        self.balancer = Some(started);
        Ok(())
    }

    /// What stops a backend's application (0 to 2) now and then; nothing where none runs.
    pub fn pause(&self, number: usize) -> Result<Option<Pauses>> {
        let application = self.applications[number].as_ref();
        let host = BACKEND_NAMES[number];
        application
            .map(|process| daemons::pauses(&self.run, host, process))
            .transpose()
    }

    /// Asks every part once, from where a user or the CDN stands.
    pub fn check(&self) -> Result<()> {
        for (home, resolver) in [("home1", RESOLVERS[0]), ("home2", RESOLVERS[1])] {
            let servers = [resolver].into_iter().chain(NAME_SERVERS);
            for server in servers {
                let question = format!("dig +short +time=2 +tries=2 {SERVICE} @{server}");
                let answer = daemons::on_host(&self.run, home, &question)?;
                let addresses: Vec<&str> = answer.lines().collect();
                if !EDGES.iter().all(|edge| addresses.contains(edge)) {
                    bail!("{home}: {server} answers {addresses:?}");
                }
            }
            for edge in EDGES {
                self.expect_page(home, edge)?;
            }
        }
        self.expect_page("cdn1", VIP)?;
        for (name, address) in BACKEND_NAMES.iter().zip(BACKENDS) {
            let line = format!("curl -sS -m 5 -o /dev/null -D - http://{address}/");
            let head = daemons::on_host(&self.run, "dc1", &line)?;
            if !head.contains(&format!("X-Served-By: {name}")) {
                bail!("{name} answers {head}");
            }
        }
        Ok(())
    }

    /// The status, in text, that a user on `host` gets from `address` for the service.
    pub fn status(&self, host: &str, address: &str) -> String {
        let line = format!(
            "curl -sS -m 8 -o /dev/null -w %{{http_code}} --cacert {} --resolve {SERVICE}:443:{address} https://{SERVICE}/",
            self.certificates.ca.display(),
        );
        daemons::on_host(&self.run, host, &line).unwrap_or_else(|error| format!("{error:#}"))
    }

    fn expect_page(&self, host: &str, address: &str) -> Result<()> {
        let status = self.status(host, address);
        if status != "200" {
            bail!("{host} gets {status} from {address}");
        }
        Ok(())
    }

    /// Folder of this run.
    pub fn folder(&self) -> PathBuf {
        self.run.folder()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.run.remove();
    }
}

/// Makes interrupt and termination remove the topology before the process ends. To be called once,
/// before any other thread is started.
pub fn remove_on_signal() -> Result<()> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    std::thread::spawn(move || {
        if signals.wait().is_ok() {
            Run::mine().remove();
            std::process::exit(130);
        }
    });
    Ok(())
}
