//! What all probes came to since the coordinator was started, for those who draw curves of it.
//!
//! Counters must never fall, and the store's latency windows do as they age out. So every observation is
//! counted once more as it is taken in, in buckets fixed beforehand. The keys are bounded by what is
//! declared: resolvers, name servers, edges and virtual addresses are counted by their kind, backends by
//! their names in the service file.

use std::collections::BTreeMap;

use localize::{Failure, Layer, Observation, Outcome, ServiceName, Target, VantageName};

/// Upper bounds of the buckets in microseconds; longer times are in the last one, which has none.
pub const BOUNDS_US: [u64; 13] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

/// What is counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// The service probed.
    pub service: ServiceName,
    /// From where.
    pub vantage: VantageName,
    /// At what: `resolver`, `name_server`, `edge`, `vip`, or `backend/NAME`.
    pub target: String,
}

/// A part of a probe with a time of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The question and its answer.
    Dns,
    /// The three-way handshake.
    Connect,
    /// The TLS handshake.
    Tls,
    /// From the end of the request to the first byte of the answer.
    FirstByte,
    /// From there to the last byte of the answer.
    Transfer,
}

/// Times of one phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Their sum in microseconds.
    pub sum_us: u64,
    /// How many fell into each bucket, those beyond the last bound at the end.
    pub buckets: [u64; BOUNDS_US.len() + 1],
}

/// What came of the probes of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Probes that were fired.
    pub probes: u64,
    /// Those that passed every layer.
    pub passed: u64,
    /// Those that failed, by how.
    pub failed: BTreeMap<Failure, u64>,
    /// The times of phases that were passed.
    pub times: BTreeMap<Phase, Times>,
}

/// Every group with what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(pub BTreeMap<Group, Counted>);

impl Tally {
    /// Counts an observation; one that was not fired says nothing about the path.
    pub(super) fn count(&mut self, observation: &Observation) {
        let failure = match observation.outcome {
            Outcome::NotFired => return,
            Outcome::Passed => None,
            Outcome::Failed { failure, .. } => Some(plain(failure)),
        };
        let group = Group {
            service: observation.service.clone(),
            vantage: observation.vantage().clone(),
            target: word(&observation.arm.target),
        };
        let counted = self.0.entry(group).or_default();
        counted.probes += 1;
        match failure {
            None => counted.passed += 1,
            Some(failure) => *counted.failed.entry(failure).or_default() += 1,
        }
        for (phase, took_us) in phases(observation) {
            counted.times.entry(phase).or_default().count(took_us);
        }
    }

    /// Forgets a service that is deleted.
    pub(super) fn forget(&mut self, service: &ServiceName) {
        self.0.retain(|group, _| group.service != *service);
    }
}

impl Times {
    fn count(&mut self, took_us: u64) {
        self.sum_us = self.sum_us.saturating_add(took_us);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < took_us);
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
    }
}

fn word(target: &Target) -> String {
    match target {
        Target::Resolver { .. } => "resolver".to_owned(),
        Target::NameServer { .. } => "name_server".to_owned(),
        Target::Edge { .. } => "edge".to_owned(),
        Target::Vip { .. } => "vip".to_owned(),
        Target::Backend { name, .. } => format!("backend/{name}"),
    }
}

/// Statuses and alerts are hundreds: their kind alone is counted.
fn plain(failure: Failure) -> Failure {
    match failure {
        Failure::TlsAlert(_) => Failure::TlsAlert(0),
        Failure::HttpStatus(status) => Failure::HttpStatus(status / 100 * 100),
        Failure::CdnStatus(status) => Failure::CdnStatus(status / 100 * 100),
        Failure::UnexpectedStatus(_) => Failure::UnexpectedStatus(0),
        Failure::DnsTimeout
        | Failure::DnsUnreachable
        | Failure::DnsRefused
        | Failure::DnsServfail
        | Failure::DnsNxdomain
        | Failure::DnsNoData
        | Failure::DnsMalformed
        | Failure::DnsLame
        | Failure::ConnectRefused
        | Failure::ConnectTimeout
        | Failure::ConnectUnreachable
        | Failure::ConnectLocal
        | Failure::TlsTimeout
        | Failure::TlsReset
        | Failure::CertificateExpired
        | Failure::CertificateNotYetValid
        | Failure::CertificateUnknownIssuer
        | Failure::CertificateChainIncomplete
        | Failure::CertificateWrongName
        | Failure::CertificateInvalid
        | Failure::TlsProtocol
        | Failure::ResetBeforeRequest
        | Failure::ResetAfterRequest
        | Failure::ClosedWithoutAnswer
        | Failure::HttpTimeout
        | Failure::BodyTimeout
        | Failure::BodyTruncated
        | Failure::HttpMalformed
        | Failure::UnexpectedBody
        | Failure::LateFirstByte
        | Failure::HttpVersion(_) => failure,
    }
}

/// The phases that a probe has passed. The last layer is two: what the server thought, and what the
/// answer took to arrive.
fn phases(observation: &Observation) -> Vec<(Phase, u64)> {
    let http = observation.facts.http.as_ref();
    let mut phases = Vec::new();
    for step in &observation.steps {
        let took_us = step.took.0;
        match (step.layer, http) {
            (Layer::Dns, _) => phases.push((Phase::Dns, took_us)),
            (Layer::Tcp, _) => phases.push((Phase::Connect, took_us)),
            (Layer::Tls, _) => phases.push((Phase::Tls, took_us)),
            (Layer::Http, Some(http)) => {
                let first_us = http.first_byte.0.min(took_us);
                phases.push((Phase::FirstByte, first_us));
                phases.push((Phase::Transfer, took_us - first_us));
            }
            (Layer::Http, None) => phases.push((Phase::FirstByte, took_us)),
        }
    }
    phases
}
