//! What a person at the keyboard sees of each fault, with `dig` and `curl`: the proof that a fault
//! does what it says, without the programs under test.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::address::{
    BACKENDS, BALANCER, EDGES, NAME_SERVERS, REMOVED_EDGE, RESOLVERS, SERVICE, VIP,
};
use crate::app::{HEALTH_PATH, LARGE_PATH};
use crate::clock;
use crate::fault::Fault;
use crate::net::Balancer;
use crate::topology::Lab;

/// Tries for a fault that strikes at times. At a share of 0.2, one such series in 200 shows nothing,
/// so the series is repeated once.
const TRIES: usize = 24;

/// A question that a person would ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    /// A name server or resolver for the service's addresses.
    Dig(&'static str),
    /// An edge for the page.
    Page(&'static str),
    /// A backend for the large object.
    Large(usize),
    /// A backend for the page, from this address where it matters.
    Backend(usize, Option<&'static str>),
    /// A backend whether it is well, as health checks do.
    Health(usize),
    /// A host for the page from a port that it has seen a SYN from just before.
    Again(&'static str),
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Answer {
    /// Everything that the tool printed.
    text: String,
    /// The status code of HTTP; 0 without one.
    status: u16,
    /// Bytes of the body.
    size: u64,
    /// Seconds to the end.
    seconds: f64,
}

/// What an answer must look like, and how often.
#[derive(Clone, Copy, Debug)]
enum Sign {
    Always(fn(&Answer) -> bool),
    AtTimes(fn(&Answer) -> bool),
}

/// Checks on the running path that the fault shows. The path must be well when this is called, and
/// is well again afterwards.
pub fn verify(lab: &mut Lab, fault: Fault) -> Result<()> {
    fault.apply(lab)?;
    std::thread::sleep(fault.settles());
    let mut signs = signs(fault);
    if lab.mode == Balancer::L4 && fault == Fault::BackendClosed {
        // Without health checks nothing takes the backend out of use.
        signs.truncate(1);
    }
    let seen = signs.into_iter().try_for_each(|(host, ask, sign)| {
        shows(lab, host, ask, sign).with_context(|| format!("{host} {ask:?}"))
    });
    fault.revert(lab)?;
    seen?;
    let mut last = Ok(());
    let well = clock::wait_until(Duration::from_secs(15), || {
        last = lab.check();
        last.is_ok()
    });
    if !well {
        last.context("the path is not well after the fault is off")?;
    }
    Ok(())
}

fn shows(lab: &Lab, host: &str, ask: Ask, sign: Sign) -> Result<()> {
    match sign {
        Sign::Always(is) => {
            for _ in 0..3 {
                let answer = put(lab, host, ask);
                if !is(&answer) {
                    bail!("{answer:?}");
                }
            }
            Ok(())
        }
        Sign::AtTimes(is) => {
            let mut answers = Vec::new();
            for _ in 0..2 * TRIES {
                answers.push(put(lab, host, ask));
                let hits = answers.iter().filter(|answer| is(answer)).count();
                if hits > 0 && hits < answers.len() {
                    return Ok(());
                }
            }
            bail!(
                "always or never in {} tries: {:?}",
                answers.len(),
                answers.last()
            );
        }
    }
}

fn put(lab: &Lab, host: &str, ask: Ask) -> Answer {
    let line = match ask {
        Ask::Dig(server) => format!("dig +time=1 +tries=1 {SERVICE} @{server}"),
        Ask::Page(edge) => format!(
            "--cacert {} --resolve {SERVICE}:443:{edge} https://{SERVICE}/",
            lab.certificates.ca.display()
        ),
        Ask::Health(number) => format!("http://{}{HEALTH_PATH}", BACKENDS[number]),
        Ask::Large(number) => format!("http://{}{LARGE_PATH}", BACKENDS[number]),
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
    if let Ask::Dig(_) = ask {
        program = words.remove(0);
    } else {
        let format = "%{http_code} %{size_download} %{time_total}";
        words.extend(["-sS", "-m", "6", "-o", "/dev/null", "-w", format]);
    }
    let Ok(output) = lab.run.command(host, program).args(words).output() else {
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

fn well(answer: &Answer) -> bool {
    answer.status == 200 && answer.seconds < 1.0
}

/// A lost packet costs a retransmission: 200 ms for data, a second for a SYN.
fn hurt(answer: &Answer) -> bool {
    answer.status != 200 || answer.seconds > 0.18
}

fn timed_out(answer: &Answer) -> bool {
    answer.text.contains("timed out")
}

fn no_answer(answer: &Answer) -> bool {
    timed_out(answer) || answer.text.contains("refused")
}

/// Who asks what, and what the answer is like.
type Signs = Vec<(&'static str, Ask, Sign)>;

fn signs(fault: Fault) -> Signs {
    use Sign::{Always, AtTimes};
    let edge1 = Ask::Page(EDGES[0]);
    let edge2 = Ask::Page(EDGES[1]);
    let [first, second] = BALANCER.map(Some);
    let direct = |number| Ask::Backend(number, None);
    match fault {
        Fault::ResolverDead => vec![("home1", Ask::Dig(RESOLVERS[0]), Always(no_answer))],
        Fault::ResolverLossy => vec![("home2", Ask::Dig(RESOLVERS[1]), AtTimes(timed_out))],
        Fault::AuthoritativeRefuses => vec![(
            "home1",
            Ask::Dig(NAME_SERVERS[0]),
            Always(|a| a.text.contains("REFUSED")),
        )],
        Fault::AuthoritativeRemovedEdge => vec![(
            "home1",
            Ask::Dig(NAME_SERVERS[1]),
            Always(|a| a.text.contains(REMOVED_EDGE)),
        )],
        Fault::EdgeAnswers500 => vec![
            ("home1", edge1, Always(|a| a.status == 500)),
            ("home1", edge2, Always(well)),
        ],
        Fault::EdgeStalls => vec![("home2", edge2, Always(timed_out))],
        Fault::EdgesReset => vec![
            ("home1", edge1, AtTimes(|a| a.status == 0)),
            ("home1", edge2, AtTimes(|a| a.status == 0)),
        ],
        Fault::EdgeExpired => vec![("home1", edge1, Always(|a| a.text.contains("expired")))],
        Fault::EdgeCutOff => vec![
            ("home1", edge1, Always(|a| a.status == 522)),
            ("home1", edge2, Always(well)),
        ],
        Fault::BalancerDead => vec![("home1", edge1, Always(|a| a.status == 521))],
        Fault::Balancer503 => vec![("home1", edge1, Always(|a| a.status == 503))],
        Fault::BalancerExpired => vec![("home1", edge1, Always(|a| a.status == 526))],
        Fault::HomeLossy => vec![
            ("home1", edge1, AtTimes(hurt)),
            ("home2", edge1, Always(well)),
        ],
        Fault::TwoAtOnce => [signs(Fault::BackendFails), signs(Fault::ResolverDead)].concat(),
        Fault::BackendFails => vec![
            ("dc1", direct(1), Always(|a| a.status == 500)),
            ("home1", edge1, AtTimes(|a| a.status == 500)),
        ],
        Fault::BackendFailsSome | Fault::BackendFailsSeldom => {
            vec![("dc1", direct(1), AtTimes(|a| a.status == 500))]
        }
        Fault::BackendSlow => vec![("dc1", direct(2), Always(|a| a.seconds > 3.9))],
        Fault::BackendSlow300Ms => vec![
            ("dc1", direct(1), Always(|a| a.seconds > 0.3)),
            ("home1", edge1, AtTimes(|a| a.seconds > 0.3)),
        ],
        Fault::BackendClosed => vec![
            (
                "dc1",
                direct(0),
                Always(|a| a.text.contains("connect to server")),
            ),
            ("home1", edge1, Always(well)),
        ],
        Fault::BackendDropsSyns => vec![("dc1", direct(1), AtTimes(|a| a.seconds > 0.9))],
        Fault::BackendResets => vec![
            ("dc1", direct(2), Always(|a| a.text.contains("reset"))),
            ("home1", edge1, AtTimes(|a| a.status == 502)),
        ],
        Fault::BackendTruncates => vec![
            ("dc1", direct(0), Always(|a| a.text.contains("(18)"))),
            ("home1", edge1, AtTimes(|a| a.text.contains("(18)"))),
        ],
        Fault::BackendTruncatesLarge => vec![
            ("dc1", Ask::Large(1), Always(|a| a.text.contains("(18)"))),
            ("dc1", Ask::Large(0), Always(well)),
            ("dc1", direct(1), Always(well)),
        ],
        Fault::BackendOtherBody => {
            let others = |a: &Answer| a.size != crate::app::page().len() as u64 && well(a);
            vec![
                ("dc1", direct(1), Always(others)),
                ("home1", edge1, AtTimes(others)),
            ]
        }
        Fault::BackendPortReuse => vec![
            ("dc1", Ask::Again(BACKENDS[1]), Always(timed_out)),
            ("dc1", Ask::Again(BACKENDS[0]), Always(|a| !timed_out(a))),
            ("dc1", direct(1), Always(well)),
            ("home1", edge1, Always(well)),
        ],
        Fault::BalancerPortReuse => vec![
            ("dc1", Ask::Again(VIP), Always(timed_out)),
            ("home1", edge1, Always(well)),
        ],
        Fault::PathLosesSyns => vec![
            ("lb", direct(1), AtTimes(|a| a.seconds > 0.9)),
            ("dc1", direct(1), Always(well)),
        ],
        Fault::ReturnRouteBalancer => vec![
            ("lb", Ask::Backend(0, second), Always(timed_out)),
            ("lb", Ask::Backend(0, first), Always(well)),
            ("home1", edge1, Always(well)),
        ],
        Fault::ReturnRouteDc1 => vec![
            ("dc1", direct(0), Always(timed_out)),
            ("lb", direct(0), Always(well)),
        ],
        Fault::ReturnBlackHole => vec![
            ("lb", direct(1), Always(timed_out)),
            ("lb", Ask::Health(1), Always(well)),
            ("dc1", direct(1), Always(well)),
            ("home1", edge1, AtTimes(|a| a.status == 524)),
        ],
        Fault::ReturnAnswersLost => vec![
            ("lb", direct(1), AtTimes(hurt)),
            ("dc1", direct(1), Always(well)),
        ],
    }
}
