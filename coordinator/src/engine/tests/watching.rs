//! The watch over scheduled rounds: raised once, said to be over, kept over a restart.

use localize::watch::Ending;
use localize::{Kind, Step, VerdictOutcome};

use super::*;
use crate::notify::samples::verdict;

const EVERY_US: u64 = 10 * SECOND;

/// A bench whose service has a schedule, and one agent that answers.
struct Watched {
    bench: Bench,
    agent: Agent,
    now_us: u64,
    sequence: u64,
}

/// What came out of a round.
#[derive(Default)]
struct Out {
    alarm: Option<Alarmed>,
    writes: Vec<Write>,
    happened: Vec<What>,
}

impl Watched {
    fn new() -> Self {
        let mut bench = Bench::new();
        let (reply, _) = reply();
        let scheduled = SERVICE.replace("[schedule]", "[schedule]\nevery = \"10s\"");
        bench.state.apply(NOW, scheduled, None, reply);
        let agent = bench.connect("dc1", Role::Inside);
        Self {
            bench,
            agent,
            now_us: NOW,
            sequence: 0,
        }
    }

    /// A scheduled round in which web1 answers or does not.
    fn round(&mut self, broken: bool) -> Out {
        self.now_us += EVERY_US;
        self.agent.messages();
        self.bench
            .state
            .fire(self.now_us, &shop(), Cause::Schedule)
            .unwrap();
        let round = self.agent.round();
        let seen = round.arms.into_iter().map(|arm| {
            let arm = Arm::try_from(arm).unwrap();
            self.sequence += 1;
            let fails = broken && matches!(arm.target, Target::Backend { .. });
            let outcome = match fails {
                true => Outcome::Failed {
                    layer: Layer::Http,
                    failure: Failure::HttpStatus(500),
                    after: Micros(900),
                },
                false => Outcome::Passed,
            };
            let step = |layer| Step {
                layer,
                took: Micros(900),
            };
            let layers = match fails {
                true => vec![step(Layer::Tcp)],
                false => vec![step(Layer::Tcp), step(Layer::Http)],
            };
            Observation {
                steps: layers,
                ..self
                    .agent
                    .saw(RoundId(round.round), self.sequence, arm, NOW, outcome)
            }
        });
        let seen: Vec<Observation> = seen.collect();
        self.bench.record(self.now_us, &self.agent, seen);
        self.out()
    }

    fn rounds(&mut self, rounds: usize, broken: bool) -> Out {
        let mut all = Out::default();
        for _ in 0..rounds {
            let out = self.round(broken);
            all.alarm = out.alarm.or(all.alarm);
            all.writes.extend(out.writes);
            all.happened.extend(out.happened);
            if all.alarm.is_some() {
                break;
            }
        }
        all
    }

    fn judged(&mut self, alarmed: &Alarmed, id: &str) -> Out {
        let judged = Judged {
            verdict: verdict(id, "shop", Kind::Backend, "web1"),
            case_json: b"{}".to_vec(),
        };
        let judged = Some(Box::new(judged));
        self.bench.state.judged(self.now_us, alarmed, judged);
        self.out()
    }

    /// Does what the engine wishes of the disk, and tells it so.
    fn out(&mut self) -> Out {
        let mut out = Out {
            alarm: self.bench.alarms.try_recv().ok(),
            ..Out::default()
        };
        while let Ok(job) = self.bench.jobs.try_recv() {
            out.writes.extend(job.writes);
            (job.then)(Ok(()));
        }
        while let Ok(happening) = self.bench.happenings.try_recv() {
            if !matches!(happening.what, What::Round(_) | What::Agent { .. }) {
                out.happened.push(happening.what);
            }
        }
        out
    }
}

#[tokio::test]
async fn a_fault_is_raised_once_and_said_to_be_over_after_a_restart() {
    let mut watched = Watched::new();
    let calm = watched.rounds(100, false);
    assert!(calm.alarm.is_none() && calm.happened.is_empty());

    let broken = watched.rounds(30, true);
    let alarmed = broken.alarm.expect("no alarm after thirty struck rounds");
    let began = NOW + 101 * EVERY_US;
    assert!(
        alarmed.alarm.since_us.abs_diff(began) <= 2 * EVERY_US,
        "{alarmed:?}"
    );
    let raised = watched.judged(&alarmed, "v-first");
    assert!(
        matches!(raised.happened.as_slice(), [What::Raised(verdict, _)] if verdict.id == "v-first")
    );
    let view = watched.bench.state.service_view(&shop()).unwrap();
    assert_eq!(view.last_outcome, Some(VerdictOutcome::Fault));

    // It lasts, and is judged again, and nothing is said.
    let again = watched.rounds(60, true);
    let alarmed = again.alarm.expect("it is looked at again");
    let known = watched.judged(&alarmed, "v-second");
    assert!(known.happened.is_empty() && known.writes.is_empty());

    let store = watched.bench.state.store.clone();
    let mut writes: Vec<Write> = calm.writes;
    writes.extend(raised.writes);
    writes.push(Write::Service(
        watched.bench.state.services[&shop()].record.clone(),
    ));
    store.commit(writes).await.unwrap();
    drop(store);
    let (sequence, now_us) = (watched.sequence, watched.now_us);
    let mut bench = watched.bench.restart();
    let agent = bench.connect("dc1", Role::Inside);
    let mut watched = Watched {
        bench,
        agent,
        now_us,
        sequence,
    };

    let still = watched.rounds(3, true);
    assert!(still.happened.is_empty(), "it stands over the restart");
    let quiet = watched.rounds(60, false);
    let over = quiet.happened.iter().find_map(|what| match what {
        What::Over(_, over) => Some(over.clone()),
        _ => None,
    });
    let over = over.expect("not over after sixty quiet rounds");
    assert_eq!(
        (over.verdict.as_str(), over.ending),
        ("v-first", Ending::Quiet)
    );
    let store = watched.bench.state.store.clone();
    store.commit(quiet.writes).await.unwrap();
    let raised = store.raised("v-first").unwrap().unwrap();
    assert!(raised.over.is_some_and(|(_, why)| why == Ending::Quiet));
    assert!(store.raised("v-second").unwrap().is_none());
}

#[tokio::test]
async fn what_somebody_finds_mended_is_over_and_is_said_to_be() {
    let mut watched = Watched::new();
    watched.rounds(100, false);
    let alarmed = watched.rounds(30, true).alarm.expect("no alarm");
    let before = watched.bench.state.gather(&shop(), 0, None).unwrap();
    let raised = watched.judged(&alarmed, "v-first");
    let [What::Raised(verdict, _)] = raised.happened.as_slice() else {
        panic!("{:?}", raised.happened);
    };
    assert_eq!(verdict.standing, ["v-first"]);
    // Who waits for evidence is told of the alarm as well.
    let have = before.map(|evidence| evidence.version);
    let evidence = watched.bench.state.gather(&shop(), 0, have).unwrap();
    assert_eq!(evidence.expect("nothing new").standing, ["v-first"]);

    let ask = |watched: &mut Watched, ids: &[&str]| {
        let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        let (reply, answer) = reply();
        let now_us = watched.now_us;
        watched.bench.state.mended(now_us, &shop(), &ids, reply);
        (watched.out(), answer)
    };
    let (out, answer) = ask(&mut watched, &["v-other"]);
    assert!(out.happened.is_empty() && out.writes.is_empty());
    assert_eq!(answer.await.unwrap().unwrap(), ["v-first"]);
    let (out, answer) = ask(&mut watched, &["v-first"]);
    assert!(answer.await.unwrap().unwrap().is_empty());
    let written =
        |write: &Write| matches!(write, Write::Over { verdict, .. } if verdict == "v-first");
    assert!(out.writes.iter().any(written), "{:?}", out.writes);
    assert!(
        matches!(out.happened.as_slice(), [What::Over(_, over)] if over.ending == Ending::Quiet)
    );
}

#[test]
fn rounds_on_demand_are_not_the_schedules() {
    let mut watched = Watched::new();
    watched.rounds(40, false);
    let before = watched.bench.state.outlook(&shop()).unwrap().watch;
    let round = watched.bench.fire(watched.now_us);
    let vip = watched.agent.round().arms.remove(0);
    let seen = watched.agent.saw(
        round,
        1_000,
        Arm::try_from(vip).unwrap(),
        NOW,
        Outcome::Passed,
    );
    watched
        .bench
        .record(watched.now_us, &watched.agent, vec![seen]);
    watched.bench.state.close_overdue(u64::MAX);
    assert_eq!(watched.bench.state.outlook(&shop()).unwrap().watch, before);
}

#[test]
fn a_round_waits_for_an_earlier_one() {
    let mut watched = Watched::new();
    watched.rounds(5, false);
    let before = watched.bench.state.outlook(&shop()).unwrap().watch;
    // This one stays open: nobody answers.
    watched
        .bench
        .state
        .fire(watched.now_us, &shop(), Cause::Schedule)
        .unwrap();
    watched.round(false);
    let waiting = watched.bench.state.outlook(&shop()).unwrap().watch;
    assert_eq!(waiting, before);
    watched.bench.state.close_overdue(u64::MAX);
    let both = watched.bench.state.outlook(&shop()).unwrap().watch;
    assert_ne!(both, before);
}
