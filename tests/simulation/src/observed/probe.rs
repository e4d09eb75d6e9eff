//! Probes: an arm fired from a vantage point, and the observation that comes of it.

use std::net::{IpAddr, SocketAddr};

use localize::{
    Arm, Facts, Failure, Firing, HttpFacts, Layer, Micros, Observation, ObservationId, Outcome,
    Role, RoundId, Scheme, ServiceName, Stamp, Step, Target, TcpFacts, TlsFacts,
};

use super::history::SECOND;
use super::site::{Declared, Extent, Place, Site};
use super::wire::{Fetched, Handshake, Host, Leg, Page, Terms};
use super::witness;
use super::world::World;

/// Limits as agents have them when nobody says otherwise.
const CONNECT_US: u64 = 5 * SECOND;
const TLS_US: u64 = 5 * SECOND;
const TOTAL_US: u64 = 10 * SECOND;

/// Steps passed, and how it ended.
pub(crate) struct Run {
    pub(crate) steps: Vec<Step>,
    pub(crate) end: Result<(), (Layer, Failure, u64)>,
    pub(crate) facts: Facts,
}

impl Run {
    /// Whether what was answered is not what a healthy site answers.
    fn is_other(&self, site: &Site) -> bool {
        let dns = self.facts.dns.as_ref();
        let http = self.facts.http.as_ref();
        dns.is_some_and(|dns| dns.addresses.contains(&site.former.ip()))
            || http.is_some_and(|http| http.body_bytes != site.page_bytes)
    }
}

impl World {
    /// The arms that a vantage point fires in a round, as the coordinator plans them.
    pub(crate) fn arms(&self, vantage: usize) -> Vec<Arm> {
        let site = &self.site;
        let point = &site.vantages[vantage].point;
        let near = point.host.is_some() || point.role != Role::Outside;
        let mut arms: Vec<Arm> = Vec::new();
        let mut add = |target| arms.push(Arm::to(target));
        point
            .resolvers
            .iter()
            .for_each(|server| add(Target::Resolver { server: *server }));
        for found in &site.name_servers {
            add(Target::NameServer {
                name: found.name.clone(),
                server: found.server,
            });
        }
        let vips: &[SocketAddr] = if site.declared == Declared::Name {
            &[]
        } else {
            &site.vips
        };
        let former = self.former.then_some(site.former);
        if point.host.is_none() {
            let edges = site.public().iter().copied().chain(former);
            let edges = edges.filter(|edge| !vips.contains(edge));
            edges.for_each(|address| add(Target::Edge { address }));
        }
        for address in vips
            .iter()
            .filter(|vip| near || site.public().contains(vip))
        {
            add(Target::Vip { address: *address });
        }
        if site.declared >= Declared::Backends
            && (point.host.is_some() || point.role == Role::Inside)
        {
            for backend in &site.backends {
                let target = Target::Backend {
                    name: backend.declared.name.clone(),
                    address: backend.declared.address,
                };
                let several = point.addresses.len() > 1;
                arms.extend(
                    point
                        .addresses
                        .iter()
                        .take(if several { 8 } else { 1 })
                        .map(|own| Arm {
                            source: several.then_some(*own),
                            ..Arm::to(target.clone())
                        }),
                );
            }
        }
        arms
    }

    /// Fires an arm at an instant.
    pub(crate) fn probe(
        &mut self,
        vantage: usize,
        arm: Arm,
        round: RoundId,
        at_us: u64,
    ) -> Observation {
        self.clock_us = at_us;
        let busy = self.noise.busy_us(&mut self.rng, vantage, at_us);
        let mut run = match &arm.target {
            Target::Resolver { server } => self.ask_resolver(vantage, *server),
            Target::NameServer { name, .. } => self.ask_name_server(vantage, &name.clone()),
            Target::Edge { .. } | Target::Vip { .. } | Target::Backend { .. } => {
                self.ask_service(vantage, &arm)
            }
        };
        self.note_end(run.end.is_err() || run.is_other(&self.site));
        for step in &mut run.steps {
            let late = self.noise.busy_us(&mut self.rng, vantage, at_us);
            step.took.0 += late;
        }
        self.sequences[vantage] += 1;
        let point = &self.site.vantages[vantage].point;
        Observation {
            id: ObservationId {
                vantage: point.name.clone(),
                sequence: self.sequences[vantage],
            },
            service: ServiceName(self.site.service.clone()),
            round,
            arm,
            started: Stamp {
                at_us: at_us + busy / 10,
                uncertainty_us: 300,
            },
            scheduled_us: at_us,
            firing: if busy > 100_000 {
                Firing::Late {
                    by: Micros(busy / 10),
                    why: "the timer fired late".to_owned(),
                }
            } else {
                Firing::OnTime
            },
            steps: run.steps,
            outcome: match run.end {
                Ok(()) => Outcome::Passed,
                Err((layer, failure, after)) => Outcome::Failed {
                    layer,
                    failure,
                    after: Micros(after),
                },
            },
            facts: run.facts,
        }
    }

    fn ask_service(&mut self, vantage: usize, arm: &Arm) -> Run {
        let own = self.site.vantages[vantage].point.addresses[0];
        let source = arm.source.unwrap_or(own);
        let local = self.next_port(source);
        let at_us = self.clock_us;
        let fetched = match self.leg(vantage, arm, source) {
            Some(leg) => {
                let terms = self.terms(&arm.target);
                self.fetch(&leg, &terms)
            }
            // Nobody is there, or the balancer has nobody to forward to.
            None => nowhere(arm, self.site.former),
        };
        witness::note(self, vantage, arm, local, at_us, &fetched);
        let edge = matches!(&arm.target, Target::Edge { .. }) && self.site.has_cdn();
        self.run(fetched, local, edge)
    }

    fn terms(&self, target: &Target) -> Terms {
        let scheme = match target {
            Target::Backend { name, .. } => {
                let mut backends = self.site.backends.iter();
                let found = backends.find(|b| b.declared.name == *name);
                found.map_or(Scheme::Http, |b| b.declared.scheme)
            }
            Target::Resolver { .. }
            | Target::NameServer { .. }
            | Target::Edge { .. }
            | Target::Vip { .. } => self.site.scheme,
        };
        Terms {
            connect_us: CONNECT_US,
            tls_us: TLS_US,
            answer_us: TOTAL_US,
            total_us: TOTAL_US,
            strict: true,
            tls: scheme == Scheme::Https,
            request: scheme != Scheme::Tcp,
        }
    }

    /// The way that an arm's probe takes; `None` where it ends nowhere.
    fn leg(&mut self, vantage: usize, arm: &Arm, source: IpAddr) -> Option<Leg> {
        let place = &self.site.vantages[vantage];
        let (to_edges, to_site) = (place.to_edges_ms * 1000.0, place.to_site_ms * 1000.0);
        let access = if self.site.on_balancer(vantage) {
            Vec::new()
        } else {
            vec![Place::Access(vantage)]
        };
        // What leaves a backend's host does so as its answers do.
        let leaves = |to: IpAddr| {
            let own = self.site.on_backend(vantage);
            own.map(|b| Place::Return(b, Extent::One(to)))
        };
        let leg = |host, out: Vec<Place>, back: Vec<Place>, rtt_us| Leg {
            out,
            host,
            back,
            rtt_us,
            scatter: self.noise.scatter[vantage],
            local: false,
        };
        match &arm.target {
            Target::Edge { address } | Target::Vip { address } => {
                if let Some(e) = self.site.edges.iter().position(|edge| edge == address) {
                    return Some(leg(Host::Edge(e), access.clone(), access, to_edges));
                }
                let vip = self.site.vips.iter().position(|vip| vip == address)?;
                let out = access.iter().copied().chain(leaves(address.ip())).collect();
                let to_vip = leg(Host::Balancer(vip), out, access, to_site);
                self.through_balancer(to_vip, vip, source)
            }
            Target::Backend { name, address } => {
                let mut backends = self.site.backends.iter();
                let b = backends.position(|b| b.declared.name == *name)?;
                let host = Host::Backend(b);
                if self.site.on_backend(vantage) == Some(b) {
                    return Some(Leg {
                        local: true,
                        ..leg(host, Vec::new(), Vec::new(), 60.0)
                    });
                }
                let back = [Place::Return(b, Extent::One(source))];
                if self.site.on_balancer(vantage) {
                    return Some(leg(host, vec![Place::LbPath(b)], back.to_vec(), 300.0));
                }
                let out = access.iter().copied().chain(leaves(address.ip())).collect();
                let back = back.into_iter().chain(access).collect();
                Some(leg(host, out, back, to_site))
            }
            Target::Resolver { .. } | Target::NameServer { .. } => None,
        }
    }

    fn run(&self, fetched: Fetched, local: SocketAddr, edge: bool) -> Run {
        let again = fetched.handshake.sent.saturating_sub(1);
        let page = fetched.end.as_ref().ok().or(fetched.page.as_ref());
        let http_us = fetched
            .steps
            .iter()
            .find(|s| s.layer == Layer::Http)
            .map(|s| s.took);
        let tls = fetched.steps.iter().any(|s| s.layer == Layer::Tls);
        let after = fetched
            .end
            .as_ref()
            .err()
            .map(|(_, _, after)| Micros(*after));
        let first_byte = http_us.or(after).unwrap_or_default();
        let asked = page.filter(|page| page.bytes > 0);
        let facts = Facts {
            dns: None,
            tcp: Some(TcpFacts {
                local,
                syn_retransmissions: again,
                retransmissions: again,
                rtt: fetched.steps.first().filter(|_| again == 0).map(|s| s.took),
                reused_after: None,
                options: None,
            }),
            tls: tls.then(|| TlsFacts {
                leaf: "9a".repeat(16),
                not_after: 1_800_000_000,
                not_before: None,
                judged_at: None,
            }),
            http: asked.map(|page| HttpFacts {
                redirect: Default::default(),
                status: page.status,
                first_byte,
                body_bytes: page.bytes,
                body_digest: page.digest.clone(),
                headers: self.headers(page, edge),
            }),
        };
        Run {
            steps: fetched.steps,
            end: fetched.end.map(drop),
            facts,
        }
    }

    fn headers(&self, page: &Page, edge: bool) -> Vec<(String, String)> {
        let mut headers = vec![("content-type".to_owned(), "text/html".to_owned())];
        if self.site.tells
            && let Some(by) = page.by
        {
            let name = self.site.backends[by].declared.name.clone();
            headers.push(("x-served-by".to_owned(), name));
        }
        if edge && self.site.provider_known {
            let (name, value) = self.site.edge.header;
            headers.push((name.to_owned(), value.to_owned()));
        }
        if page.hit {
            headers.push(("age".to_owned(), "3".to_owned()));
        }
        headers
    }
}

/// A connection to an address where nobody is, or where nobody is left.
fn nowhere(arm: &Arm, former: SocketAddr) -> Fetched {
    let gone = matches!(arm.target, Target::Edge { address } if address == former);
    let (failure, after, sent) = if gone {
        (Failure::ConnectTimeout, CONNECT_US, 3)
    } else {
        (Failure::ConnectRefused, 400, 1)
    };
    Fetched {
        steps: Vec::new(),
        end: Err((Layer::Tcp, failure, after)),
        page: None,
        handshake: Handshake {
            sent,
            ..Handshake::default()
        },
    }
}
