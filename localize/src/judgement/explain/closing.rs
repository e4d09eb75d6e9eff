//! How the balancer ends its own connections to a backend. Health checks that end with a reset look bad in a capture,
//! and are a habit of the balancer's: who takes them for the fault loses days.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::kernel::listed;
use super::{Scene, remark};
use crate::judgement::verdict::Evidence;
use crate::world::part::What;

/// Fewer connections tell no habit.
const SOME: usize = 5;

/// How many of the balancer's connections to a backend it ended by a reset, and how that is at the others; nothing
/// where most end otherwise.
pub(super) fn closing(scene: Scene<'_>, what: &What) -> Option<Evidence> {
    let (What::Backend(host)
    | What::Toward { backend: host, .. }
    | What::LbBackendPath { backend: host, .. }
    | What::Return { host, .. }) = what
    else {
        return None;
    };
    let mut counts = scene.own().reset(scene.span);
    let (reset, all) = counts.remove(host)?;
    if all < SOME || reset * 2 < all {
        return None;
    }
    let others = counts
        .iter()
        .map(|(name, (reset, all))| format!("{reset} of {all} at {name}"));
    let others: Vec<String> = others.collect();
    let names: Vec<&str> = others.iter().map(String::as_str).collect();
    let beside = match names.is_empty() {
        true => String::new(),
        false => format!(" ({})", listed(&names)),
    };
    let text = format!(
        "the balancer ends {reset} of its {all} answered connections to {host} by a reset{beside}: so its health checks close, which leaves no port in TIME_WAIT and is no fault"
    );
    Some(Evidence {
        failed: reset as u64,
        of: all as u64,
        implicates: false,
        ..remark(host, format!("closing/{host}"), text)
    })
}
