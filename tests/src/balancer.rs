//! HAProxy on the balancer: its configuration, well and in every way broken, and its admin socket.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::address::{BACKENDS, BALANCER, VIP};
use crate::app::HEALTH_PATH;
use crate::certificates::Certificates;
use crate::daemon::Daemon;
use crate::daemons::{listens, write};
use crate::namespace::Run;
use crate::net::Balancer;

/// What the balancer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// All well.
    Well,
    /// Shows an expired certificate.
    ExpiredCertificate,
    /// Begins its connections to backend 2 with a line of the PROXY protocol.
    ProxyLine,
    /// Sends requests for backend 3 where backend 3 no longer is.
    StaleAddress,
    /// Knows its users again by a cookie, and sends them where they were before, whether that server is well
    /// or not.
    Sessions,
    /// Leaves from its first address alone, and from a few ports of their own, so that what makes
    /// packets leave from another one knows them.
    OneAddress,
}

/// The cookie by which the balancer knows its users again.
pub const SESSION: &str = "SRV";
/// An address in backend 3's network that nobody has.
const FORMER_ADDRESS: &str = "10.0.3.77";
/// The ports that the balancer's connections leave from when all leave from one address; the agents'
/// leave from others.
pub const LAST_RESORT_PORTS: &str = "20000-29999";

/// Starts the balancer. Health checks each second, two failures take a backend out, two successes
/// bring it back. Each backend is used from both of the balancer's addresses.
///
/// In TCP mode the backends end TLS and a check is a connection.
pub fn start(
    run: &Run,
    certificates: &Certificates,
    serving: Serving,
    mode: Balancer,
) -> Result<Daemon> {
    let config = config(&socket(run), certificates, serving, mode);
    let file = write(run, "haproxy.cfg", &config)?;
    let mut command = run.command("lb", "haproxy");
    command.args(["-db", "-f"]).arg(file);
    let mut daemon = Daemon::start("haproxy", command, &run.folder())?;
    daemon.wait_ready(|| listens(run, "lb", "-t", VIP, 443))?;
    Ok(daemon)
}

fn config(socket: &Path, certificates: &Certificates, serving: Serving, mode: Balancer) -> String {
    let (word, bind, check) = match mode {
        Balancer::L7 => {
            let shown = match serving {
                Serving::ExpiredCertificate => &certificates.expired,
                Serving::Well
                | Serving::ProxyLine
                | Serving::StaleAddress
                | Serving::Sessions
                | Serving::OneAddress => &certificates.good,
            };
            let check = format!("option httpchk GET {HEALTH_PATH}\n  http-check expect status 200");
            let bind = format!("ssl crt {}", shown.display());
            ("http\n  http-reuse never", bind, check)
        }
        Balancer::Tcp | Balancer::L4 | Balancer::Dsr => {
            ("tcp", String::new(), "option tcp-check".to_owned())
        }
    };
    format!(
        "global\n  stats socket {socket} mode 600 level admin\n  nbthread 1\n\
         defaults\n  mode {word}\n  timeout connect 2s\n  timeout client 15s\n  timeout server 10s\n\
         \x20 timeout check 1s\n  timeout http-request 5s\n  retries 1\n\
         frontend shop\n  bind {VIP}:443 {bind}\n  default_backend web\n\
         backend web\n  balance roundrobin\n  {check}\n{sessions}\
         \x20 default-server inter 1s fall 2 rise 2\n{servers}",
        socket = socket.display(),
        sessions = match serving {
            Serving::Sessions => {
                format!("  cookie {SESSION} insert indirect nocache\n  option persist\n")
            }
            Serving::Well
            | Serving::ExpiredCertificate
            | Serving::ProxyLine
            | Serving::StaleAddress
            | Serving::OneAddress => String::new(),
        },
        servers = server_lines(serving, mode),
    )
}

fn server_lines(serving: Serving, mode: Balancer) -> String {
    let port = mode.backend_port();
    let mut lines = String::new();
    for (n, backend) in BACKENDS.iter().enumerate() {
        for (source, letter) in BALANCER.iter().zip(["a", "b"]) {
            let name = server_name(n, letter);
            let well = format!("{backend}:{port} source {source} check");
            let line = match serving {
                Serving::OneAddress if letter == "b" => continue,
                Serving::OneAddress => {
                    format!("{backend}:{port} source {source}:{LAST_RESORT_PORTS} check")
                }
                // A check with an address of its own asks without the line, and the right backend.
                Serving::ProxyLine if n == 1 => format!("{well} port {port} send-proxy"),
                Serving::StaleAddress if n == 2 => format!(
                    "{FORMER_ADDRESS}:{port} source {source} check addr {backend} port {port}"
                ),
                Serving::Sessions => format!("{well} cookie {name}"),
                Serving::Well
                | Serving::ExpiredCertificate
                | Serving::ProxyLine
                | Serving::StaleAddress => well,
            };
            lines.push_str(&format!("  server {name} {line}\n"));
        }
    }
    lines
}

/// Gives the running balancer an order over its admin socket.
pub fn order(run: &Run, order: &str) -> Result<String> {
    use std::io::{Read, Write};
    let mut socket = std::os::unix::net::UnixStream::connect(socket(run))
        .context("the balancer's admin socket")?;
    writeln!(socket, "{order}")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Takes a backend (0 to 2) out for whoever is new, and leaves its address: a rebuild whose end the balancer
/// was never told of.
pub fn leave(run: &Run, backend: usize) -> Result<()> {
    for server in ["a", "b"].map(|letter| server_name(backend, letter)) {
        order(run, &format!("set server web/{server} state drain"))?;
        order(
            run,
            &format!("set server web/{server} addr {FORMER_ADDRESS}"),
        )?;
    }
    Ok(())
}

/// The balancer's names of its servers: one for each backend and source address.
pub fn servers() -> Vec<String> {
    let numbers = 0..BACKENDS.len();
    numbers
        .flat_map(|n| ["a", "b"].map(|letter| server_name(n, letter)))
        .collect()
}

fn server_name(backend: usize, letter: &str) -> String {
    format!("web{}{letter}", backend + 1)
}

fn socket(run: &Run) -> PathBuf {
    run.folder().join("haproxy.sock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_broken_towards_one_backend_is_well_towards_the_others() {
        let well = server_lines(Serving::Well, Balancer::L7);
        assert_eq!(well.lines().count(), servers().len());
        let broken = [
            (Serving::ProxyLine, "send-proxy"),
            (Serving::StaleAddress, FORMER_ADDRESS),
        ];
        for (serving, mark) in broken {
            let lines = server_lines(serving, Balancer::L7);
            assert_eq!(lines.matches(mark).count(), 2, "{lines}");
            assert!(!well.contains(mark));
        }
        let one = server_lines(Serving::OneAddress, Balancer::L7);
        assert!(one.lines().count() == BACKENDS.len() && !one.contains(BALANCER[1]));
    }
}
