//! Whether a verdict says something new.

use localize::{Component, Verdict};

/// A verdict counts as said for so long, in microseconds: what the page shows of a service is no older.
const FRESH_US: u64 = 3_600_000_000;

/// Whether a verdict says of `now_us` what the last one has said within the hour: the same outcome, the same
/// faults in the same ways, the same candidate ahead, beside the same alarms. How sure it is does not count.
pub(super) fn says_the_same(last: &Verdict, verdict: &Verdict, now_us: u64) -> bool {
    let said_us = last
        .started_at
        .parse()
        .map_or(0, jiff::Timestamp::as_microsecond);
    let age_us = now_us.saturating_sub(u64::try_from(said_us).unwrap_or_default());
    age_us < FRESH_US && gist(last) == gist(verdict)
}

/// What stays the same while nothing changes.
type Gist<'a> = (
    localize::VerdictOutcome,
    Vec<(&'a Component, &'a str, bool)>,
    Option<(&'a Component, &'a str)>,
    Vec<&'a str>,
);

fn gist(verdict: &Verdict) -> Gist<'_> {
    let faults = verdict.faults.iter();
    let mut faults: Vec<_> = faults
        .map(|fault| (&fault.component, fault.mode.as_str(), fault.user_impact))
        .collect();
    faults.sort();
    let ahead = verdict.alternatives.first().filter(|_| faults.is_empty());
    let ahead = ahead.map(|one| (&one.component, one.mode.as_str()));
    let mut standing: Vec<&str> = verdict.standing.iter().map(String::as_str).collect();
    standing.sort_unstable();
    (verdict.outcome, faults, ahead, standing)
}

#[cfg(test)]
mod tests {
    use localize::Kind;

    use super::*;
    use crate::clock::rfc3339;
    use crate::notify::samples::{NOW, undecided, verdict};

    #[test]
    fn what_changes_is_news_and_how_sure_it_is_is_none() {
        let at = |mut verdict: Verdict| {
            verdict.started_at = rfc3339(NOW);
            verdict
        };
        let last = at(verdict("v-1", "shop", Kind::Backend, "web2"));
        let mut surer = last.clone();
        surer.faults[0].confidence = 0.5;
        surer.id = "v-2".to_owned();
        assert!(says_the_same(&last, &surer, NOW + FRESH_US - 1));
        assert!(
            !says_the_same(&last, &surer, NOW + FRESH_US),
            "it was long ago"
        );
        let mut masked = last.clone();
        masked.faults[0].user_impact = false;
        let mut standing = last.clone();
        standing.standing = vec!["v-0".to_owned()];
        let other = at(verdict("v-2", "shop", Kind::Backend, "web1"));
        let nobody = at(undecided("v-2", "shop", Kind::Backend));
        for news in [masked, standing, other, nobody.clone()] {
            assert!(!says_the_same(&last, &news, NOW), "{news:?}");
        }
        let another = at(undecided("v-3", "shop", Kind::LoadBalancer));
        assert!(says_the_same(&nobody, &nobody, NOW) && !says_the_same(&nobody, &another, NOW));
    }
}
