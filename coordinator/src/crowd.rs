//! Who may be in at once: so many in all, and of one address no more than a share.
//!
//! When there is no room, whoever has been in for longest leaves, of the address that has most in: a crowd
//! from one address is in its own way, and keeps out nobody from another.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// In all.
    pub all: usize,
    /// Of one address; of IPv6 the first 64 bits, which a host chooses the rest of by itself.
    pub each: usize,
    /// Nobody leaves for others before this.
    pub patience: Duration,
}

/// Where somebody comes from, as far as that costs something to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Origin(IpAddr);

impl Origin {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(IpAddr::V4(v4)),
            IpAddr::V6(v6) => {
                let prefix = u128::from(v6) >> 64 << 64;
                Self(IpAddr::V6(Ipv6Addr::from(prefix)))
            }
        }
    }
}

#[derive(Debug)]
struct Guest {
    origin: Origin,
    came: Instant,
    leave: CancellationToken,
}

/// Everybody who is in, in the order of coming.
#[derive(Debug, Default)]
struct Guests {
    came: u64,
    guests: BTreeMap<u64, Guest>,
}

/// The crowd.
#[derive(Debug)]
pub struct Crowd {
    bounds: Bounds,
    guests: Mutex<Guests>,
}

/// A place in a crowd, given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    crowd: Arc<Crowd>,
    number: u64,
    leave: CancellationToken,
}

impl Place {
    /// Cancelled when the place is taken away.
    #[must_use]
    pub fn taken_away(&self) -> &CancellationToken {
        &self.leave
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.guests().guests.remove(&self.number);
    }
}

impl Crowd {
    /// Nobody as yet.
    #[must_use]
    pub fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self {
            bounds,
            guests: Mutex::default(),
        })
    }

    /// A place for somebody; `None` when there is no room and nobody who would have to leave.
    #[must_use]
    pub fn enter(self: &Arc<Self>, address: IpAddr, now: Instant) -> Option<Place> {
        let origin = Origin::of(address);
        let mut guests = self.guests();
        guests.make_room(origin, self.bounds, now)?;
        guests.came += 1;
        let (number, leave) = (guests.came, CancellationToken::new());
        let guest = Guest {
            origin,
            came: now,
            leave: leave.clone(),
        };
        guests.guests.insert(number, guest);
        Some(Place {
            crowd: Arc::clone(self),
            number,
            leave,
        })
    }

    /// What is behind the lock is whole at every step, so a panic elsewhere spoils nothing.
    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guests {
    fn make_room(&mut self, origin: Origin, bounds: Bounds, now: Instant) -> Option<()> {
        let full = self.guests.len() >= bounds.all;
        let origin = match self.of(origin) >= bounds.each {
            true => origin,
            false if full => self.most_crowded()?,
            false => return Some(()),
        };
        let mut theirs = self.guests.iter().filter(|(_, g)| g.origin == origin);
        let (number, oldest) = theirs.next()?;
        if oldest.came + bounds.patience > now {
            return None;
        }
        oldest.leave.cancel();
        let number = *number;
        self.guests.remove(&number);
        Some(())
    }

    fn of(&self, origin: Origin) -> usize {
        self.guests.values().filter(|g| g.origin == origin).count()
    }

    fn most_crowded(&self) -> Option<Origin> {
        let mut counts: BTreeMap<Origin, usize> = BTreeMap::new();
        for guest in self.guests.values() {
            *counts.entry(guest.origin).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        most.map(|(origin, _)| origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        all: 4,
        each: 3,
        patience: Duration::ZERO,
    };

    /// Has guests come one after the other; whether each is in at the end.
    fn stay(bounds: Bounds, addresses: &[&str]) -> Vec<bool> {
        let crowd = Crowd::new(bounds);
        let now = Instant::now();
        let places: Vec<Option<Place>> = addresses
            .iter()
            .map(|address| crowd.enter(address.parse().unwrap(), now))
            .collect();
        places
            .iter()
            .map(|place| place.as_ref().is_some_and(|p| !p.leave.is_cancelled()))
            .collect()
    }

    #[test]
    fn a_crowd_is_in_its_own_way_alone() {
        let (a, b, c) = ("192.0.2.1", "192.0.2.2", "192.0.2.3");
        let rows: [(&[&str], &[bool]); 4] = [
            (&[a, b, a, c], &[true, true, true, true]),
            // More than a share: the oldest of the same address leaves.
            (&[a, b, a, a, a], &[false, true, true, true, true]),
            // Full: the oldest of whoever has most in leaves.
            (&[b, a, a, a, c], &[true, false, true, true, true]),
            // One host with many addresses of one prefix.
            (
                &["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4"],
                &[false, true, true, true],
            ),
        ];
        for (addresses, expected) in rows {
            assert_eq!(stay(BOUNDS, addresses), expected, "{addresses:?}");
        }
    }

    #[test]
    fn nobody_leaves_before_the_patience_is_over() {
        let crowd = Crowd::new(Bounds {
            patience: Duration::from_secs(1),
            ..BOUNDS
        });
        let (now, address) = (Instant::now(), "192.0.2.1".parse().unwrap());
        let places: Vec<_> = (0..3).map(|_| crowd.enter(address, now)).collect();
        assert!(places.iter().all(Option::is_some));
        assert!(
            crowd
                .enter(address, now + Duration::from_millis(999))
                .is_none()
        );
        let place = crowd.enter(address, now + Duration::from_secs(1));
        assert!(place.is_some());
        drop((places, place));
        assert!(crowd.guests().guests.is_empty());
    }
}
