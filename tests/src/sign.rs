//! What a person at the keyboard asks, with `dig` and `curl`, and what they see when a fault is there.

use std::path::Path;
use std::process::Stdio;

use crate::address::{BACKENDS, SERVICE};
use crate::app::{HEALTH_PATH, LARGE_PATH};
use crate::astray;
use crate::balancer::SESSION;
use crate::topology::Lab;

/// A question that a person would ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A name server or resolver for the service's addresses.
    Dig(&'static str),
    /// A name server for the service's IPv6 addresses.
    Dig6(&'static str),
    /// A resolver for what it would answer if it checked no signatures.
    Unchecked(&'static str),
    /// An edge, or the VIP, for the page.
    Page(&'static str),
    /// An edge for the page, by the asking host's own clock.
    ByOwnClock(&'static str),
    /// An edge for its certificate, with a hello in TLS that takes two packets.
    LargeHello(&'static str),
    /// An edge for the page, packed.
    Packed(&'static str),
    /// An edge, or the VIP, for the page, in a session that is at this server of the balancer's.
    InSession(&'static str, &'static str),
    /// The service for the page, as programs do that ask their host for its addresses.
    ByName,
    /// A backend for the large object.
    Large(usize),
    /// A backend for the page, from this address where it matters.
    Backend(usize, Option<&'static str>),
    /// A backend for a dozen pages at once, each on a connection of its own.
    AtOnce(usize),
    /// A backend whether it is well, as health checks do.
    Health(usize),
    /// A host for the page from a port that it has seen a SYN from just before.
    Again(&'static str),
    /// The VIP for the page, always from this port.
    FromPort(u16),
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Everything that the tool printed.
    pub text: String,
    /// The status code of HTTP; 0 without one.
    pub status: u16,
    /// Bytes of the body.
    pub size: u64,
    /// Seconds to the end.
    pub seconds: f64,
}

/// What an answer must look like, and how often.
#[derive(Clone, Copy, Debug)]
pub enum Sign {
    /// Each time.
    Always(fn(&Answer) -> bool),
    /// Now and then.
    AtTimes(fn(&Answer) -> bool),
}

/// Who asks what, and what the answer is like.
pub type Signs = Vec<(&'static str, Ask, Sign)>;

/// Puts a question from a host.
pub fn put(lab: &Lab, host: &str, ask: Ask) -> Answer {
    let at = |address: &str| {
        format!(
            "--cacert {} --resolve {SERVICE}:443:{address} https://{SERVICE}/",
            lab.certificates.ca.display()
        )
    };
    let line = match ask {
        Ask::Dig(server) => format!("dig +time=1 +tries=1 {SERVICE} @{server}"),
        Ask::Dig6(server) => format!("dig +time=1 +tries=1 {SERVICE} AAAA @{server}"),
        Ask::Unchecked(server) => format!("dig +time=1 +tries=1 +cd {SERVICE} @{server}"),
        Ask::Page(address) | Ask::ByOwnClock(address) => at(address),
        Ask::LargeHello(address) => {
            // Eight protocols with names of 200 bytes.
            let names = vec!["x".repeat(200); 8].join(",");
            format!(
                "timeout 4 openssl s_client -connect {address}:443 -servername {SERVICE} -alpn {names}"
            )
        }
        Ask::Packed(address) => format!("-H Accept-Encoding:gzip {}", at(address)),
        Ask::InSession(address, server) => format!("-b {SESSION}={server} {}", at(address)),
        Ask::ByName => format!(
            "--cacert {} https://{SERVICE}/",
            lab.certificates.ca.display()
        ),
        Ask::FromPort(port) => format!("--local-port {port} {}", at(crate::address::VIP)),
        Ask::Health(number) => format!("http://{}{HEALTH_PATH}", BACKENDS[number]),
        Ask::Large(number) => format!("http://{}{LARGE_PATH}", BACKENDS[number]),
        Ask::AtOnce(number) => {
            format!(
                "-Z --parallel-immediate http://{}/?[1-12]",
                BACKENDS[number]
            )
        }
        Ask::Backend(number, None) => format!("http://{}/", BACKENDS[number]),
        Ask::Backend(number, Some(from)) => {
            format!("--interface {from} http://{}/", BACKENDS[number])
        }
        // The first one is refused, so that nobody remembers a connection and the port is free still.
        Ask::Again(address) => {
            format!("--local-port 30300-30399 http://{address}:9/ -o /dev/null http://{address}/")
        }
    };
    let mut words: Vec<&str> = line.split_whitespace().collect();
    let mut program = "curl";
    if matches!(words[0], "dig" | "timeout") {
        program = words.remove(0);
    } else {
        let format = "%{http_code} %{size_download} %{time_total}";
        words.extend(["-sS", "-m", "6", "-o", "/dev/null", "-w", format]);
    }
    let command = if let Ask::ByOwnClock(_) = ask {
        astray::command(&lab.run, Path::new(program))
    } else {
        Ok(lab.run.command(host, program))
    };
    let asked = command.map(|mut command| command.stdin(Stdio::null()).args(words).output());
    let Ok(Ok(output)) = asked else {
        return Answer::default();
    };
    let out = String::from_utf8_lossy(&output.stdout);
    let mut numbers = out.split_whitespace();
    Answer {
        status: numbers.next().and_then(|n| n.parse().ok()).unwrap_or(0),
        size: numbers.next().and_then(|n| n.parse().ok()).unwrap_or(0),
        seconds: numbers.next().and_then(|n| n.parse().ok()).unwrap_or(0.0),
        text: format!("{out}{}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// A page in time.
pub fn well(answer: &Answer) -> bool {
    answer.status == 200 && answer.seconds < 1.0
}

/// A lost packet costs a retransmission: 200 ms for data, a second for a SYN.
pub fn hurt(answer: &Answer) -> bool {
    answer.status != 200 || answer.seconds > 0.18
}

/// Nothing came.
pub fn timed_out(answer: &Answer) -> bool {
    answer.text.contains("timed out")
}

/// Of several answers one took as long as a SYN that is sent again.
pub fn one_was_held_up(answer: &Answer) -> bool {
    let words = answer.text.split_whitespace();
    let times = words.filter(|word| word.contains('.'));
    times
        .filter_map(|word| word.parse().ok())
        .any(|seconds: f64| seconds > 0.9)
}

/// Nothing came, or nobody was there.
pub fn no_answer(answer: &Answer) -> bool {
    timed_out(answer) || answer.text.contains("refused")
}
