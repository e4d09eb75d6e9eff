//! Connections: packets that are lost and sent again, handshakes, requests.

use localize::{Failure, Layer, Step};
use rand::Rng;

use super::history::SECOND;
use super::modes::{Effect, Stage};
use super::site::Place;
use super::world::{World, step};

/// For longer than anybody waits, in microseconds.
pub(crate) const FOR_EVER: f64 = 1e9;
/// When SYNs are sent again (RFC 6298: after one second, then after twice the last wait).
const SYNS_US: [u64; 4] = [0, SECOND, 3 * SECOND, 7 * SECOND];
/// The first wait for a lost segment (Linux: `TCP_RTO_MIN`, with a round trip).
const RESEND_US: f64 = 220_000.0;
/// A longer answer takes more than one packet.
const FULL: u64 = 1_400;

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Edge(usize),
    Balancer(usize),
    Backend(usize),
}

impl Host {
    pub(crate) const fn place(self) -> Place {
        match self {
            Self::Edge(e) => Place::Edge(e),
            Self::Balancer(v) => Place::Balancer(v),
            Self::Backend(b) => Place::Backend(b),
        }
    }
}

/// The way from a client to a server.
#[derive(Clone, Debug)]
pub(crate) struct Leg {
    pub(crate) out: Vec<Place>,
    pub(crate) host: Host,
    pub(crate) back: Vec<Place>,
    pub(crate) rtt_us: f64,
    pub(crate) scatter: f64,
    /// Both ends are on one host.
    pub(crate) local: bool,
}

/// What a client wants, and for how long it waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) connect_us: u64,
    pub(crate) tls_us: u64,
    /// From the request on.
    pub(crate) answer_us: u64,
    /// From the first packet on.
    pub(crate) total_us: u64,
    /// Certificates matter.
    pub(crate) strict: bool,
    pub(crate) tls: bool,
    pub(crate) request: bool,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) bytes: u64,
    pub(crate) digest: String,
    /// The backend that made it.
    pub(crate) by: Option<usize>,
    /// An edge had kept it.
    pub(crate) hit: bool,
}

/// What a server answers; beside a status that is an error, the page that carries it.
pub(crate) type Served = Result<Page, (Failure, Option<Page>)>;

/// How a handshake went, seen from both ends.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Handshake {
    pub(crate) sent: u32,
    pub(crate) arrived: u32,
    pub(crate) answered: u32,
    pub(crate) reset: bool,
}

/// What came of a connection.
pub(crate) struct Fetched {
    pub(crate) steps: Vec<Step>,
    /// The failure comes with its layer and the time from that layer's start.
    pub(crate) end: Result<Page, (Layer, Failure, u64)>,
    /// The page that carried a status.
    pub(crate) page: Option<Page>,
    pub(crate) handshake: Handshake,
}

impl World {
    /// Connects, shakes hands and asks.
    pub(crate) fn fetch(&mut self, leg: &Leg, terms: &Terms) -> Fetched {
        let start = self.clock_us;
        let mut fetched = Fetched {
            steps: Vec::new(),
            end: Err((Layer::Tcp, Failure::ConnectTimeout, 0)),
            page: None,
            handshake: Handshake::default(),
        };
        let left = |now: u64| (start + terms.total_us).saturating_sub(now);
        let limit = terms.connect_us.min(terms.total_us);
        if let Err(failure) = self.connect(leg, limit, &mut fetched.handshake) {
            fetched.end = Err((Layer::Tcp, failure, self.clock_us - start));
            return fetched;
        }
        fetched.steps.push(step(Layer::Tcp, self.clock_us - start));
        if terms.tls {
            let begun = self.clock_us;
            let limit = terms.tls_us.min(left(begun));
            if let Err(failure) = self.tls(leg, terms.strict, limit) {
                fetched.end = Err((Layer::Tls, failure, self.clock_us - begun));
                return fetched;
            }
            fetched.steps.push(step(Layer::Tls, self.clock_us - begun));
        }
        if !terms.request {
            fetched.end = self.page(None).map_err(|(f, _)| (Layer::Http, f, 0));
            return fetched;
        }
        let begun = self.clock_us;
        let limit = terms.answer_us.min(left(begun));
        let mut served = self.request(leg);
        if self.clock_us - begun > limit {
            self.clock_us = begun + limit;
            served = Err((given_up(&served), None));
        }
        match served {
            Ok(page) => {
                fetched.steps.push(step(Layer::Http, self.clock_us - begun));
                fetched.end = Ok(page);
            }
            Err((failure, page)) => {
                fetched.end = Err((Layer::Http, failure, self.clock_us - begun));
                fetched.page = page;
            }
        }
        fetched
    }

    fn connect(&mut self, leg: &Leg, limit: u64, seen: &mut Handshake) -> Result<(), Failure> {
        let start = self.clock_us;
        for wait in SYNS_US.into_iter().filter(|wait| *wait < limit) {
            self.clock_us = start;
            self.lose(wait as f64);
            seen.sent += 1;
            let trip = self.scattered(leg.rtt_us, leg.scatter);
            match self.syn(leg, seen) {
                None => {
                    self.pass(trip);
                    return Ok(());
                }
                Some(Effect::Refused) => {
                    self.pass(trip);
                    return Err(Failure::ConnectRefused);
                }
                Some(Effect::Unreachable) => {
                    self.pass(trip);
                    return Err(Failure::ConnectUnreachable);
                }
                // Whatever else, there is no answer.
                Some(_) => {}
            }
        }
        self.clock_us = start;
        self.lose(limit as f64);
        Err(Failure::ConnectTimeout)
    }

    /// A SYN and its answer: what became of them, if they did not come through.
    fn syn(&mut self, leg: &Leg, seen: &mut Handshake) -> Option<Effect> {
        for place in &leg.out {
            let met = self.packet(*place);
            let met = met.or_else(|| self.meet(*place, Stage::Syn).map(|(effect, _)| effect));
            if met.is_some() {
                return met;
            }
        }
        let lost = if leg.local {
            None
        } else {
            self.packet(leg.host.place())
        };
        if lost.is_some() {
            return lost;
        }
        seen.arrived += 1;
        match self
            .meet(leg.host.place(), Stage::Syn)
            .map(|(effect, _)| effect)
        {
            Some(Effect::Refused) => {
                seen.reset = true;
                return Some(Effect::Refused);
            }
            // What drops SYNs on their way in lets those through that never leave the host.
            Some(effect) if !leg.local => return Some(effect),
            Some(_) | None => {}
        }
        seen.answered += 1;
        self.is_lost(&leg.back).then_some(Effect::Loss)
    }

    /// Packets go to and fro; those lost are sent again.
    fn exchange(&mut self, leg: &Leg, packets: u32) {
        for packet in 0..packets {
            let mut wait = RESEND_US + leg.rtt_us;
            let way = if packet % 2 == 0 { &leg.out } else { &leg.back };
            while self.is_lost(way) && wait < FOR_EVER {
                self.lose(wait);
                wait *= 2.0;
            }
        }
    }

    fn full_packets_vanish(&mut self, leg: &Leg, in_chain: bool) -> bool {
        leg.back.iter().any(|place| {
            let met = self.meet(*place, Stage::Full).map(|(effect, _)| effect);
            matches!(met, Some(Effect::FullPackets { chain }) if chain || !in_chain)
        })
    }

    fn tls(&mut self, leg: &Leg, strict: bool, limit: u64) -> Result<(), Failure> {
        let start = self.clock_us;
        let trip = self.scattered(2.0 * leg.rtt_us + 800.0, leg.scatter);
        self.pass(trip);
        self.exchange(leg, 6);
        let places = leg.out.iter().copied().chain([leg.host.place()]);
        for place in places.collect::<Vec<_>>() {
            match self.meet(place, Stage::Tls) {
                Some((Effect::Tls(failure), _)) if strict || !is_certificate(failure) => {
                    return Err(failure);
                }
                Some((Effect::TlsHangs, _)) => self.pass(FOR_EVER),
                Some((Effect::TlsLate, late_ms)) => self.lose(late_ms * 600.0),
                Some(_) | None => {}
            }
        }
        if self.full_packets_vanish(leg, true) {
            self.pass(FOR_EVER);
        }
        if self.clock_us - start > limit {
            self.clock_us = start + limit;
            return Err(Failure::TlsTimeout);
        }
        Ok(())
    }

    /// The request goes there and the answer comes back.
    fn request(&mut self, leg: &Leg) -> Served {
        let trip = self.scattered(leg.rtt_us, leg.scatter);
        self.pass(trip);
        self.exchange(leg, 4);
        for place in &leg.out {
            match self.meet(*place, Stage::Http) {
                Some((Effect::Late, late_ms)) => self.late(late_ms),
                Some((Effect::Closed, _)) => return Err((Failure::ClosedWithoutAnswer, None)),
                Some((Effect::Reset, _)) => return Err((Failure::ResetAfterRequest, None)),
                // Somebody else answers.
                Some((Effect::Status(status), _)) => {
                    return Err(self.error(status, Host::Balancer(0)));
                }
                Some((Effect::WrongBody, _)) => return Ok(self.other_page()),
                // Nothing else happens to requests on their way.
                Some(_) | None => {}
            }
        }
        let served = self.serve(leg.host);
        let long = served.as_ref().is_ok_and(|page| page.bytes > FULL);
        if long && self.full_packets_vanish(leg, false) {
            self.pass(FOR_EVER);
        }
        served
    }

    pub(crate) fn late(&mut self, late_ms: f64) {
        let factor = self.rng.random_range(0.6..1.4);
        self.lose(late_ms * 1000.0 * factor);
    }
}

/// What a client says that waited for too long.
fn given_up(served: &Served) -> Failure {
    match served {
        Err((Failure::BodyTimeout | Failure::BodyTruncated, _)) => Failure::BodyTimeout,
        Ok(_) | Err(_) => Failure::HttpTimeout,
    }
}

fn is_certificate(failure: Failure) -> bool {
    matches!(
        failure,
        Failure::CertificateExpired
            | Failure::CertificateNotYetValid
            | Failure::CertificateUnknownIssuer
            | Failure::CertificateChainIncomplete
            | Failure::CertificateWrongName
            | Failure::CertificateInvalid
    )
}
