//! What edges, balancer and backends make of a request.

use std::net::IpAddr;

use localize::{Encoding, Facts, Failure, HttpFacts, Layer, Micros, Object, Redirect, Step};

use super::{End, Fault, World};

impl World {
    /// Delay that losing packets at a rate adds to a stage of so many packets, in microseconds.
    pub(super) fn packets(&mut self, loss: f64, n: u32) -> u64 {
        let mut delay = 0;
        for _ in 0..n {
            let mut wait = 250_000;
            while self.random.chance(loss) && delay < 6_000_000 {
                delay += wait;
                wait *= 2;
            }
        }
        delay
    }

    pub(super) fn tls(
        &mut self,
        loss: f64,
        refused: Option<Failure>,
        steps: &mut Vec<Step>,
    ) -> End {
        if let Some(failure) = refused {
            return Err((Layer::Tls, failure, 1000));
        }
        let took = 1500 + self.packets(loss, 6);
        if took > 3_000_000 {
            return Err((Layer::Tls, Failure::TlsTimeout, 3_000_000));
        }
        steps.push(Step {
            layer: Layer::Tls,
            took: Micros(took),
        });
        Ok(())
    }

    pub(super) fn at_edge(
        &mut self,
        i: usize,
        loss: f64,
        steps: &mut Vec<Step>,
        facts: &mut Facts,
    ) -> End {
        let refused = self.has(|f| match f {
            Fault::EdgeCertificate(j) if *j == i => Some(Failure::CertificateExpired),
            // Before the chain of another server was seen nobody knows the intermediate.
            Fault::EdgeChain(j) if *j == i && self.round == 1 => {
                Some(Failure::CertificateUnknownIssuer)
            }
            Fault::EdgeChain(j) if *j == i => Some(Failure::CertificateChainIncomplete),
            _ => None,
        });
        self.tls(loss, refused, steps)?;
        if self.share(|f| {
            if let Fault::EdgesReset(p) = f {
                Some(*p)
            } else {
                None
            }
        }) {
            return Err((Layer::Http, Failure::ResetAfterRequest, 500));
        }
        if self.faults.contains(&Fault::EdgeStalls(i)) {
            return Err((Layer::Http, Failure::HttpTimeout, 6_000_000));
        }
        let own = self.has(|f| match f {
            Fault::EdgeStatus(j, s, p) if *j == i => Some((*s, *p)),
            _ => None,
        });
        if let Some((status, p)) = own
            && self.random.chance(p)
        {
            return Err((Layer::Http, Failure::HttpStatus(status), 900));
        }
        let cdn = |status| Err((Layer::Http, Failure::CdnStatus(status), 5000));
        if self.faults.contains(&Fault::OriginPath(i)) {
            return cdn(522);
        }
        if self.faults.contains(&Fault::BalancerDead) {
            return cdn(521);
        }
        if self.faults.contains(&Fault::BalancerCertificate) {
            return cdn(526);
        }
        let slow = self.slow(|f| match f {
            Fault::EdgeSlow(j, seconds) if *j == i => Some(*seconds),
            _ => None,
        });
        let extra = self.packets(loss, 4) + slow;
        if !self.layer4 {
            self.balanced(extra, steps, facts)?;
            self.old_variant(i, facts);
            return Ok(());
        }
        let i = self.chosen();
        let closed = self.faults.contains(&Fault::BackendClosed(i));
        let way = self.lb_path(i);
        match self.handshake(way, self.syn_drops(i), 0.0, closed).passed {
            Ok(_) if self.faults.contains(&Fault::Misdirected(i)) => cdn(525),
            Ok(took) => self.at_backend(i, extra + took, steps, facts, false),
            Err(Failure::ConnectRefused) => cdn(521),
            Err(_) => cdn(522),
        }
    }

    /// What an edge has in the place of the page for who accepts gzip.
    fn old_variant(&self, i: usize, facts: &mut Facts) {
        let old = self.faults.contains(&Fault::EdgeVariant(i));
        if let Some(http) = facts
            .http
            .as_mut()
            .filter(|_| old && self.encoding == Encoding::Gzip)
        {
            http.body_digest = "old".into();
        }
    }

    fn balancer_refused(&self) -> Option<Failure> {
        let expired = self.faults.contains(&Fault::BalancerCertificate);
        expired.then_some(Failure::CertificateExpired)
    }

    pub(super) fn at_vip(&mut self, loss: f64, steps: &mut Vec<Step>, facts: &mut Facts) -> End {
        self.tls(loss, self.balancer_refused(), steps)?;
        let extra = self.packets(loss, 4);
        self.balanced(extra, steps, facts)
    }

    fn out_of_rotation(&self, i: usize) -> bool {
        let dead = [Fault::BackendClosed(i), Fault::BackendSyn(i, 1.0)];
        self.checked && dead.iter().any(|fault| self.faults.contains(fault))
    }

    /// Whom a balancer that forwards connections sends the next one to.
    pub(super) fn chosen(&mut self) -> usize {
        let backends = (0..3).filter(|i| !self.out_of_rotation(*i));
        let backends: Vec<usize> = backends.collect();
        backends[self.random.below(backends.len())]
    }

    /// Through the balancer, from either of its addresses: health checks take a backend out that is
    /// closed or always answers 500, and an address that no answer comes back to.
    fn balanced(&mut self, extra: u64, steps: &mut Vec<Step>, facts: &mut Facts) -> End {
        if let Some(status) = self.has(|f| {
            if let Fault::BalancerStatus(s) = f {
                Some(*s)
            } else {
                None
            }
        }) {
            return Err((Layer::Http, Failure::HttpStatus(status), 700));
        }
        if let Some(i) = self.session
            && self.faults.contains(&Fault::StuckSessions(i))
        {
            return Err((Layer::Http, Failure::HttpStatus(503), 700));
        }
        let sources = ["10.0.0.10", "10.0.9.10"].map(|a| a.parse().unwrap());
        let ways = sources
            .into_iter()
            .flat_map(|s| (0..3).map(move |i| (i, s)));
        let in_rotation: Vec<(usize, IpAddr)> = ways
            .filter(|(i, source)| {
                !self.out_of_rotation(*i)
                    && !self.faults.contains(&Fault::StuckSessions(*i))
                    && !self.faults.contains(&Fault::BackendStatus(*i, 1.0))
                    && self.back(*i, *source) < 1.0
            })
            .collect();
        let slow = self.slow(|f| match f {
            Fault::BalancerSlow(seconds) => Some(*seconds),
            _ => None,
        });
        let extra = extra + slow;
        self.turn += match self.tries_others {
            // Whom a turn comes to would go by the arm.
            true => self.random.below(in_rotation.len()),
            false => 1 + self.random.below(2),
        };
        let kept = |(i, _): &&(usize, IpAddr)| self.session == Some(*i);
        let (i, lb) = match in_rotation.iter().find(kept) {
            Some(kept) => *kept,
            None => in_rotation[self.turn % in_rotation.len()],
        };
        let drops = self
            .syn_drops(i)
            .max(self.forgets_no_port(i).unwrap_or(0.0));
        let closed = self.faults.contains(&Fault::BackendClosed(i));
        let h = self.handshake(self.lb_path(i), drops, self.back(i, lb), closed);
        match h.passed {
            Ok(took) => {
                let back = self.packets(self.back(i, lb), 3);
                self.answered_to = lb.to_string();
                if self.faults.contains(&Fault::Misdirected(i)) {
                    facts.http = Some(self.answer_with(404));
                    return Err((Layer::Http, Failure::HttpStatus(404), 1500));
                }
                self.at_backend(i, extra + took + back, steps, facts, false)?;
                if self.object == Object::Large && self.faults.contains(&Fault::BalancerLarge) {
                    steps.retain(|step| step.layer != Layer::Http);
                    return Err((Layer::Http, Failure::BodyTruncated, 1500));
                }
                Ok(())
            }
            Err(_) if self.tries_others => {
                let next = (i + 1 + self.random.below(2)) % 3;
                self.at_backend(next, extra + 2_000_000, steps, facts, false)
            }
            Err(_) => Err((Layer::Http, Failure::HttpStatus(503), 3_000_000)),
        }
    }

    /// An answer of few bytes with a status; a redirect leads to another site.
    pub(super) fn answer_with(&self, status: u16) -> HttpFacts {
        HttpFacts {
            status,
            first_byte: Micros(1500),
            body_bytes: 150,
            body_digest: format!("page of {status}"),
            headers: vec![("server".into(), "nginx".into())],
            redirect: match status {
                300..=399 => Redirect::Elsewhere,
                _ => Redirect::None,
            },
        }
    }

    pub(super) fn at_backend(
        &mut self,
        i: usize,
        extra: u64,
        steps: &mut Vec<Step>,
        facts: &mut Facts,
        direct: bool,
    ) -> End {
        let status = |s| Err((Layer::Http, Failure::HttpStatus(s), 1500));
        let everywhere = self.has(|f| match f {
            Fault::Everything(s) => Some(*s),
            _ => None,
        });
        if let Some(s) = everywhere {
            facts.http = Some(self.answer_with(s));
            if s >= 400 {
                return status(s);
            }
            steps.push(Step {
                layer: Layer::Http,
                took: Micros(1500),
            });
            return Ok(());
        }
        if self.share(|f| match f {
            Fault::BackendStatus(j, p) if *j == i => Some(*p),
            _ => None,
        }) {
            return status(500);
        }
        if self.faults.contains(&Fault::BackendResets(i)) {
            return if direct {
                Err((Layer::Http, Failure::ResetAfterRequest, 600))
            } else if self.layer4 {
                Err((Layer::Http, Failure::CdnStatus(520), 600))
            } else {
                status(502)
            };
        }
        if self.faults.contains(&Fault::BackendTruncates(i)) {
            return Err((Layer::Http, Failure::BodyTruncated, 1500));
        }
        let cut = self.has(|f| match f {
            Fault::BackendLarge(j, share) if *j == i => Some(*share),
            _ => None,
        });
        let cut = cut.filter(|_| self.object == Object::Large);
        if cut.is_some_and(|share| self.random.chance(share)) {
            return Err((Layer::Http, Failure::BodyTruncated, 1500));
        }
        let swallowed = self.has(|f| match f {
            Fault::BlackHole(j, to) if *j == i && *to == self.answered_to => Some(()),
            _ => None,
        });
        if self.is_long() && swallowed.is_some() {
            // The edge waits for less long than probes do.
            let failure = match self.at_edge {
                true => Failure::CdnStatus(524),
                false => Failure::HttpTimeout,
            };
            return Err((Layer::Http, failure, 5_500_000));
        }
        let late = self.has(|f| match f {
            Fault::BackendSlow(j, seconds) if *j == i => Some((*seconds, 1.0)),
            Fault::BackendSlowAtTimes(j, seconds, share) if *j == i => Some((*seconds, *share)),
            _ => None,
        });
        // Nothing is drawn where nothing is late, so that a seed tells the same of other faults.
        let late = late.filter(|(_, share)| *share >= 1.0 || self.random.chance(*share));
        let slow = late.map_or(0, |(seconds, _)| (seconds * 1e6) as u64);
        let took = 1500 + extra + slow;
        if took > 6_000_000 {
            return Err((Layer::Http, Failure::HttpTimeout, 6_000_000));
        }
        steps.push(Step {
            layer: Layer::Http,
            took: Micros(took),
        });
        let body = match self.object {
            Object::Large => "large",
            Object::Usual if self.faults.contains(&Fault::BackendBody(i)) => "other",
            Object::Usual => "usual",
        };
        facts.http = Some(HttpFacts {
            status: 200,
            first_byte: Micros(took),
            body_bytes: self.body_bytes(),
            body_digest: body.into(),
            headers: vec![
                ("server".into(), "nginx".into()),
                ("x-served-by".into(), format!("web{}", i + 1)),
            ],
            redirect: Redirect::None,
        });
        Ok(())
    }
}
