//! What servers and proxies do with requests.

use std::net::IpAddr;

use localize::{Failure, Scheme};
use rand::Rng;

use super::history::SECOND;
use super::modes::{Effect, Stage};
use super::noise::exponential;
use super::proxies::{Cut, Instead, Manners};
use super::site::{Balancing, Extent, Place};
use super::wire::{FOR_EVER, Host, Leg, Page, Served};
use super::world::{Kept, World};

impl World {
    /// What a server answers, its own faults included.
    pub(crate) fn serve(&mut self, host: Host) -> Served {
        let met = self.meet(host.place(), Stage::Http);
        match met {
            Some((Effect::Reset, _)) => return Err((Failure::ResetAfterRequest, None)),
            Some((Effect::Closed, _)) => return Err((Failure::ClosedWithoutAnswer, None)),
            Some((Effect::Status(status), _)) => return Err(self.error(status, host)),
            Some((Effect::EdgeStatus(status), _)) => {
                let status = if self.site.edge.own_statuses {
                    status
                } else {
                    502
                };
                return Err(self.error(status, host));
            }
            Some((Effect::Hangs, _)) => {
                self.pass(FOR_EVER);
                return Err((Failure::HttpTimeout, None));
            }
            Some((Effect::BodyHangs, _)) => {
                self.pass(FOR_EVER);
                return Err((Failure::BodyTimeout, None));
            }
            Some((Effect::Late, late_ms)) => self.late(late_ms),
            // What befalls the answer itself comes after it.
            Some(_) | None => {}
        }
        let page = match host {
            Host::Edge(e) => self.at_edge(e),
            Host::Balancer(_) if !self.site.backends.is_empty() => self.balance(),
            Host::Balancer(v) => self.work(0, Host::Balancer(v)),
            Host::Backend(b) => self.work(b, host),
        }?;
        match met {
            Some((Effect::Cut, _)) => Err((Failure::BodyTruncated, None)),
            Some((Effect::WrongBody, _)) => Ok(Page {
                by: page.by,
                ..self.other_page()
            }),
            Some(_) | None => Ok(page),
        }
    }

    /// Another page than the site's.
    pub(crate) fn other_page(&self) -> Page {
        Page {
            status: 200,
            bytes: self.site.page_bytes / 2 + 7,
            digest: "0dd0".repeat(8),
            by: None,
            hit: false,
        }
    }

    /// A page that says that something went wrong.
    pub(crate) fn error(&mut self, status: u16, host: Host) -> (Failure, Option<Page>) {
        let own = matches!(host, Host::Edge(_)) && self.site.edge.own_statuses;
        let failure = if own && (520..=530).contains(&status) {
            Failure::CdnStatus(status)
        } else {
            Failure::HttpStatus(status)
        };
        let page = Page {
            status,
            bytes: 310,
            digest: format!("{status:032x}"),
            by: backend_of(host),
            hit: false,
        };
        (failure, Some(page))
    }

    /// An application makes a page.
    fn work(&mut self, server: usize, host: Host) -> Served {
        let work_ms = self.site.backends.get(server).map_or(8.0, |b| b.work_ms);
        let work = self.scattered(work_ms * 1000.0, 0.25);
        self.pass(work);
        let (errors, late) = self.noise.server(server);
        if self.chance(errors) {
            return Err(self.error(500, host));
        }
        if self.chance(late) {
            let more = exponential(&mut self.rng, 400e3);
            self.pass(more);
        }
        self.page(backend_of(host))
    }

    /// What a balancer of layer 7 gets from its backends.
    fn balance(&mut self) -> Served {
        let balancer = self.site.balancer;
        let manners = &balancer.manners;

        let mut tried = Vec::new();
        let Some(mut backend) = self.next_backend(&tried) else {
            return Err(self.error(balancer.nobody, Host::Balancer(0)));
        };
        let mut attempt = 0;
        loop {
            let leg = self.backend_leg(backend);
            let tls = self.site.ends_tls(Place::Backend(backend));
            let fetched = self.fetch(&leg, &manners.terms(tls));
            let Err((layer, failure, _)) = fetched.end else {
                return fetched.end.map_err(|(_, failure, _)| (failure, None));
            };
            if attempt >= manners.retries || !manners.tries_again(layer, failure) {
                return self.instead(manners, failure, fetched.page, Host::Balancer(0));
            }
            attempt += 1;
            self.lose(1000.0 * manners.pause_ms as f64);
            if attempt > balancer.insists {
                tried.push(backend);
                match self.next_backend(&tried) {
                    Some(next) => backend = next,
                    None => return self.instead(manners, failure, fetched.page, Host::Balancer(0)),
                }
            }
        }
    }

    /// What a proxy answers in place of an answer that it did not get whole.
    fn instead(
        &mut self,
        manners: &Manners,
        failure: Failure,
        page: Option<Page>,
        proxy: Host,
    ) -> Served {
        match manners.answers.to(failure) {
            Instead::HandsOn => Err((failure, page)),
            Instead::Status(status) => Err(self.error(status, proxy)),
            Instead::CutOff => match manners.cut {
                Cut::HandedOn => Err((Failure::BodyTruncated, None)),
                Cut::Kept => Err(self.error(502, proxy)),
                Cut::Held => {
                    self.pass(FOR_EVER);
                    Err((Failure::BodyTimeout, None))
                }
                Cut::Reframed => self.page(None).map(|page| Page {
                    bytes: page.bytes / 2,
                    digest: "c0de".repeat(8),
                    ..page
                }),
            },
        }
    }

    /// What an edge gets from its cache or the site.
    fn at_edge(&mut self, edge: usize) -> Served {
        let now = self.clock_us;
        let kept = self.edge_caches[edge]
            .as_ref()
            .filter(|kept| now < kept.until_us);
        if let Some(kept) = kept {
            return Ok(Page {
                hit: true,
                ..kept.what.clone()
            });
        }
        let manners = &self.site.edge.manners;
        let vip = self.rng.random_range(0..self.site.vips.len());
        let mut attempt = 0;
        loop {
            let from = self.site.edges[edge].ip();
            let rtt_us = self.noise.edge_rtt_us[edge];
            let hop = Leg {
                out: vec![Place::OriginPath(edge, vip)],
                host: Host::Balancer(vip),
                back: vec![Place::OriginPath(edge, vip)],
                rtt_us,
                scatter: 0.1,
                local: false,
            };
            let Some(leg) = self.through_balancer(hop, vip, from) else {
                return Err(self.error(manners.answers.refused, Host::Edge(edge)));
            };
            let tls = self.site.scheme == Scheme::Https;
            let fetched = self.fetch(&leg, &manners.terms(tls));
            match fetched.end {
                Ok(page) => {
                    if self.site.cached_s > 0 {
                        self.edge_caches[edge] = Some(Kept {
                            until_us: self.clock_us + self.site.cached_s * SECOND,
                            what: page.clone(),
                        });
                    }
                    return Ok(page);
                }
                Err((layer, failure, _)) => {
                    if attempt >= manners.retries || !manners.tries_again(layer, failure) {
                        return self.instead(manners, failure, fetched.page, Host::Edge(edge));
                    }
                }
            }
            attempt += 1;
        }
    }

    /// A way that ends at a VIP, led on to a backend where the balancer forwards connections; `None` when
    /// it has nobody to forward them to.
    pub(crate) fn through_balancer(&mut self, leg: Leg, vip: usize, client: IpAddr) -> Option<Leg> {
        let to = match self.site.balancing {
            Balancing::Proxied => return Some(leg),
            Balancing::Forwarded | Balancing::Direct => client,
            Balancing::Translated => self.site.balancer_addresses[0],
        };
        let backend = self.next_backend(&[])?;
        let Leg {
            mut out, mut back, ..
        } = leg.clone();
        out.extend([Place::Balancer(vip), Place::LbPath(backend)]);
        if self.site.balancing != Balancing::Direct {
            back.insert(0, Place::Balancer(vip));
        }
        back.insert(0, Place::Return(backend, Extent::One(to)));
        Some(Leg {
            out,
            back,
            host: Host::Backend(backend),
            ..leg
        })
    }
}

/// The backend that made an answer, where one did.
const fn backend_of(host: Host) -> Option<usize> {
    match host {
        Host::Backend(b) => Some(b),
        Host::Edge(_) | Host::Balancer(_) => None,
    }
}
