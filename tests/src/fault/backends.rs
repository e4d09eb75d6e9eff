//! What goes wrong at a backend.

use anyhow::Result;

use super::edges::reframe;
use super::{Known, Listed, Row, Strength, behind_the_balancer};
use crate::address::{BACKEND_NAMES, BACKENDS, EDGES, VIP};
use crate::app::{IN_FRONT, behaviour_file, page};
use crate::behaviour::{self, AppBehaviour};
use crate::blame::{MASKED, Modes, PORT_REUSE, one, origin};
use crate::daemons;
use crate::expectation::Blame;
use crate::net::Balancer;
use crate::packets::{SYN, lose, once_a_minute, packets, translate};
use crate::said::Kind;
use crate::sign::Sign::{Always, AtTimes};
use crate::sign::{Answer, Ask, Signs, timed_out, well};
use crate::topology::Lab;
use crate::verdicts::Declared;

/// A fault of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BackendFault {
    /// Backend 2 answers 500 to every page.
    Fails,
    /// Backend 2 answers 500 to one page in five.
    FailsSome,
    /// Backend 2 answers 500 to one page in fifty.
    FailsSeldom,
    /// Backend 3 takes four seconds longer.
    Slow,
    /// Backend 2 takes four seconds longer for one page in four.
    SlowSome,
    /// Backend 2 takes 300 milliseconds longer.
    Slow300Ms,
    /// Backend 2 stands still for two seconds of every thirty.
    Pauses,
    /// Backend 1's port is closed, and health checks, where there are any, have taken it out.
    Closed,
    /// Backend 2's packet filter drops 40 % of the SYNs that reach it.
    DropsSyns,
    /// Backend 3 resets connections once it has read the request.
    Resets,
    /// The same, and backend 1 is late once.
    ResetsOneLate,
    /// Backend 1 sends half the body that it declares.
    Truncates,
    /// The same, and the edges frame anew what they get.
    TruncatesReframed,
    /// Backend 2 sends half of its large answers, and all of the others.
    TruncatesLarge,
    /// Backend 2 serves another page than its peers.
    OtherBody,
    /// Backend 2 drops SYNs from an address and port that it had one from within a minute.
    PortReuse,
    /// Every backend answers 500: what they share is broken.
    AllFail,
    /// Every backend takes a second and a half longer.
    AllSlow,
    /// Every backend's port is closed: the balancer takes connections, and there is nobody behind it.
    AllClosed,
}

/// Some of the backends (0 to 2).
type Which = &'static [usize];

/// What is to be said of a fault in a word.
struct Facts {
    name: &'static str,
    backends: Which,
    mode: &'static str,
    /// What the applications there are told to do.
    told: Option<AppBehaviour>,
    /// Further words for it where nobody but a client of the edges sees it.
    at_the_edges: Modes<'static>,
    strength: Strength,
    listed: Listed,
}

impl Facts {
    fn of(name: &'static str, backends: Which, mode: &'static str) -> Facts {
        Facts {
            name,
            backends,
            mode,
            told: None,
            at_the_edges: &[],
            strength: Strength::Hard,
            listed: Listed::Usual,
        }
    }

    /// The first of the backends.
    fn first(&self) -> usize {
        self.backends[0]
    }
}

impl BackendFault {
    /// All of them.
    pub const EVERY: [BackendFault; 19] = [
        BackendFault::Fails,
        BackendFault::FailsSome,
        BackendFault::FailsSeldom,
        BackendFault::Slow,
        BackendFault::SlowSome,
        BackendFault::Slow300Ms,
        BackendFault::Pauses,
        BackendFault::Closed,
        BackendFault::DropsSyns,
        BackendFault::Resets,
        BackendFault::ResetsOneLate,
        BackendFault::Truncates,
        BackendFault::TruncatesReframed,
        BackendFault::TruncatesLarge,
        BackendFault::OtherBody,
        BackendFault::PortReuse,
        BackendFault::AllFail,
        BackendFault::AllSlow,
        BackendFault::AllClosed,
    ];

    fn facts(self) -> Facts {
        let told = |behaviour| Some(behaviour);
        let (web1, web2, web3, all): (Which, Which, Which, Which) = (&[0], &[1], &[2], &[0, 1, 2]);
        match self {
            BackendFault::Fails => Facts {
                told: told(AppBehaviour::Fail { share: 1.0 }),
                ..Facts::of("backend-500", web2, "http_5xx")
            },
            BackendFault::FailsSome => Facts {
                told: told(AppBehaviour::Fail { share: 0.2 }),
                strength: Strength::Intermittent,
                ..Facts::of("backend-500-some", web2, "http_5xx")
            },
            BackendFault::FailsSeldom => Facts {
                told: told(AppBehaviour::Fail { share: 0.02 }),
                strength: Strength::Intermittent,
                listed: Listed::Seldom,
                ..Facts::of("backend-500-seldom", web2, "http_5xx")
            },
            BackendFault::AllFail => Facts {
                told: told(AppBehaviour::Fail { share: 1.0 }),
                ..Facts::of("backends-500", all, "http_5xx")
            },
            BackendFault::Slow => Facts {
                told: told(AppBehaviour::Slow {
                    ms: 4000,
                    share: 1.0,
                }),
                ..Facts::of("backend-slow", web3, "slow")
            },
            BackendFault::SlowSome => Facts {
                told: told(AppBehaviour::Slow {
                    ms: 4000,
                    share: 0.25,
                }),
                strength: Strength::Intermittent,
                ..Facts::of("backend-slow-some", web2, "slow")
            },
            BackendFault::Slow300Ms => Facts {
                told: told(AppBehaviour::Slow {
                    ms: 300,
                    share: 1.0,
                }),
                ..Facts::of("backend-slow-300ms", web2, "slow")
            },
            BackendFault::AllSlow => Facts {
                told: told(AppBehaviour::Slow {
                    ms: 1500,
                    share: 1.0,
                }),
                ..Facts::of("backends-slow", all, "slow")
            },
            BackendFault::Pauses => Facts {
                strength: Strength::Intermittent,
                listed: Listed::Seldom,
                ..Facts::of("backend-pauses", web2, "slow")
            },
            BackendFault::Closed => Facts {
                at_the_edges: &["http_5xx"],
                ..Facts::of("backend-closed", web1, "refuses")
            },
            BackendFault::AllClosed => Facts {
                at_the_edges: &["http_5xx"],
                ..Facts::of("backends-closed", all, "refuses")
            },
            // The balancer tries again: what is left is late, or given up.
            BackendFault::DropsSyns => Facts {
                at_the_edges: &["slow", "no_answer", "http_5xx"],
                strength: Strength::Intermittent,
                ..Facts::of("backend-drops-syns", web2, "host_firewall")
            },
            BackendFault::Resets => Facts {
                told: told(AppBehaviour::Reset),
                at_the_edges: &["http_5xx"],
                ..Facts::of("backend-resets", web3, "resets")
            },
            BackendFault::ResetsOneLate => Facts {
                told: told(AppBehaviour::Reset),
                at_the_edges: &["http_5xx"],
                ..Facts::of("backend-resets-one-late", web3, "resets")
            },
            BackendFault::Truncates => Facts {
                told: told(AppBehaviour::Truncate),
                ..Facts::of("backend-truncates", web1, "truncates")
            },
            BackendFault::TruncatesReframed => Facts {
                told: told(AppBehaviour::Truncate),
                at_the_edges: &["wrong_content"],
                ..Facts::of("backend-truncates-reframed", web1, "truncates")
            },
            BackendFault::TruncatesLarge => Facts {
                told: told(AppBehaviour::TruncateLarge),
                ..Facts::of("backend-truncates-large", web2, "large_answers_fail")
            },
            BackendFault::OtherBody => Facts {
                told: told(AppBehaviour::WrongBody),
                ..Facts::of("backend-other-body", web2, "wrong_content")
            },
            BackendFault::PortReuse => Facts::of("backend-port-reuse", web2, PORT_REUSE),
        }
    }
}

impl Row for BackendFault {
    fn name(&self) -> &'static str {
        self.facts().name
    }

    fn listed(&self) -> Listed {
        self.facts().listed
    }

    fn strength(&self) -> Strength {
        self.facts().strength
    }

    fn settles(&self) -> u64 {
        // Health checks take two seconds to take a backend out.
        let closed = matches!(self, BackendFault::Closed | BackendFault::AllClosed);
        if closed { 4 } else { 1 }
    }

    fn strikes_large_answers(&self) -> bool {
        *self == BackendFault::TruncatesLarge
    }

    fn fits(&self, balancer: Balancer) -> bool {
        // The application stands in for nginx here, and does not speak TLS.
        let plain = matches!(self, BackendFault::Resets | BackendFault::ResetsOneLate);
        !plain || balancer == Balancer::L7
    }

    fn truth(&self, balancer: Balancer) -> Vec<Blame> {
        let facts = self.facts();
        let name = BACKEND_NAMES[facts.first()];
        let blame = one(Kind::Backend, name, &[facts.mode]);
        let blame = match self {
            BackendFault::Closed if balancer.checks_health() => blame.felt(MASKED),
            // Neither the edges nor the balancer use a port again within a minute.
            BackendFault::PortReuse => blame.felt(MASKED),
            BackendFault::Pauses => blame.in_pattern("periodic"),
            // One verdict on what they share, and not on each that it be taken out of use.
            BackendFault::AllFail | BackendFault::AllSlow | BackendFault::AllClosed => {
                origin(&[facts.mode])
            }
            BackendFault::Closed
            | BackendFault::Fails
            | BackendFault::FailsSome
            | BackendFault::FailsSeldom
            | BackendFault::Slow
            | BackendFault::SlowSome
            | BackendFault::Slow300Ms
            | BackendFault::DropsSyns
            | BackendFault::Resets
            | BackendFault::ResetsOneLate
            | BackendFault::Truncates
            | BackendFault::TruncatesReframed
            | BackendFault::TruncatesLarge
            | BackendFault::OtherBody => blame,
        };
        vec![blame]
    }

    fn unaided(&self, balancer: Balancer) -> Vec<Blame> {
        let mut truth = self.truth(balancer);
        // Without an agent there a packet filter is one reason of several.
        if *self == BackendFault::DropsSyns {
            for part in truth.iter_mut().flat_map(|blame| &mut blame.parts) {
                part.modes.push("syn_unanswered");
            }
        }
        truth
    }

    fn asks_for(&self) -> &'static [&'static str] {
        if *self == BackendFault::DropsSyns {
            &["web2"]
        } else {
            &[]
        }
    }

    fn known(&self, declared: Declared, balancer: Balancer) -> Known {
        match declared {
            Declared::Name | Declared::Vip => {
                let facts = self.facts();
                let modes = [&[facts.mode], facts.at_the_edges].concat();
                behind_the_balancer(&self.truth(balancer), &modes)
            }
            Declared::Backends | Declared::All => Known::Clear,
        }
    }

    fn switch(&self, lab: &mut Lab, on: bool) -> Result<()> {
        let facts = self.facts();
        let number = facts.first();
        let host = BACKEND_NAMES[number];
        if let Some(broken) = facts.told {
            for number in facts.backends {
                application(lab, *number, on, broken)?;
            }
        }
        match self {
            BackendFault::Closed | BackendFault::AllClosed => {
                for number in facts.backends {
                    lab.webs[*number] = None;
                    if !on {
                        let started = daemons::web(&lab.run, *number, &lab.certificates)?;
                        lab.webs[*number] = Some(started);
                    }
                }
                Ok(())
            }
            BackendFault::Pauses => {
                lab.pauses = None;
                if on {
                    lab.pauses = lab.pause(number)?;
                }
                Ok(())
            }
            BackendFault::Resets => in_front(lab, host, on),
            BackendFault::ResetsOneLate => {
                application(lab, 0, on, AppBehaviour::LateOnce { ms: 900 })?;
                in_front(lab, host, on)
            }
            BackendFault::TruncatesReframed => reframe(lab, on),
            BackendFault::DropsSyns => {
                let rule = format!("input tcp dport {{ 80, 443 }} {SYN} {}", lose(0.4));
                packets(lab, host, on, &[rule])
            }
            BackendFault::PortReuse => packets(lab, host, on, &once_a_minute("")),
            BackendFault::Fails
            | BackendFault::FailsSome
            | BackendFault::FailsSeldom
            | BackendFault::Slow
            | BackendFault::SlowSome
            | BackendFault::Slow300Ms
            | BackendFault::Truncates
            | BackendFault::TruncatesLarge
            | BackendFault::OtherBody
            | BackendFault::AllFail
            | BackendFault::AllSlow => Ok(()),
        }
    }

    fn signs(&self, balancer: Balancer) -> Signs {
        let number = self.facts().first();
        let direct = ("dc1", Ask::Backend(number, None));
        let edge = ("home1", Ask::Page(EDGES[0]));
        let see = |(who, ask), sign| (who, ask, sign);
        match self {
            BackendFault::Fails => vec![
                see(direct, Always(|a| a.status == 500)),
                see(edge, AtTimes(|a| a.status == 500)),
            ],
            BackendFault::FailsSome | BackendFault::FailsSeldom => {
                vec![see(direct, AtTimes(|a| a.status == 500))]
            }
            BackendFault::AllFail => vec![
                see(direct, Always(|a| a.status == 500)),
                see(edge, Always(|a| a.status == 500)),
            ],
            BackendFault::AllSlow => vec![see(edge, Always(|a| a.seconds > 1.4))],
            BackendFault::Slow => vec![see(direct, Always(|a| a.seconds > 3.9))],
            BackendFault::SlowSome => vec![see(direct, AtTimes(|a| a.seconds > 3.9))],
            BackendFault::Slow300Ms => vec![
                see(direct, Always(|a| a.seconds > 0.3)),
                see(edge, AtTimes(|a| a.seconds > 0.3)),
            ],
            BackendFault::Pauses => vec![see(direct, AtTimes(|a| a.seconds > 0.4))],
            BackendFault::Closed => {
                let refused = see(direct, Always(|a| a.text.contains("connect to server")));
                // Without health checks nothing takes it out of use.
                let served = match balancer.checks_health() {
                    true => see(edge, Always(well)),
                    false => see(edge, AtTimes(|a| a.status == 521)),
                };
                vec![refused, served]
            }
            BackendFault::AllClosed => {
                let refused = see(direct, Always(|a| a.text.contains("connect to server")));
                let failed = see(edge, Always(|a| a.status >= 500));
                // It takes the connection, ends TLS, and has nobody to ask.
                let taken = ("cdn1", Ask::Page(VIP), Always(|a: &Answer| a.status == 503));
                match balancer {
                    Balancer::L7 => vec![refused, failed, taken],
                    Balancer::Tcp | Balancer::L4 | Balancer::Dsr => vec![refused, failed],
                }
            }
            BackendFault::DropsSyns => vec![see(direct, AtTimes(|a| a.seconds > 0.9))],
            BackendFault::Resets => vec![
                see(direct, Always(|a| a.text.contains("reset"))),
                see(edge, AtTimes(|a| a.status == 502)),
            ],
            BackendFault::ResetsOneLate => vec![
                ("dc1", Ask::Backend(0, None), AtTimes(|a| a.seconds > 0.8)),
                see(direct, Always(|a| a.text.contains("reset"))),
            ],
            BackendFault::Truncates => vec![
                see(direct, Always(cut_short)),
                see(edge, AtTimes(cut_short)),
            ],
            BackendFault::TruncatesReframed => vec![
                see(direct, Always(cut_short)),
                see(edge, AtTimes(|a| a.status == 200 && is_other(a))),
            ],
            BackendFault::TruncatesLarge => vec![
                ("dc1", Ask::Large(number), Always(cut_short)),
                ("dc1", Ask::Large(0), Always(well)),
                see(direct, Always(well)),
            ],
            BackendFault::OtherBody => vec![
                see(direct, Always(|a| is_other(a) && well(a))),
                see(edge, AtTimes(|a| is_other(a) && well(a))),
            ],
            BackendFault::PortReuse => vec![
                ("dc1", Ask::Again(BACKENDS[1]), Always(timed_out)),
                ("dc1", Ask::Again(BACKENDS[0]), Always(|a| !timed_out(a))),
                see(direct, Always(well)),
                see(edge, Always(well)),
            ],
        }
    }
}

fn cut_short(answer: &Answer) -> bool {
    answer.text.contains("(18)")
}

fn is_other(answer: &Answer) -> bool {
    answer.size != page().len() as u64
}

fn application(lab: &Lab, number: usize, on: bool, broken: AppBehaviour) -> Result<()> {
    let file = behaviour_file(&lab.folder(), BACKEND_NAMES[number]);
    behaviour::write(&file, if on { broken } else { AppBehaviour::Well })
}

/// Puts the application itself in nginx's place.
fn in_front(lab: &Lab, host: &str, on: bool) -> Result<()> {
    let port = IN_FRONT.rsplit_once(':').map_or("8081", |(_, port)| port);
    let chain =
        format!("type nat hook prerouting priority -100;\ntcp dport 80 redirect to :{port}");
    translate(lab, host, on, &chain)
}
