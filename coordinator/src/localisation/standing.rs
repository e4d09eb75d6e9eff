//! The alarms that stand while a localisation runs: how far back they reach, and whether they are over.
//!
//! Nothing is healthy beside an alarm that stands. Either what its probes see since somebody has asked
//! proves it over, or the verdict says what stands.

use localize::mended::{Decision, Since, compare, end_of};
use localize::{Case, Component, Verdict, VerdictOutcome};

use crate::mended::named;
use crate::store::{Store, StoreError};

/// An alarm of the watch that is not over.
#[derive(Debug)]
struct Alarm {
    /// The verdict that raised it.
    id: String,
    /// When it began, as far as its rounds tell, in microseconds of mesh time; `None` while nothing of
    /// it is on disk.
    began_us: Option<u64>,
    /// What it names, as a fault or as a candidate, each with its mode.
    named: Vec<(Component, String)>,
    /// The lowest rate that the faults of its verdict may have; `None` where it names none.
    least_rate: Option<f64>,
    /// What its verdict was made from; `None` where that is kept no longer.
    case: Option<Case>,
}

/// The alarms of a service that stand.
#[derive(Debug, Default)]
pub(super) struct Alarms(Vec<Alarm>);

impl Alarms {
    /// As the store knows them.
    pub(super) fn read(store: &Store, ids: &[String]) -> Result<Self, StoreError> {
        let mut alarms = Vec::new();
        for id in ids {
            let case = store.case(id)?;
            let verdict = store.verdict(id)?;
            let rates = verdict.iter().flat_map(|v| &v.faults).map(|f| f.rate.low);
            alarms.push(Alarm {
                least_rate: rates.min_by(f64::total_cmp),
                id: id.clone(),
                began_us: store.raised(id)?.map(|raised| raised.began_us),
                named: verdict.as_ref().map(named).unwrap_or_default(),
                case: case.and_then(|json| serde_json::from_slice(&json).ok()),
            });
        }
        Ok(Self(alarms))
    }

    /// Whether they are these, and all that is to be known of them is.
    pub(super) fn are(&self, ids: &[String]) -> bool {
        let same = self.0.iter().map(|alarm| &alarm.id).eq(ids);
        same && self.0.iter().all(|alarm| alarm.began_us.is_some())
    }

    /// Their verdicts.
    pub(super) fn ids(&self) -> Vec<String> {
        self.0.iter().map(|alarm| alarm.id.clone()).collect()
    }

    /// How many they are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The beginning of the first of them, in microseconds of mesh time.
    pub(super) fn since_us(&self) -> Option<u64> {
        self.0.iter().filter_map(|alarm| alarm.began_us).min()
    }

    /// Those that the rounds of a case prove to be over. `asked_us` is when somebody asked, which is an
    /// instant that no probe has chosen.
    pub(super) fn over(&self, case: &Case, verdict: &Verdict, asked_us: u64) -> Vec<String> {
        let over = self.0.iter().filter(|alarm| {
            alarm.would_have_been_seen(verdict) || alarm.is_over(case, verdict, asked_us)
        });
        over.map(|alarm| alarm.id.clone()).collect()
    }

    /// Makes of a healthy verdict beside which something stands one that says so.
    pub(super) fn deny(&self, verdict: &mut Verdict) {
        if verdict.outcome != VerdictOutcome::Healthy {
            return;
        }
        for id in &verdict.standing.clone() {
            let known = self.0.iter().find(|alarm| alarm.id == *id);
            let named = known.map_or(&[][..], |alarm| &alarm.named);
            verdict.outcome = VerdictOutcome::Inconclusive;
            verdict.ask.push(question(id, named));
            let accused = |c: &Component| named.iter().any(|(named, _)| named == c);
            verdict.exonerated.retain(|part| !accused(&part.component));
        }
    }
}

impl Alarm {
    /// Whether a healthy verdict refutes it: a fault of its rate, anywhere, would have been seen with the
    /// power that the verdict states.
    fn would_have_been_seen(&self, verdict: &Verdict) -> bool {
        self.least_rate.is_some_and(|rate| is_seen(verdict, rate))
    }

    /// Whether each of what it names is: refuted by its own probes, or quiet since somebody has asked
    /// where its rate would have been seen. A candidate has the rate that its case shows.
    fn is_over(&self, case: &Case, verdict: &Verdict, asked_us: u64) -> bool {
        let Some(then) = &self.case else {
            return false;
        };
        let end_us = end_of(then);
        let later = case.observations.iter();
        let since = Since {
            at_us: asked_us.max(end_us),
            observations: later.filter(|o| o.scheduled_us > end_us).cloned().collect(),
            sightings: case.sightings.clone(),
            every_us: None,
        };
        let mended = |(component, mode): &(Component, String)| {
            let comparison = compare(then, component, mode, &since);
            comparison.is_some_and(|found| {
                let quiet = found.last_failure_us.is_none();
                let is_mended = found.decision == Decision::Mended;
                is_mended || quiet && is_seen(verdict, found.before.rate.low)
            })
        };
        !self.named.is_empty() && self.named.iter().all(mended)
    }
}

/// Whether a verdict is healthy that would have seen a fault of this rate.
fn is_seen(verdict: &Verdict, rate: f64) -> bool {
    let healthy = verdict.outcome == VerdictOutcome::Healthy;
    healthy && verdict.detection.power >= 0.95 && verdict.detection.rate <= rate
}

/// What would tell whether an alarm is over.
fn question(id: &str, named: &[(Component, String)]) -> String {
    let each = |(component, mode): &(Component, String)| format!("{} {mode}", component.name);
    let named = match named {
        [] => String::new(),
        named => format!(
            " ({})",
            named.iter().map(each).collect::<Vec<_>>().join(", ")
        ),
    };
    format!(
        "alarm {id}{named} stands, and what was probed since does not prove it over: `meshctl mended \
         {id}` says what is missing"
    )
}

#[cfg(test)]
mod tests {
    use localize::Kind;

    use super::super::seen::{SECOND, case, case_of};
    use super::*;

    fn alarms(case: Option<Case>) -> Alarms {
        let component = Component {
            kind: Kind::Backend,
            name: "web1".to_owned(),
        };
        Alarms(vec![Alarm {
            id: "v-1".to_owned(),
            began_us: Some(SECOND),
            least_rate: Some(0.3),
            named: vec![(component, "refuses".to_owned())],
            case,
        }])
    }

    #[test]
    fn an_alarm_is_over_when_its_probes_were_quiet_for_long_enough() {
        let then = || Some(case(10, 10));
        // What the alarm was raised on, the rounds that are known now, and whether it is over.
        let rows = [
            (then(), case(10, 60), true),
            (then(), case(10, 12), false),
            (then(), case(60, 60), false),
            (Some(case(0, 10)), case(10, 60), false),
            (None, case(10, 60), false),
        ];
        for (then, now, over) in rows {
            let mut verdict = localize::localize(&now).verdict;
            verdict.detection.rate = 1.0;
            let found = alarms(then).over(&now, &verdict, 20 * SECOND);
            assert_eq!(!found.is_empty(), over, "{found:?}");
        }
    }

    #[test]
    fn an_alarm_is_over_when_a_fault_of_its_rate_would_have_been_seen() {
        let now = case(0, 10);
        let mut verdict = localize::localize(&now).verdict;
        verdict.outcome = VerdictOutcome::Healthy;
        verdict.detection.power = 0.95;
        for (rate, over) in [(0.07, true), (0.3, true), (0.4, false)] {
            verdict.detection.rate = rate;
            let found = alarms(None).over(&now, &verdict, SECOND);
            assert_eq!(!found.is_empty(), over, "{rate}");
        }
        verdict.outcome = VerdictOutcome::Inconclusive;
        verdict.detection.rate = 0.07;
        assert!(alarms(None).over(&now, &verdict, SECOND).is_empty());
    }

    #[test]
    fn an_alarm_on_a_candidate_is_over_when_the_rate_of_its_case_would_have_been_seen() {
        let struck = |round: u64| round == 10 || round == 12;
        let mut candidates = alarms(Some(case_of(14, struck)));
        candidates.0[0].least_rate = None;
        let now = case_of(20, struck);
        let mut verdict = localize::localize(&now).verdict;
        verdict.outcome = VerdictOutcome::Healthy;
        verdict.detection.power = 0.95;
        for (rate, asked, over) in [(0.04, 14, true), (0.4, 14, false), (0.04, 11, false)] {
            verdict.detection.rate = rate;
            let again = case_of(20, |round| struck(round) || asked == 11 && round == 16);
            let found = candidates.over(&again, &verdict, asked * SECOND + 1);
            assert_eq!(!found.is_empty(), over, "{rate} {asked}");
        }
    }

    #[test]
    fn a_healthy_verdict_says_what_stands() {
        let mut verdict = localize::localize(&case(0, 10)).verdict;
        verdict.outcome = VerdictOutcome::Healthy;
        let alarms = alarms(None);
        alarms.deny(&mut verdict);
        assert_eq!(verdict.outcome, VerdictOutcome::Healthy);
        let cleared = |verdict: &Verdict| {
            let mut cleared = verdict.exonerated.iter();
            cleared.any(|part| part.component.name == "web1")
        };
        assert!(cleared(&verdict), "{verdict:?}");
        verdict.standing = vec!["v-1".to_owned(), "v-2".to_owned()];
        alarms.deny(&mut verdict);
        assert_eq!(verdict.outcome, VerdictOutcome::Inconclusive);
        assert!(!cleared(&verdict));
        let asked = verdict.ask.join("\n");
        assert!(asked.contains("v-1 (web1 refuses) stands"), "{asked}");
        assert!(asked.contains("meshctl mended v-2"), "{asked}");
    }
}
