//! The watch over simulated schedules: quiet while all is well, and as quick as theory says when not.

use localize::watch::{Group, Watch};
use localize::{Layer, Target};
use simulation::vigil::{FULL, Site};

const EVERY_US: u64 = 10_000_000;
/// Eight hours.
const CALM: u64 = 2_880;

#[test]
fn eight_healthy_hours_bring_no_alarm() {
    for seed in 500..505 {
        let alarm = Site::new(seed, EVERY_US, &FULL).watch(&mut Watch::default(), 0.0, CALM);
        assert_eq!(alarm, None, "seed {seed}");
    }
}

#[test]
fn a_backend_that_fails_two_percent_is_seen_about_when_it_should_be() {
    let mut late = 0;
    for seed in 600..605 {
        let (mut site, mut watch) = (Site::new(seed, EVERY_US, &FULL), Watch::default());
        assert_eq!(site.watch(&mut watch, 0.0, CALM), None, "seed {seed}");
        let theory = site.theory(&watch, 0.02);
        let (rounds, alarm) = site
            .watch(&mut watch, 0.02, 10_000)
            .expect("an alarm in a day");
        assert!(rounds as f64 > 0.2 * theory.mean, "seed {seed}: {rounds}");
        late += u32::from(rounds as f64 > theory.promised);
        let (Group::Target { layer, .. } | Group::Service { layer }) = &alarm.group else {
            continue;
        };
        assert_eq!(*layer, Layer::Http, "seed {seed}");
        if let Group::Target { target, .. } = alarm.group {
            assert!(
                matches!(&target, Target::Backend { name, .. } if name == "web2"),
                "seed {seed}: {target:?}"
            );
        }
    }
    assert!(late <= 1, "{late} of 5 later than promised");
}
