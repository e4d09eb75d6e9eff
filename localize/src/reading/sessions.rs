//! Requests that keep a cookie: by it a balancer knows whom it has sent them to before.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use crate::facts::observation::{Arm, Session};
use crate::reading::cells::Trial;
use crate::reading::choosing::keeps_to_one;
use crate::world::path::Alternative;

/// Who is served by the same backend again so much more often than by lot is known by the cookie; else it is
/// another's than the balancer's.
const KEPT: f64 = 0.9;

/// What a session's probes of one stretch say, and over which ways: those to the backend that served it last, by
/// all its probes, where it is kept to one. Where nobody tells who serves, it is one choice, and what it shows
/// again is said twice.
pub(crate) fn read<'t>(
    arm: &Arm,
    alternatives: &mut [Alternative],
    all: &[Trial],
    stretch: &'t [Trial],
) -> Cow<'t, [Trial]> {
    let several = alternatives.len() > 1;
    if arm.traits.session == Session::New || !several {
        return Cow::Borrowed(stretch);
    }
    let told = all.iter().filter(|trial| trial.served_by.is_some());
    let last = told.max_by_key(|trial| trial.at);
    let Some(backend) = last.and_then(|trial| trial.served_by) else {
        return Cow::Owned(once_each(stretch));
    };
    if keeps_to_one(all, alternatives) >= KEPT {
        lead_to(backend, alternatives);
    }
    Cow::Borrowed(stretch)
}

/// Share of a session's requests that its backend gets: now and then a cookie is too old, or a balancer thinks
/// better of it. The other ways stay, since a backend that is out of rotation is no session's either, where a
/// balancer does right.
const ITS_OWN: f64 = 0.98;

/// Weighs the ways to one backend above all others.
fn lead_to(backend: usize, alternatives: &mut [Alternative]) {
    let leads = |way: &Alternative| way.backend == Some(backend);
    let own: f64 = alternatives
        .iter()
        .filter(|way| leads(way))
        .map(|way| way.weight)
        .sum();
    if own <= 0.0 || own >= 1.0 {
        return;
    }
    for way in alternatives {
        way.weight *= match leads(way) {
            true => ITS_OWN / own,
            false => (1.0 - ITS_OWN) / (1.0 - own),
        };
    }
}

/// The first trial of each outcome.
fn once_each(trials: &[Trial]) -> Vec<Trial> {
    let mut each: Vec<Trial> = Vec::new();
    for trial in trials {
        if each.iter().all(|known| known.symptom != trial.symptom) {
            each.push(*trial);
        }
    }
    each
}

/// Whether a session leads to nobody: since one of its requests failed, most did.
pub(crate) fn is_stuck(arm: &Arm, trials: &[Trial]) -> bool {
    let failed = trials.iter().filter(|trial| trial.symptom.is_some());
    let Some(first) = failed.clone().map(|trial| trial.at).min() else {
        return false;
    };
    let since = trials.iter().filter(|trial| trial.at >= first).count();
    arm.traits.session == Session::Kept && failed.count() * 2 > since
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::facts::observation::Target;
    use crate::world::symptom::Symptom;

    fn arm() -> Arm {
        Arm::to(Target::Vip {
            address: "203.0.113.10:443".parse().expect("an address"),
        })
    }

    fn ways() -> Vec<Alternative> {
        let way = |backend| Alternative {
            weight: 0.5,
            backend: Some(backend),
            crossed: vec![],
        };
        vec![way(0), way(1)]
    }

    const FAILED: Option<Symptom> = Some(Symptom::Status503);

    #[test]
    fn a_session_leads_to_whom_it_met_last() {
        let served = |at: u64| Trial::plain(at, None).by(usize::from(at > 0));
        let now = [Trial::plain(40, FAILED), Trial::plain(41, FAILED)];
        let all = [(0..40).map(served).collect(), now.to_vec()].concat();
        for (arm, share) in [(arm(), 0.5), (arm().twin(Session::Kept), ITS_OWN)] {
            let mut ways = ways();
            assert_eq!(read(&arm, &mut ways, &all, &now).len(), 2);
            let weights: Vec<f64> = ways.iter().map(|way| way.weight).collect();
            assert!((weights[1] - share).abs() < 1e-9, "{arm:?} {weights:?}");
            assert!((weights[0] + weights[1] - 1.0).abs() < 1e-9, "{weights:?}");
        }
        let mut ways = ways();
        let kept = arm().twin(Session::Kept);
        let alone = read(&kept, &mut ways, &now, &now);
        assert_eq!((ways[1].weight, alone.len()), (0.5, 1), "one choice");
        // The cookie is not the balancer's: it takes turns.
        let turns = |at: u64| Trial::plain(at, None).by(usize::from(at.is_multiple_of(2)));
        let all: Vec<Trial> = (0..40).map(turns).chain(now).collect();
        assert_eq!(read(&kept, &mut ways, &all, &now).len(), 2);
        assert_eq!(ways[1].weight, 0.5);
    }

    #[test]
    fn who_fails_once_is_not_stuck() {
        let trials = |failed: &[u64]| -> Vec<Trial> {
            let shown = |at: u64| failed.contains(&at).then_some(Symptom::Status503);
            (0..10).map(|at| Trial::plain(at, shown(at))).collect()
        };
        let kept = arm().twin(Session::Kept);
        assert!(is_stuck(&kept, &trials(&[7, 8, 9])));
        assert!(is_stuck(&kept, &trials(&[6, 8, 9])));
        assert!(!is_stuck(&kept, &trials(&[3])));
        assert!(!is_stuck(&kept, &trials(&[])));
        assert!(!is_stuck(&arm(), &trials(&[7, 8, 9])));
    }
}
