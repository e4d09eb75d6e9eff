//! Who is told what, in virtual time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail, and there are no other writes here"
)]

mod receivers;
pub(crate) mod samples;

use std::collections::BTreeMap;
use std::time::Duration;

use localize::{Kind, Verdict};

use super::desk::{Desk, Errand};
use super::incident::{Incident, Phase};
use super::settings::Settings;
use super::silence::Silence;
use crate::store::Write;
use samples::{NOW, receivers, undecided, verdict};

const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// A desk with what it has written down.
struct Bench {
    desk: Desk,
    now_us: u64,
    incidents: BTreeMap<String, Incident>,
    silences: BTreeMap<String, Silence>,
    ids: u32,
}

impl Bench {
    fn new(names: &[&str]) -> Self {
        Self::with(settings(names))
    }

    fn with(settings: Settings) -> Self {
        Self {
            desk: Desk::new(settings, Vec::new(), Vec::new()),
            now_us: NOW,
            incidents: BTreeMap::new(),
            silences: BTreeMap::new(),
            ids: 0,
        }
    }

    fn write(&mut self, writes: Vec<Write>) {
        for write in writes {
            match write {
                Write::Incident(incident) => {
                    self.incidents.insert(incident.id.clone(), *incident);
                }
                Write::DeleteIncident(id) => {
                    self.incidents.remove(&id);
                }
                Write::Silence(silence) => {
                    self.silences.insert(silence.id.clone(), silence);
                }
                Write::DeleteSilence(id) => {
                    self.silences.remove(&id);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn raised(&mut self, verdict: &Verdict) {
        let ids = &mut self.ids;
        let id = || {
            *ids += 1;
            format!("i-{ids}")
        };
        let writes = self.desk.raised(self.now_us, verdict, self.now_us, id);
        self.write(writes);
    }

    fn over(&mut self, verdict: &str) {
        let writes = self.desk.over(self.now_us, verdict);
        self.write(writes);
    }

    fn silence(&mut self, service: &str, from_us: u64, until_us: u64) {
        let silence = Silence {
            id: "s-1".to_owned(),
            service: service.to_owned(),
            from_us,
            until_us,
            because: "we know".to_owned(),
            by: "admin".to_owned(),
        };
        let writes = self.desk.silence(silence);
        self.write(writes);
    }

    /// Lets time go on, second by second, and gets everything through, or nothing: what is told.
    fn tell(&mut self, for_us: u64, gets_through: bool) -> Vec<(String, String, Phase)> {
        let mut told = Vec::new();
        let end = self.now_us + for_us;
        while self.now_us < end {
            self.now_us += SECOND;
            let decided = self.desk.decide(self.now_us);
            self.write(decided);
            for errand in self.desk.errands(self.now_us) {
                let writes = self.desk.done(self.now_us, &errand, gets_through);
                self.write(writes);
                let Errand {
                    incident,
                    receiver,
                    phase,
                } = errand;
                told.push((incident, receiver, phase));
            }
        }
        told
    }

    /// As after a restart: with what is on disk and nothing else.
    fn restart(&mut self) {
        let (incidents, silences) = (self.incidents.values(), self.silences.values());
        let settings = self.desk.settings().clone();
        self.desk = Desk::new(
            settings,
            incidents.cloned().collect(),
            silences.cloned().collect(),
        );
    }
}

fn settings(names: &[&str]) -> Settings {
    Settings {
        wait: Duration::from_secs(10),
        receivers: receivers(names),
        ..Settings::default()
    }
}

fn row(incident: &str, receiver: &str, phase: Phase) -> (String, String, Phase) {
    (incident.to_owned(), receiver.to_owned(), phase)
}

#[test]
fn everybody_is_told_once_at_the_beginning_and_once_at_the_end() {
    let mut bench = Bench::new(&["a", "b"]);
    bench.raised(&verdict("v-1", "shop", Kind::Backend, "web2"));
    assert_eq!(bench.tell(9 * SECOND, true), []);
    let begun = [row("i-1", "a", Phase::Begun), row("i-1", "b", Phase::Begun)];
    assert_eq!(bench.tell(HOUR, true), begun);
    bench.restart();
    assert_eq!(bench.tell(HOUR, true), [], "a restart tells nothing again");
    bench.over("v-1");
    bench.restart();
    let over = [row("i-1", "a", Phase::Over), row("i-1", "b", Phase::Over)];
    assert_eq!(bench.tell(HOUR, true), over);
    assert!(bench.incidents.is_empty() && !bench.desk.is_busy());
}

#[test]
fn what_is_over_at_once_is_told_nobody() {
    let mut bench = Bench::new(&["a"]);
    bench.raised(&verdict("v-1", "shop", Kind::Backend, "web2"));
    bench.tell(5 * SECOND, true);
    bench.over("v-1");
    assert_eq!(bench.tell(MINUTE, true), []);
    assert!(bench.incidents.is_empty());
}

#[test]
fn one_fault_is_one_incident_however_many_services_it_strikes() {
    let mut bench = Bench::new(&["a"]);
    bench.raised(&verdict("v-1", "shop", Kind::Resolver, "192.0.2.1"));
    bench.raised(&verdict("v-2", "blog", Kind::Resolver, "192.0.2.1"));
    assert_eq!(bench.tell(MINUTE, true), [row("i-1", "a", Phase::Begun)]);
    bench.over("v-1");
    assert_eq!(bench.tell(MINUTE, true), []);
    // A more exact verdict on the same.
    bench.raised(&verdict("v-3", "blog", Kind::Resolver, "192.0.2.1"));
    bench.over("v-2");
    assert_eq!(bench.tell(MINUTE, true), []);
    bench.over("v-3");
    assert_eq!(bench.tell(MINUTE, true), [row("i-1", "a", Phase::Over)]);
    // Each service has a web1 of its own.
    bench.raised(&verdict("v-4", "shop", Kind::Backend, "web1"));
    bench.raised(&verdict("v-5", "blog", Kind::Backend, "web1"));
    let both = [row("i-2", "a", Phase::Begun), row("i-3", "a", Phase::Begun)];
    assert_eq!(bench.tell(MINUTE, true), both);
}

#[test]
fn a_silence_holds_back_beginnings_and_no_ends() {
    let mut bench = Bench::new(&["a"]);
    bench.silence("sh*", NOW, NOW + HOUR);
    bench.raised(&verdict("v-1", "shop", Kind::Backend, "web1"));
    bench.raised(&verdict("v-2", "shop", Kind::Backend, "web2"));
    bench.raised(&verdict("v-3", "blog", Kind::Backend, "web3"));
    bench.restart();
    assert_eq!(bench.tell(HOUR / 2, true), [row("i-3", "a", Phase::Begun)]);
    bench.over("v-1");
    bench.silence("*", NOW, NOW + HOUR);
    bench.over("v-3");
    assert_eq!(bench.tell(MINUTE, true), [row("i-3", "a", Phase::Over)]);
    let late = bench.tell(HOUR, true);
    assert_eq!(
        late,
        [row("i-2", "a", Phase::Begun)],
        "what still stands at its end is told"
    );
    assert!(bench.silences.is_empty());
}

#[test]
fn nothing_is_told_while_a_vantage_point_accuses_itself() {
    let mut bench = Bench::new(&["a"]);
    bench.raised(&verdict("v-1", "shop", Kind::ClientNetwork, "home1"));
    bench.raised(&undecided("v-2", "shop", Kind::LoadBalancer));
    bench.raised(&undecided("v-3", "blog", Kind::ClientNetwork));
    assert_eq!(bench.tell(HOUR, true), []);
    bench.over("v-1");
    assert_eq!(bench.tell(MINUTE, true), [row("i-2", "a", Phase::Begun)]);
}

#[test]
fn who_cannot_be_reached_is_tried_ever_more_rarely_and_told_in_order() {
    let mut bench = Bench::new(&["a"]);
    bench.raised(&verdict("v-1", "shop", Kind::Backend, "web2"));
    let tries = bench.tell(HOUR, false).len();
    assert!((15..30).contains(&tries), "{tries}");
    assert_eq!(bench.desk.pending(), 1);
    bench.over("v-1");
    bench.restart();
    let told = [row("i-1", "a", Phase::Begun), row("i-1", "a", Phase::Over)];
    assert_eq!(bench.tell(MINUTE, true), told);

    bench.raised(&verdict("v-2", "shop", Kind::Backend, "web2"));
    bench.tell(25 * HOUR, false);
    assert_eq!(
        bench.tell(HOUR, true),
        [],
        "after a day nobody tries any more"
    );
}

#[test]
fn alertmanager_is_told_again_until_it_is_over() {
    let mut bench = Bench::new(&["alertmanager"]);
    bench.raised(&verdict("v-1", "shop", Kind::Backend, "web2"));
    bench.tell(11 * SECOND, true);
    assert_eq!(bench.tell(10 * MINUTE, true).len(), 10);
    bench.over("v-1");
    let over = [row("i-1", "alertmanager", Phase::Over)];
    assert_eq!(bench.tell(10 * MINUTE, true), over);
}

#[test]
fn a_service_that_is_gone_leaves_no_incident() {
    let mut bench = Bench::new(&["a"]);
    bench.raised(&verdict("v-1", "shop", Kind::Backend, "web2"));
    bench.tell(MINUTE, true);
    let writes = bench
        .desk
        .standing(bench.now_us, "shop", &["v-1".to_owned()]);
    assert!(writes.is_empty());
    let writes = bench.desk.standing(bench.now_us, "shop", &[]);
    bench.write(writes);
    assert_eq!(bench.tell(MINUTE, true), [row("i-1", "a", Phase::Over)]);
}
