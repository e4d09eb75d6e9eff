//! The facts of the last quarter of an hour, in memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use localize::{
    FlowSighting, HostReading, Observation, PacketHeaders, RoundId, Seen, Trace, VantageName,
    WitnessReport,
};

/// Length of the window, in microseconds: what `localize --since` looks back by default. What is
/// older is read from the store.
pub const WINDOW_US: u64 = 15 * 60 * 1_000_000;

/// Observations kept of one service: a quarter of an hour of a round every second with a hundred
/// arms, at about a kilobyte each.
const OBSERVATIONS: usize = 90_000;
/// Reports kept: a quarter of an hour of ten witnesses that report every second.
const REPORTS: usize = 9_000;
/// Bytes of reports kept of one witness: those of a second on a host of a hundred connections a second
/// take ten kilobytes.
const REPORTS_BYTES: usize = 16 << 20;

/// Traces kept of one service, and of one vantage point among them: four targets traced once a minute.
const TRACES: usize = 1_000;
const TRACES_EACH: usize = 60;

/// The recent observations of one service.
#[derive(Debug, Default)]
pub(super) struct Observations {
    kept: VecDeque<Arc<Observation>>,
    /// How many each vantage point has made of them.
    made: BTreeMap<VantageName, usize>,
}

impl Observations {
    /// Adds one; false when it is too old to matter.
    pub(super) fn push(&mut self, observation: Arc<Observation>, now_us: u64) -> bool {
        if observation.scheduled_us.saturating_add(WINDOW_US) < now_us {
            return false;
        }
        if self.kept.len() >= OBSERVATIONS {
            self.forget_oldest();
        }
        match self.made.get_mut(observation.vantage()) {
            Some(made) => *made += 1,
            None => drop(self.made.insert(observation.vantage().clone(), 1)),
        }
        self.kept.push_back(observation);
        true
    }

    /// Forgets what is too old.
    pub(super) fn trim(&mut self, now_us: u64) {
        let oldest = now_us.saturating_sub(WINDOW_US);
        while self.kept.front().is_some_and(|o| o.scheduled_us < oldest) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.kept.pop_front() else {
            return;
        };
        if let Some(made) = self.made.get_mut(oldest.vantage()) {
            *made -= 1;
            if *made == 0 {
                self.made.remove(oldest.vantage());
            }
        }
    }

    /// A vantage point has another name from now on.
    pub(super) fn rename(&mut self, from: &VantageName, to: &VantageName) {
        for observation in self.kept.iter_mut().filter(|o| o.vantage() == from) {
            Arc::make_mut(observation).id.vantage.clone_from(to);
        }
        if let Some(made) = self.made.remove(from) {
            *self.made.entry(to.clone()).or_default() += made;
        }
    }

    /// Forgets what a vantage point saw.
    pub(super) fn forget(&mut self, vantage: &VantageName) {
        self.kept
            .retain(|observation| observation.vantage() != vantage);
        self.made.remove(vantage);
    }

    /// Those since an instant, of the rounds before the first that is still open. Of what came after that
    /// one only the rounds without a time-out have closed: whoever judged these would see everybody well.
    pub(super) fn known_since(
        &self,
        from_us: u64,
        open: &BTreeMap<RoundId, u64>,
    ) -> Vec<Arc<Observation>> {
        let to_us = open.values().copied().min().unwrap_or(u64::MAX);
        let wanted = |o: &&Arc<Observation>| {
            (from_us..to_us).contains(&o.scheduled_us) && !open.contains_key(&o.round)
        };
        self.kept.iter().filter(wanted).cloned().collect()
    }

    /// The vantage points that made one.
    pub(super) fn vantages(&self) -> BTreeSet<VantageName> {
        self.made.keys().cloned().collect()
    }
}

/// The recent traces of one service.
#[derive(Debug, Default)]
pub(super) struct Traces(VecDeque<Arc<Trace>>);

impl Traces {
    /// Adds one, unless it is too old to matter. Of a vantage point with too many its oldest is forgotten.
    pub(super) fn push(&mut self, trace: Arc<Trace>, now_us: u64) {
        if trace.started.at_us.saturating_add(WINDOW_US) < now_us {
            return;
        }
        let own = |other: &Arc<Trace>| other.vantage == trace.vantage;
        if self.0.iter().filter(|other| own(other)).count() >= TRACES_EACH {
            let oldest = self.0.iter().position(own);
            oldest.and_then(|place| self.0.remove(place));
        }
        if self.0.len() >= TRACES {
            self.0.pop_front();
        }
        self.0.push_back(trace);
    }

    /// Forgets what is too old.
    pub(super) fn trim(&mut self, now_us: u64) {
        let oldest = now_us.saturating_sub(WINDOW_US);
        self.0.retain(|trace| trace.started.at_us >= oldest);
    }

    /// A vantage point has another name from now on.
    pub(super) fn rename(&mut self, from: &VantageName, to: &VantageName) {
        for trace in self.0.iter_mut().filter(|trace| trace.vantage == *from) {
            Arc::make_mut(trace).vantage.clone_from(to);
        }
    }

    /// Forgets what a vantage point found.
    pub(super) fn forget(&mut self, vantage: &VantageName) {
        self.0.retain(|trace| trace.vantage != *vantage);
    }

    /// Those that began at or after an instant.
    pub(super) fn since(&self, from_us: u64) -> Vec<Arc<Trace>> {
        let wanted = self.0.iter().filter(|t| t.started.at_us >= from_us);
        wanted.cloned().collect()
    }
}

/// The recent reports of all witnesses.
#[derive(Debug, Default)]
pub(super) struct Reports {
    kept: VecDeque<Arc<WitnessReport>>,
    /// Bytes in memory of each witness's.
    bytes: BTreeMap<VantageName, usize>,
}

impl Reports {
    /// Adds one, unless it is too old to matter or its witness has too much here.
    pub(super) fn push(&mut self, report: Arc<WitnessReport>, now_us: u64) {
        if report.to.at_us.saturating_add(WINDOW_US) < now_us {
            return;
        }
        let bytes = self.bytes.entry(report.witness.clone()).or_default();
        let weight = weight(&report);
        if *bytes + weight > REPORTS_BYTES {
            tracing::debug!(witness = %report.witness, "a report is left out: too many bytes");
            return;
        }
        *bytes += weight;
        if self.kept.len() >= REPORTS {
            self.forget_oldest();
        }
        self.kept.push_back(report);
    }

    /// Forgets what is too old.
    pub(super) fn trim(&mut self, now_us: u64) {
        let oldest = now_us.saturating_sub(WINDOW_US);
        while self.kept.front().is_some_and(|r| r.to.at_us < oldest) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(report) = self.kept.pop_front() else {
            return;
        };
        if let Some(bytes) = self.bytes.get_mut(&report.witness) {
            *bytes = bytes.saturating_sub(weight(&report));
            if *bytes == 0 {
                self.bytes.remove(&report.witness);
            }
        }
    }

    /// A witness has another name from now on.
    pub(super) fn rename(&mut self, from: &VantageName, to: &VantageName) {
        for report in self.kept.iter_mut().filter(|r| r.witness == *from) {
            Arc::make_mut(report).witness.clone_from(to);
        }
        if let Some(bytes) = self.bytes.remove(from) {
            self.bytes.insert(to.clone(), bytes);
        }
    }

    /// Forgets what a witness saw.
    pub(super) fn forget(&mut self, witness: &VantageName) {
        self.kept.retain(|report| report.witness != *witness);
        self.bytes.remove(witness);
    }

    /// Those that end at or after an instant.
    pub(super) fn since(&self, from_us: u64) -> Vec<Arc<WitnessReport>> {
        let wanted = self.kept.iter().filter(|r| r.to.at_us >= from_us);
        wanted.cloned().collect()
    }
}

/// Bytes of one value of a host's reading: its key, itself and its share of the tree that holds it.
const VALUE: usize = 48;

/// Bytes of a report in memory, about.
pub(crate) fn weight(report: &WitnessReport) -> usize {
    let seen = |seen: &Seen| size_of::<Seen>() + seen.interface.len();
    let flow =
        |flow: &FlowSighting| size_of::<FlowSighting>() + flow.seen.iter().map(seen).sum::<usize>();
    let host = |host: &HostReading| {
        let values = host.rose.len() + host.unread.len() + host.settings.len();
        values * VALUE + size_of_val(host.queues.as_slice())
    };
    let packet = |packet: &PacketHeaders| {
        size_of::<PacketHeaders>() + packet.interface.len() + packet.bytes.len()
    };
    size_of::<WitnessReport>()
        + report.packets.iter().map(packet).sum::<usize>()
        + report.flows.iter().map(flow).sum::<usize>()
        + report.host.as_ref().map_or(0, host)
}

#[cfg(test)]
mod tests {
    use localize::{Direction, Packet, Stamp};

    use super::*;

    fn report(witness: &str, flows: usize, at_us: u64) -> Arc<WitnessReport> {
        let at = Stamp {
            at_us,
            uncertainty_us: 1,
        };
        let seen = Seen {
            packet: Packet::Syn,
            direction: Direction::In,
            interface: "eth0".to_owned(),
            count: 1,
            first: at,
            options: None,
        };
        let flow = FlowSighting {
            client: "192.0.2.1:40000".parse().unwrap(),
            server: "192.0.2.2:443".parse().unwrap(),
            seen: vec![seen; 3],
        };
        Arc::new(WitnessReport {
            host: None,
            packets: Vec::new(),
            witness: VantageName(witness.to_owned()),
            sequence: 1,
            from: at,
            to: at,
            dropped: 0,
            flows: vec![flow; flows],
        })
    }

    #[test]
    fn a_vantage_point_that_traces_too_much_crowds_out_nobody() {
        let now_us = WINDOW_US * 2;
        let trace = |vantage: &str, sequence, at_us| {
            Arc::new(Trace {
                vantage: VantageName(vantage.to_owned()),
                sequence,
                service: localize::ServiceName("shop.example".to_owned()),
                round: RoundId(1),
                from: "192.0.2.1:40000".parse().unwrap(),
                to: "192.0.2.2:443".parse().unwrap(),
                started: Stamp {
                    at_us,
                    uncertainty_us: 1,
                },
                hops: Vec::new(),
                whole: None,
            })
        };
        let mut traces = Traces::default();
        traces.push(trace("quiet", 1, now_us), now_us);
        traces.push(trace("late", 1, 0), now_us);
        for sequence in 0..1000 {
            traces.push(trace("loud", sequence, now_us), now_us);
        }
        let kept = traces.since(0);
        let of = |name: &str| kept.iter().filter(|t| t.vantage.0 == name).count();
        assert_eq!([of("quiet"), of("late"), of("loud")], [1, 0, TRACES_EACH]);
        assert_eq!(kept.last().map(|trace| trace.sequence), Some(999));
        let [loud, other] = ["loud", "other"].map(|name| VantageName(name.to_owned()));
        traces.rename(&loud, &other);
        traces.forget(&other);
        assert_eq!(traces.since(0).len(), 1);
        traces.trim(now_us + WINDOW_US + 1);
        assert!(traces.since(0).is_empty());
    }

    #[test]
    fn a_witness_that_says_too_much_crowds_out_nobody_and_nothing() {
        let mut reports = Reports::default();
        let now_us = WINDOW_US * 2;
        reports.push(report("quiet", 1, now_us), now_us);
        for _ in 0..1000 {
            reports.push(report("loud", 1000, now_us), now_us);
        }
        reports.push(report("quiet", 1, now_us), now_us);
        let loud = VantageName("loud".to_owned());
        assert!(reports.bytes[&loud] <= REPORTS_BYTES);
        let quiet = |reports: &Reports| {
            reports
                .since(0)
                .iter()
                .filter(|r| r.witness != loud)
                .count()
        };
        assert_eq!(quiet(&reports), 2);
        reports.trim(now_us + WINDOW_US + 1);
        assert!(reports.kept.is_empty() && reports.bytes.is_empty());
    }
}
