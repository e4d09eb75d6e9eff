//! Stretches of failures.

use super::*;

#[test]
fn a_stretch_is_over_when_passes_would_be_a_rare_chance() {
    // Failures and passes among the trials, one a second, and whether the failures are over.
    for (record, over) in [
        ("xxx", false),
        ("xxx..", false),
        ("xxx...", true),
        ("x.x.x.x.x...", false),
        ("x.x.x.x.x......", true),
    ] {
        let trials: Vec<Trial> = record
            .bytes()
            .zip(0..)
            .map(|(mark, second)| Trial {
                at: second * 1_000_000,
                stage: Stage::Dns,
                symptom: (mark == b'x').then_some(Symptom::DnsTimeout),
                served_by: None,
                kept: None,
                count: 1,
                asymmetric: false,
                took: None,
            })
            .collect();
        let failed = trials.iter().filter(|t| t.symptom.is_some());
        let stretches = episodes(failed.map(|t| t.at).collect());
        let [(first, last)] = stretches[..] else {
            panic!("{stretches:?}")
        };
        assert_eq!(is_over(&trials, first, last), over, "{record}");
    }
}

#[test]
fn failures_are_stretches_with_calm_between() {
    type Row<'a> = (&'a [u64], &'a [(u64, u64)]);
    let s = 1_000_000;
    let rows: [Row<'_>; 5] = [
        (&[], &[]),
        (&[5 * s], &[(5 * s, 5 * s)]),
        // A fault, half a minute of calm, another.
        (
            &[0, s, 2 * s, 32 * s, 33 * s],
            &[(0, 2 * s), (32 * s, 33 * s)],
        ),
        // One that strikes now and then is one stretch.
        (&[0, 10 * s, 20 * s, 60 * s, 70 * s], &[(0, 70 * s)]),
        // The order of the observations does not matter.
        (&[40 * s, 0, s], &[(0, s), (40 * s, 40 * s)]),
    ];
    for (failures, expected) in rows {
        assert_eq!(episodes(failures.to_vec()), expected, "{failures:?}");
    }
}
