//! Failures that may have been reported one layer late.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::counted::score::{CountedCase, Row};

/// Fewer failures than these, late and before that, are not worth the asking, and neither is a smaller
/// share of them.
const FEW_LATE: f64 = 3.0;
const FEW: f64 = 40.0;
const LEAST_LATE: f64 = 0.01;
/// Where windows are few, links that hold a smaller share of all failures are chance.
const LEAST_LINKED: f64 = 0.05;

/// Windows from which counts are not alike by chance.
const TELLING_WINDOWS: usize = 8;

/// A row whose probes are those that passed another row, with failures of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(super) from: u32,
    pub(super) to: u32,
}

/// The next layers of rows with failures, where some probes failed: the same vantage point, in each
/// window just the probes that the row let pass. Few windows agree by chance: then they must have some
/// component in common. Sorted by the row before.
pub(crate) fn links(case: &CountedCase) -> Vec<Link> {
    let passed = |row: &Row| -> Vec<u32> {
        let pairs = row.probes.iter().zip(&row.failed);
        pairs
            .map(|(probes, failed)| probes.saturating_sub(*failed))
            .collect()
    };
    type Ends = (Vec<u32>, Vec<u32>);
    let mut joints: BTreeMap<(u32, Vec<u32>), Ends> = BTreeMap::new();
    for (index, row) in (0..).zip(&case.rows) {
        if row.failed.iter().any(|failed| *failed > 0) {
            let joint = joints.entry((row.vantage, passed(row))).or_default();
            joint.0.push(index);
        }
    }
    if joints.is_empty() {
        return Vec::new();
    }
    let failed = |row: &&Row| row.failed.iter().any(|failed| *failed > 0);
    for (index, row) in (0..).zip(&case.rows).filter(|(_, row)| failed(row)) {
        if let Some(joint) = joints.get_mut(&(row.vantage, row.probes.clone())) {
            joint.1.push(index);
        }
    }
    let crosses = |index: &u32| &case.rows[*index as usize].crosses;
    let telling = case.windows >= TELLING_WINDOWS;
    let mut links = Vec::new();
    for (before, after) in joints.values_mut() {
        // Where several rows fit several others, like is joined to like.
        before.sort_by(|a, b| crosses(a).cmp(crosses(b)));
        after.sort_by(|a, b| crosses(a).cmp(crosses(b)));
        let pairs = after.iter().zip(before.iter().cycle());
        links.extend(
            pairs
                .filter(|(to, from)| to != from)
                .filter(|(to, from)| telling || meet(crosses(to), crosses(from)))
                .map(|(to, from)| Link {
                    from: *from,
                    to: *to,
                }),
        );
    }
    links.sort_by_key(|link| (link.from, link.to));
    links
}

/// Whether two rows cross a component in common.
fn meet(a: &[Vec<u32>], b: &[Vec<u32>]) -> bool {
    let mut a = a.iter().flatten();
    a.any(|one| b.iter().any(|path| path.contains(one)))
}

/// Whether enough failures may have been reported late, of enough, for that to mislead.
pub(crate) fn worth_asking(case: &CountedCase, links: &[Link]) -> bool {
    let failed = |row: &Row| -> f64 {
        let failed = row.failed.iter();
        failed.map(|count| f64::from(*count)).sum()
    };
    let of = |row: u32| failed(&case.rows[row as usize]);
    let late: f64 = links.iter().map(|link| of(link.to)).sum();
    let before: f64 = links.iter().map(|link| of(link.from)).sum();
    let all: f64 = case.rows.iter().map(failed).sum();
    let telling = case.windows >= TELLING_WINDOWS || before >= all * LEAST_LINKED;
    telling && late >= FEW_LATE && before >= FEW && late >= before * LEAST_LATE
}
