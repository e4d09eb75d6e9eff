//! What a changed service file makes of what was seen before.

use super::*;

#[test]
fn answers_to_another_question_are_no_evidence() {
    let rows = [
        ("[expect]\nstatus = [404]\n[schedule]", 0),
        ("[request]\nmethod = \"HEAD\"\n[schedule]", 0),
        ("[schedule]\nevery = \"10s\"", 1),
    ];
    for (sections, remembered) in rows {
        let mut bench = Bench::new();
        let agent = bench.connect("a", Role::Outside);
        let round = bench.fire(NOW);
        let seen = agent.saw(round, 7, resolver(), NOW, Outcome::Passed);
        bench.record(NOW, &agent, vec![seen]);
        assert_eq!(bench.gathered(), 1);

        let later = NOW + 60 * SECOND;
        let (answer, _) = reply();
        let changed = SERVICE.replacen("[schedule]", sections, 1);
        bench.state.apply(later, changed, None, answer);
        assert_eq!(bench.gathered(), remembered, "{sections}");
        // One that was announced before the agents knew, and one that was not.
        for (sequence, after) in [(8, 0), (9, SECOND)] {
            let seen = Observation {
                scheduled_us: later + after,
                ..agent.saw(RoundId(0), sequence, resolver(), later, Outcome::Passed)
            };
            bench.record(later, &agent, vec![seen]);
        }
        let of_both = remembered * 2 + 1;
        assert_eq!(bench.gathered(), of_both, "{sections}");
    }
}
