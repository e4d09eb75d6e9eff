//! Declarations that never held: targets that no probe of anybody got through to since the service file
//! was applied, while users are served.
//!
//! A typo, a wrong protocol, a machine that is not there yet: who is served does not need them, and no
//! probe tells which it is. They are findings about the file, and no evidence against the path. A target
//! that worked once, or that users miss, is another matter.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::facts::case::Case;
use crate::facts::observation::{Layer, Observation, Outcome, Target};

/// Share of the users' requests that must be answered.
const SERVED: f64 = 0.5;

/// The targets, each with the first layer that nobody ever passed.
pub(crate) fn unborne(case: &Case, observations: &[&Observation]) -> BTreeMap<Target, Layer> {
    let declared = &case.declared;
    if declared.applied_us == 0 || declared.unproven.is_empty() || !users_served(observations) {
        return BTreeMap::new();
    }
    let mut first: BTreeMap<Target, Layer> = BTreeMap::new();
    for unproven in declared
        .unproven
        .iter()
        .filter(|u| is_declared(&u.arm.target))
    {
        let layer = first
            .entry(unproven.arm.target.clone())
            .or_insert(unproven.layer);
        *layer = unproven.layer.max(*layer);
    }
    let unproven: BTreeSet<_> = declared
        .unproven
        .iter()
        .map(|u| (&u.vantage, &u.arm))
        .collect();
    for seen in observations {
        let target = &seen.arm.target;
        let Some(layer) = first.get(target).copied() else {
            continue;
        };
        let passed = seen.took(layer).is_some();
        // An arm that is not unproven has worked.
        if passed || !unproven.contains(&(seen.vantage(), &seen.arm)) {
            first.remove(target);
        }
    }
    first
}

/// Whether it stands in a service file, and is no address that was found.
fn is_declared(target: &Target) -> bool {
    match target {
        Target::Vip { .. } | Target::Backend { .. } | Target::NameServer { .. } => true,
        Target::Resolver { .. } | Target::Edge { .. } => false,
    }
}

/// Whether most requests by public addresses are answered.
fn users_served(observations: &[&Observation]) -> bool {
    let edges = observations
        .iter()
        .filter(|o| matches!(o.arm.target, Target::Edge { .. }));
    let (mut passed, mut of) = (0.0, 0.0);
    for seen in edges {
        of += 1.0;
        passed += f64::from(u8::from(seen.outcome == Outcome::Passed));
    }
    passed > 0.0 && passed >= SERVED * of
}
