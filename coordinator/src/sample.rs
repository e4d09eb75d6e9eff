//! The part of a large fleet that stands for all of it.
//!
//! A localisation fires four rounds a second and judges what came of them twice a second. From thousands of
//! vantage points that would be more than agents, store and heart can do in its time, and tells hardly
//! more than the same from some hundreds. Which ones these are is drawn from their names, whatever they see:
//! rates stay what they are.

use std::collections::{BTreeMap, BTreeSet};

use localize::{Case, Observation, Outcome, RoundId, ServiceName, VantageName, VantagePoint};

/// Vantage points that are looked through however many observations they have made: with fewer it cannot be
/// told which of them has a fault of its own.
const FEWEST: usize = 32;
/// Vantage points that are looked through besides, since most of what they do fails: whoever has a fault
/// of its own must not be left out for its name.
const FAILING: usize = 16;
/// So many times the observations wanted are looked through before rounds are left out.
const ROUNDS: usize = 16;

/// Vantage points in the order in which they stand for all: those on hosts of the path, then by turns one of
/// each role, drawn by name.
pub(crate) fn in_order<'v>(
    service: &ServiceName,
    vantages: impl IntoIterator<Item = &'v VantagePoint>,
) -> Vec<&'v VantagePoint> {
    let draw =
        |vantage: &VantagePoint| crc32fast::hash(format!("{service}/{}", vantage.name).as_bytes());
    let mut drawn: Vec<(bool, u32, &VantagePoint)> = vantages
        .into_iter()
        .map(|vantage| (vantage.host.is_none(), draw(vantage), vantage))
        .collect();
    drawn.sort_by_key(|(elsewhere, draw, vantage)| (*elsewhere, *draw, &vantage.name));
    let mut turns = BTreeMap::new();
    let mut ordered: Vec<_> = drawn
        .into_iter()
        .map(|(elsewhere, _, vantage)| {
            let turn = turns.entry((elsewhere, vantage.role)).or_insert(0_u32);
            *turn += 1;
            (elsewhere, *turn, vantage.role, vantage)
        })
        .collect();
    ordered.sort_by_key(|(elsewhere, turn, role, _)| (*elsewhere, *turn, *role));
    ordered
        .into_iter()
        .map(|(_, _, _, vantage)| vantage)
        .collect()
}

/// A case with about so many observations: of fewer vantage points, and where these alone have far more, of
/// the newest rounds. One that has no more is left as it is.
pub(crate) fn thinned(mut case: Case, most: usize) -> Case {
    if case.observations.len() <= most {
        return case;
    }
    let kept = chosen(&case, most);
    let is_kept = |vantage: &VantageName| kept.contains(vantage);
    case.observations.retain(|seen| is_kept(seen.vantage()));
    case.topology.vantages.retain(|v| is_kept(&v.name));
    case.baselines.0.retain(|usual| is_kept(&usual.vantage));
    case.declared.unproven.retain(|arm| is_kept(&arm.vantage));
    case.sightings.retain(|report| is_kept(&report.witness));
    case.traces.retain(|trace| is_kept(&trace.vantage));
    keep_newest(&mut case.observations, most.saturating_mul(ROUNDS));
    case
}

fn chosen(case: &Case, most: usize) -> BTreeSet<VantageName> {
    let mut made: BTreeMap<&VantageName, (usize, usize)> = BTreeMap::new();
    for seen in &case.observations {
        let (failed, all) = made.entry(seen.vantage()).or_default();
        *all += 1;
        *failed += usize::from(matches!(seen.outcome, Outcome::Failed { .. }));
    }
    let (mut chosen, mut observations) = (BTreeSet::new(), 0);
    let mut passed_over: Vec<(usize, &VantageName)> = Vec::new();
    for vantage in in_order(&case.topology.service, &case.topology.vantages) {
        let (failed, all) = made.get(&vantage.name).copied().unwrap_or_default();
        if chosen.len() < FEWEST || observations + all <= most {
            observations += all;
            chosen.insert(vantage.name.clone());
        } else if failed * 2 > all {
            passed_over.push((failed, &vantage.name));
        }
    }
    passed_over.sort_by_key(|(failed, name)| (std::cmp::Reverse(*failed), *name));
    let failing = passed_over.into_iter().take(FAILING);
    chosen.extend(failing.map(|(_, name)| name.clone()));
    chosen
}

/// Leaves the newest rounds, whole.
fn keep_newest(observations: &mut Vec<Observation>, most: usize) {
    let mut rounds: BTreeMap<(u64, RoundId), usize> = BTreeMap::new();
    for seen in observations.iter() {
        *rounds.entry((seen.scheduled_us, seen.round)).or_default() += 1;
    }
    let mut room = most;
    let kept: BTreeSet<RoundId> = rounds
        .into_iter()
        .rev()
        .map_while(|((_, round), probes)| {
            room = room.checked_sub(probes)?;
            Some(round)
        })
        .collect();
    observations.retain(|seen| kept.contains(&seen.round));
}

#[cfg(test)]
mod tests {
    use localize::Role;

    use super::*;
    use crate::localisation::seen;

    fn vantage(name: &str, role: Role, host: Option<&str>) -> VantagePoint {
        VantagePoint {
            name: VantageName(name.to_owned()),
            role,
            host: host.map(str::to_owned),
            addresses: Vec::new(),
            witness: false,
            resolvers: Vec::new(),
        }
    }

    /// So many vantage points inside, each of which has made so many rounds; the named one fails.
    fn fleet(vantages: usize, rounds: u64, fails: &str) -> Case {
        let mut case = seen::case(0, rounds);
        let (well, ill) = (
            case.observations.clone(),
            seen::case(rounds, rounds).observations,
        );
        let names = (0..vantages).map(|number| format!("v{number}"));
        case.topology.vantages = names
            .clone()
            .map(|name| vantage(&name, Role::Inside, None))
            .collect();
        case.observations = names
            .flat_map(|name| {
                let seen = if name == fails { &ill } else { &well };
                let seen = seen.iter().cloned().map(move |mut seen| {
                    seen.id.vantage = VantageName(name.clone());
                    seen
                });
                seen.collect::<Vec<_>>()
            })
            .collect();
        case
    }

    #[test]
    fn hosts_stand_first_and_roles_take_turns() {
        let mut vantages: Vec<VantagePoint> = (0..40)
            .map(|number| vantage(&format!("o{number}"), Role::Outside, None))
            .collect();
        vantages.push(vantage("dc", Role::Inside, None));
        vantages.push(vantage("web1", Role::Inside, Some("web1")));
        let service = ServiceName("shop".to_owned());
        let order = in_order(&service, &vantages);
        assert_eq!(order.len(), 42);
        assert_eq!(order[0].name.0, "web1");
        assert!(order[..3].iter().any(|vantage| vantage.name.0 == "dc"));
        // Another service draws others, and the same one always the same.
        assert_eq!(in_order(&service, vantages.iter().rev()), order);
        assert_ne!(in_order(&ServiceName("blog".to_owned()), &vantages), order);
    }

    #[test]
    fn what_is_few_is_left_whole() {
        for (vantages, rounds, most, left) in [
            (3, 10, 30, 30),
            // Few vantage points keep what they have made ...
            (30, 10, 100, 300),
            // ... as far as that is not far too much, and then of the newest rounds.
            (30, 100, 100, 1590),
            (100, 10, 500, 500),
        ] {
            let case = thinned(fleet(vantages, rounds, ""), most);
            assert_eq!(case.observations.len(), left, "{vantages} {rounds} {most}");
            let newest = case.observations.iter().map(|seen| seen.round.0).max();
            assert_eq!(newest, Some(rounds));
        }
    }

    #[test]
    fn whoever_fails_is_not_left_out_for_its_name() {
        let case = fleet(200, 10, "");
        let all = thinned(case.clone(), 400);
        let names = |case: &Case| -> BTreeSet<String> {
            let names = case
                .observations
                .iter()
                .map(|seen| seen.vantage().0.clone());
            names.collect()
        };
        let left_out = (0..200)
            .map(|number| format!("v{number}"))
            .find(|name| !names(&all).contains(name))
            .unwrap();
        let with = thinned(fleet(200, 10, &left_out), 400);
        let mut expected = names(&all);
        expected.insert(left_out);
        assert_eq!(names(&with), expected);
        assert_eq!(with.topology.vantages.len(), 41);
    }
}
