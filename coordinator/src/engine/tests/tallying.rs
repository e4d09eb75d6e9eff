//! Counters that never fall.

use localize::{HttpFacts, Step};

use super::*;

fn web1() -> Arm {
    Arm::to(Target::Backend {
        name: "web1".to_owned(),
        address: "10.0.0.51:80".parse().unwrap(),
    })
}

fn passed(agent: &Agent, sequence: u64) -> Observation {
    let step = |layer, us| Step {
        layer,
        took: Micros(us),
    };
    let mut seen = agent.saw(RoundId(1), sequence, web1(), NOW, Outcome::Passed);
    seen.steps = vec![step(Layer::Tcp, 1_000), step(Layer::Http, 9_000)];
    seen.facts.http = Some(HttpFacts {
        status: 200,
        first_byte: Micros(6_000),
        body_bytes: 10,
        body_digest: String::new(),
        headers: Vec::new(),
        redirect: localize::Redirect::None,
    });
    seen
}

#[test]
fn every_probe_is_counted_once() {
    let mut bench = Bench::new();
    let agent = bench.connect("dc1", Role::Inside);
    let timed_out = agent.saw(RoundId(1), 3, web1(), NOW, failed());
    let skipped = agent.saw(RoundId(1), 4, web1(), NOW, Outcome::NotFired);
    let first = vec![passed(&agent, 1), passed(&agent, 2), timed_out, skipped];
    bench.record(NOW, &agent, first.clone());
    // After a session was replaced the same comes again.
    bench.record(NOW, &agent, first);
    let group = Group {
        service: shop(),
        vantage: agent.name.clone(),
        target: "backend/web1".to_owned(),
    };
    let groups: Vec<&Group> = bench.state.tally.0.keys().collect();
    assert_eq!(groups, [&group]);
    let counted = &bench.state.tally.0[&group];
    assert_eq!((counted.probes, counted.passed), (3, 2));
    assert_eq!(counted.failed, [(Failure::DnsTimeout, 1)].into());
    let sums = counted
        .times
        .iter()
        .map(|(phase, times)| (*phase, times.sum_us));
    let expected = [
        (Phase::Connect, 2_000),
        (Phase::FirstByte, 12_000),
        (Phase::Transfer, 6_000),
    ];
    assert_eq!(sums.collect::<Vec<_>>(), expected);
    let connect = counted.times[&Phase::Connect].buckets;
    assert_eq!(connect[0], 2, "a bound belongs to its bucket");
    assert_eq!(counted.times[&Phase::FirstByte].buckets[3], 2);
}

#[test]
fn a_service_that_is_deleted_is_counted_no_longer() {
    let mut bench = Bench::new();
    let agent = bench.connect("dc1", Role::Inside);
    bench.record(NOW, &agent, vec![passed(&agent, 1)]);
    assert_eq!(bench.state.tally.0.len(), 1);
    let (reply, _) = reply();
    bench.state.delete(NOW, &shop(), reply);
    assert_eq!(bench.state.tally, Tally::default());
}
