//! Who lets a few connections at once through, and none beyond.

use localize::{Arm, Failure, Layer, Pace, Target, VantagePoint};

use super::{End, Fault, World, index};

/// What becomes of a connection that is one too many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Beyond {
    /// Its SYN is dropped; the next one, a second later, gets in more often than not.
    Dropped,
    Refused,
    /// It is taken, and reset.
    Reset,
}

/// Where a connection is one too many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Limit {
    /// Before its SYN comes to the far host.
    Before,
    /// There.
    There(Beyond),
}

impl World {
    /// The limit that an arm's connection is beyond.
    pub(super) fn limit(&self, vantage: &VantagePoint, arm: &Arm) -> Option<Limit> {
        if arm.traits.pace == Pace::Single {
            return None;
        }
        self.faults
            .iter()
            .find_map(|fault| match (fault, &arm.target) {
                (Fault::AccessThrottles(name), _) if vantage.name.0 == *name => Some(Limit::Before),
                (Fault::BalancerThrottles(beyond), Target::Vip { .. }) => {
                    Some(Limit::There(*beyond))
                }
                (Fault::BackendThrottles(i, beyond), Target::Backend { name, .. }) => {
                    (index(name) == *i).then_some(Limit::There(*beyond))
                }
                _ => None,
            })
    }

    /// Whether a SYN is dropped for that, there or before.
    pub(super) fn is_beyond(&mut self, at: &[Limit], first: bool) -> bool {
        let limited = self.limited.is_some_and(|limit| at.contains(&limit));
        limited && self.random.chance(if first { 0.95 } else { 0.3 })
    }
}

impl Limit {
    /// What becomes of a connection that was let in.
    pub(super) fn once_let_in(limit: Option<Self>, arm: &Arm) -> End {
        match (limit, &arm.target) {
            (Some(Self::There(Beyond::Reset)), Target::Vip { .. }) => {
                Err((Layer::Tls, Failure::TlsReset, 400))
            }
            (Some(Self::There(Beyond::Reset)), _) => {
                Err((Layer::Http, Failure::ResetAfterRequest, 400))
            }
            _ => Ok(()),
        }
    }
}
