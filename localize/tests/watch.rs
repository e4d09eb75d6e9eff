//! The watch over scheduled rounds, on simulated meshes in compressed time.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use localize::watch::{
    Alarm, ClosedRound, Ending, FALSE_ALARMS_A_DAY, Glimpse, Group, Ruling, Watch,
};
use localize::{
    Alternative, Arm, Clock, Component, Detection, Facts, Failure, Firing, Kind, Layer, Micros,
    Observation, ObservationId, Outcome, RoundId, ServiceName, Stamp, Step, Target, VantageName,
    Verdict, VerdictOutcome,
};

const EVERY_US: u64 = 10_000_000;
const HOUR: u64 = 360;

/// SplitMix64, as a share of one.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / 9_007_199_254_740_992.0
    }
}

fn backend(index: u8) -> Arm {
    Arm::to(Target::Backend {
        name: format!("web{index}"),
        address: format!("10.0.0.5{index}:80").parse().unwrap(),
    })
}

fn observation(vantage: &str, round: u64, arm: Arm, failed: bool) -> Observation {
    let step = |layer| Step {
        layer,
        took: Micros(900),
    };
    let (steps, outcome) = match failed {
        true => (
            vec![step(Layer::Tcp)],
            Outcome::Failed {
                layer: Layer::Http,
                failure: Failure::HttpStatus(500),
                after: Micros(900),
            },
        ),
        false => (vec![step(Layer::Tcp), step(Layer::Http)], Outcome::Passed),
    };
    Observation {
        id: ObservationId {
            vantage: VantageName(vantage.into()),
            sequence: round,
        },
        service: ServiceName("shop".into()),
        round: RoundId(round),
        arm,
        started: Stamp::default(),
        scheduled_us: round * EVERY_US,
        firing: Firing::OnTime,
        steps,
        outcome,
        facts: Facts::default(),
    }
}

/// Two vantage points, three backends each; `rates` says how often each backend fails.
fn round(number: u64, rates: [f64; 3], dice: &mut Dice) -> ClosedRound {
    let mut glimpses = Vec::new();
    for vantage in ["dc1", "dc2"] {
        for (index, rate) in (1..).zip(rates) {
            let failed = dice.roll() < rate;
            let seen = observation(vantage, number, backend(index), failed);
            glimpses.extend(Glimpse::of(&seen));
        }
    }
    closed(number, glimpses)
}

fn closed(number: u64, glimpses: Vec<Glimpse>) -> ClosedRound {
    ClosedRound {
        id: RoundId(number),
        at_us: number * EVERY_US,
        every_us: EVERY_US,
        glimpses,
    }
}

/// Runs the watch over rounds and returns the number of the round after, and the first alarm.
fn run(
    watch: &mut Watch,
    from: u64,
    rounds: u64,
    rates: [f64; 3],
    dice: &mut Dice,
) -> (u64, Option<Alarm>) {
    for number in from..from + rounds {
        let news = watch.round(&round(number, rates, dice));
        if news.alarm.is_some() {
            return (number + 1, news.alarm);
        }
    }
    (from + rounds, None)
}

fn verdict(outcome: VerdictOutcome, candidates: &[&str]) -> Verdict {
    let alternatives = candidates.iter().map(|name| Alternative {
        component: web(name),
        mode: "http_5xx".into(),
        confidence: 0.4,
        because: String::new(),
    });
    Verdict {
        earlier: Vec::new(),
        not_probed: Vec::new(),
        standing: Vec::new(),
        schema: 1,
        service: "shop".into(),
        id: String::new(),
        outcome,
        faults: Vec::new(),
        exonerated: Vec::new(),
        alternatives: alternatives.collect(),
        unknown: 0.0,
        ask: Vec::new(),
        detection: Detection {
            rate: 0.1,
            power: 0.95,
        },
        clock: Clock::default(),
        rounds: 0,
        probes: 0,
        vantages: Vec::new(),
        started_at: String::new(),
        elapsed_ms: 0,
    }
}

fn web(name: &str) -> Component {
    Component {
        kind: Kind::Backend,
        name: name.into(),
    }
}

#[test]
fn healthy_rounds_raise_no_alarm() {
    // Eight hours each, with a background within what counts as calm, uneven among the backends, and
    // nothing known before. All together a year's share of false alarms would be far below one.
    for seed in 0..30 {
        let mut dice = Dice(seed);
        let rates = [0.0, 0.001, 0.004].map(|rate| rate * dice.roll() * 2.0);
        let (_, alarm) = run(&mut Watch::default(), 1, 8 * HOUR, rates, &mut dice);
        assert_eq!(alarm, None, "seed {seed}, rates {rates:?}");
    }
}

#[test]
fn two_percent_on_one_backend_are_found_within_the_time_of_theory() {
    let calm = [0.0005; 3];
    let mut late = 0;
    for seed in 0..6 {
        let (mut watch, mut dice) = (Watch::default(), Dice(100 + seed));
        let (next, alarm) = run(&mut watch, 1, 12 * HOUR, calm, &mut dice);
        assert_eq!(alarm, None, "seed {seed}");
        let rates = [0.0005, 0.02, 0.0005];
        let (end, alarm) = run(&mut watch, next, 24 * HOUR, rates, &mut dice);
        let alarm = alarm.expect("no alarm in a day");
        // Two probes of web2 a round: four rounds of a hundred are struck.
        let web2 = localize::watch::Group::Target {
            target: backend(2).target,
            layer: Layer::Http,
        };
        let level = watch.level(0, EVERY_US);
        let calm_rate = watch.calm_rate(&web2, 2.0);
        let promised = localize::power::rounds_to_see(calm_rate, 0.0396, level);
        late += u32::from((end - next) as f64 > promised);
        assert!(
            alarm.since_us.abs_diff(next * EVERY_US) < 2 * HOUR * EVERY_US,
            "{alarm:?}"
        );
    }
    assert!(late <= 1, "{late} of 6 were late");
}

#[test]
fn repeats_and_order_change_nothing() {
    let (mut first, mut second) = (Watch::default(), Watch::default());
    let mut dice = Dice(1);
    for number in 1..400 {
        let rates = if number < 300 {
            [0.01; 3]
        } else {
            [0.01, 0.5, 0.01]
        };
        let once = round(number, rates, &mut dice);
        let mut again = once.clone();
        again.glimpses.reverse();
        again.glimpses.extend(once.glimpses.clone());
        assert_eq!(first.round(&once), second.round(&again));
        let nothing = second.round(&again);
        assert!(nothing.alarm.is_none() && nothing.over.is_empty());
    }
    assert_eq!(first, second);
    assert!(first != Watch::default());
}

#[test]
fn what_stands_is_raised_once_and_is_over_when_it_is_quiet() {
    let (mut watch, mut dice) = (Watch::default(), Dice(2));
    let (mut next, _) = run(&mut watch, 1, 2 * HOUR, [0.0; 3], &mut dice);
    let broken = [0.0, 0.2, 0.0];
    let mut raised = 0;
    let end = next + 6 * HOUR;
    while next < end {
        let (after, alarm) = run(&mut watch, next, end - next, broken, &mut dice);
        next = after;
        let Some(alarm) = alarm else { break };
        let verdict = verdict(VerdictOutcome::Inconclusive, &["web2"]);
        let ruling = watch.judged(&alarm, &verdict, &format!("v-{next}"), EVERY_US);
        raised += u32::from(matches!(ruling, Ruling::Raise { .. }));
    }
    assert_eq!((raised, watch.standing().count()), (1, 1));

    // A restart in between changes nothing.
    let mut watch: Watch = serde_json::from_str(&serde_json::to_string(&watch).unwrap()).unwrap();
    let mut over = Vec::new();
    let quiet = next;
    while over.is_empty() && next < quiet + HOUR {
        over = watch.round(&round(next, [0.0; 3], &mut dice)).over;
        next += 1;
    }
    assert_eq!(over.len(), 1, "not over after an hour");
    assert_eq!(over[0].ending, Ending::Quiet);
    assert_eq!(over[0].components, [web("web2")]);
    assert!(next - quiet >= 10, "over after {} rounds", next - quiet);
    let (_, alarm) = run(&mut watch, next, HOUR, [0.0; 3], &mut dice);
    assert_eq!((alarm, watch.standing().count()), (None, 0));
}

#[test]
fn a_verdict_that_is_more_exact_takes_the_place_of_candidates() {
    let (mut watch, mut dice) = (Watch::default(), Dice(4));
    let (next, _) = run(&mut watch, 1, HOUR, [0.0; 3], &mut dice);
    let (_, alarm) = run(&mut watch, next, HOUR, [0.0, 0.9, 0.0], &mut dice);
    let alarm = alarm.unwrap();
    let candidates = verdict(VerdictOutcome::Inconclusive, &["web2", "web3"]);
    let ruling = watch.judged(&alarm, &candidates, "v-1", EVERY_US);
    assert_eq!(ruling, Ruling::Raise { over: Vec::new() });
    assert_eq!(
        watch.judged(&alarm, &candidates, "v-2", EVERY_US),
        Ruling::Known
    );
    let nobody = verdict(VerdictOutcome::Inconclusive, &[]);
    assert_eq!(
        watch.judged(&alarm, &nobody, "v-3", EVERY_US),
        Ruling::Undecided
    );
    assert_eq!(watch.standing().collect::<Vec<_>>(), ["v-1"]);
}

#[test]
fn what_a_verdict_calls_healthy_is_usual() {
    let (mut watch, mut dice) = (Watch::default(), Dice(6));
    // A page that answers 500 from the first day on.
    let rates = [0.0, 0.3, 0.0];
    let (next, alarm) = run(&mut watch, 1, HOUR, rates, &mut dice);
    let healthy = verdict(VerdictOutcome::Healthy, &[]);
    let ruling = watch.judged(&alarm.unwrap(), &healthy, "v-1", EVERY_US);
    assert_eq!(ruling, Ruling::Usual);
    // The few rounds before the first alarm may not teach the whole rate; then it is asked again.
    let (mut next, mut asked) = (next, 0);
    while let (after, Some(alarm)) = run(&mut watch, next, 8 * HOUR, rates, &mut dice) {
        assert_eq!(
            watch.judged(&alarm, &healthy, "v-2", EVERY_US),
            Ruling::Usual
        );
        (next, asked) = (after, asked + 1);
        assert!(asked < 5, "asked again and again");
    }
}

#[test]
fn a_healthy_verdict_that_has_seen_too_little_teaches_nothing() {
    let mut watch = Watch::default();
    let healthy = verdict(VerdictOutcome::Healthy, &[]);
    let hour_us = HOUR * EVERY_US;
    let mut alarm = Alarm {
        group: Group::Service { layer: Layer::Http },
        since_us: hour_us,
        at_us: hour_us + hour_us / 12,
        rounds: 331.0,
        struck: 22.0,
    };
    // What struck in 7 % of the rounds is less than the 10 % that would have been seen.
    let ruling = watch.judged(&alarm, &healthy, "v-1", EVERY_US);
    assert_eq!(ruling, Ruling::Undecided);
    alarm.struck = 66.0;
    let ruling = watch.judged(&alarm, &healthy, "v-2", EVERY_US);
    assert_eq!(ruling, Ruling::Usual);
    // After an hour there is no more to be seen.
    (alarm.struck, alarm.at_us) = (22.0, 2 * hour_us);
    let ruling = watch.judged(&alarm, &healthy, "v-3", EVERY_US);
    assert_eq!(ruling, Ruling::Usual);
}

#[test]
fn nothing_is_usual_while_something_stands_and_what_is_mended_is_over() {
    let (mut watch, mut dice) = (Watch::default(), Dice(7));
    let (next, _) = run(&mut watch, 1, HOUR, [0.0; 3], &mut dice);
    let broken = [0.0, 1.0, 0.0];
    let (next, alarm) = run(&mut watch, next, HOUR, broken, &mut dice);
    let candidates = verdict(VerdictOutcome::Inconclusive, &["web2"]);
    watch.judged(&alarm.unwrap(), &candidates, "v-1", EVERY_US);

    // The window is full of it by now, and a judgement takes it for usual.
    let (next, alarm) = run(&mut watch, next, 2 * HOUR, broken, &mut dice);
    let healthy = verdict(VerdictOutcome::Healthy, &[]);
    let ruling = watch.judged(&alarm.unwrap(), &healthy, "v-2", EVERY_US);
    assert_eq!(ruling, Ruling::Undecided);
    assert_eq!(watch.standing().collect::<Vec<_>>(), ["v-1"]);

    assert_eq!(watch.mended(&["v-2".to_owned()]), []);
    let over = watch.mended(&["v-1".to_owned()]);
    assert_eq!((over.len(), over[0].ending), (1, Ending::Quiet));
    assert_eq!(watch.standing().count(), 0);
    // It may come again, and is seen as soon as the first time.
    let (_, alarm) = run(&mut watch, next, HOUR, [0.0; 3], &mut dice);
    assert_eq!(alarm, None);
    let (end, alarm) = run(&mut watch, next + HOUR, HOUR, broken, &mut dice);
    assert!(alarm.is_some() && end < next + HOUR + 30, "{end}");
}

#[test]
fn the_level_is_that_of_the_documentation() {
    assert!((FALSE_ALARMS_A_DAY - 1e-4).abs() < 1e-12);
    let level = Watch::default().level(100, EVERY_US);
    // ln(8640 rounds a day / 1e-4) + ln(100 groups) + ln(7 / 0.75) for the unknown rate.
    assert!(
        (level - (18.274_5 + 4.605_2 + 2.233_6)).abs() < 1e-3,
        "{level}"
    );
}
