//! How much probing this host bears, and how much it does to others.
//!
//! What keeps the bounds are token buckets that hold one second's worth: one for the whole, and one for
//! each address that was probed of late. A burst is as many probes as it opens connections. What a probe takes is known beforehand but for its bytes and a
//! second connection, which some servers make it open: these are taken afterwards, and a bucket may then
//! owe, which the next probes of that address wait for.

use std::collections::BTreeMap;
use std::net::IpAddr;

use localize::trace::MOST_SYNS;
use thiserror::Error;

use crate::trace::walk::MOST_AT_TARGET;

/// How much probing this host bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Probes started in one second.
    pub max_probes_per_second: u32,
    /// Probes under way at once.
    pub max_concurrent: u32,
    /// For any one public address.
    pub public: Each,
    /// For any one other address, which is that of a machine of the host's owner or of nobody.
    pub private: Each,
}

/// What any one address is asked at most; `None` is without a bound of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Each {
    /// Probes started in one second.
    pub max_probes_per_second: Option<u32>,
    /// Bytes that go to it and come from it in one second.
    pub max_bytes_per_second: Option<u32>,
}

impl Default for Limits {
    /// What a small virtual machine sends without noticing: 200 a second, 256 at once. And what no owner
    /// of a public address would call a burden: five a second, as a page with its pictures, and
    /// 1 MB/s, since a stranger's address may be given by whoever has stolen a coordinator.
    fn default() -> Self {
        Self {
            max_probes_per_second: 200,
            max_concurrent: 256,
            public: Each {
                max_probes_per_second: Some(5),
                max_bytes_per_second: Some(1_000_000),
            },
            private: Each::default(),
        }
    }
}

/// Whose address it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Anybody's, in public space.
    Public,
    /// One of private, special or loopback space, that the host's policy has opened.
    Private,
}

impl Whose {
    const fn section(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
        }
    }
}

/// A limit that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Exceeded {
    /// That of all probes.
    #[error("the limit of {0} probes a second is reached")]
    Whole(u32),
    /// That of probes of one address.
    #[error(
        "the limit of {limit} probes a second of {address} is reached (limits.{} in policy.toml sets it)",
        .whose.section()
    )]
    Probes {
        /// The address.
        address: IpAddr,
        /// Its limit.
        limit: u32,
        /// Which section of the file has it.
        whose: Whose,
    },
    /// That of probes of one address is lower than what is to be sent there at once.
    #[error(
        "{connections} connections at once are more than the limit of {limit} probes a second of {address} (limits.{} in policy.toml sets it)",
        .whose.section()
    )]
    Burst {
        /// Connections that would be opened.
        connections: u32,
        /// The address.
        address: IpAddr,
        /// Its limit.
        limit: u32,
        /// Which section of the file has it.
        whose: Whose,
    },
    /// That of bytes of one address.
    #[error(
        "the limit of {limit} bytes a second of {address} is reached (limits.{} in policy.toml sets it)",
        .whose.section()
    )]
    Bytes {
        /// The address.
        address: IpAddr,
        /// Its limit.
        limit: u32,
        /// Which section of the file has it.
        whose: Whose,
    },
    /// There are so many addresses with a limit of their own that no more can be counted.
    #[error("{MOST_ADDRESSES} addresses were probed of late, and no more are kept account of")]
    Addresses,
}

/// What a probe took besides its first connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Connections made after the first one.
    pub connections: u32,
    /// Bytes that went and came.
    pub bytes: u64,
}

/// Addresses that are kept account of: a bucket is full again a second after the last probe, and is
/// forgotten then, so that at the default rate there are two hundred, and more only where bytes are owed.
const MOST_ADDRESSES: usize = 4096;

/// Probes that a trace counts for of its address. A connection whose SYNs go unanswered sends seven of them by the
/// kernel's default (`tcp_syn_retries`), and a trace brings no more than ten that far.
const AT_TARGET: u32 = MOST_AT_TARGET.div_ceil(7);

/// Keeps the limits. Times are microseconds of any clock; a step backwards adds nothing.
#[derive(Clone, Debug)]
pub struct Meter {
    limits: Limits,
    whole: Bucket,
    each: BTreeMap<IpAddr, Account>,
}

#[derive(Clone, Debug)]
struct Account {
    probes: Option<Bucket>,
    bytes: Option<Bucket>,
}

impl Meter {
    /// All buckets full.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            whole: Bucket::new(limits.max_probes_per_second),
            each: BTreeMap::new(),
        }
    }

    /// Takes one probe of an address, or nothing at all.
    ///
    /// # Errors
    /// The limit that is reached.
    pub fn admit(&mut self, address: IpAddr, whose: Whose, now_us: u64) -> Result<(), Exceeded> {
        self.admit_connections(1, address, whose, now_us)
    }

    /// Takes a probe of an address that opens so many connections at once, or nothing at all. It counts as so many
    /// probes.
    ///
    /// # Errors
    /// The limit that is reached, or that the burst is beyond as it is.
    pub fn admit_connections(
        &mut self,
        connections: u32,
        address: IpAddr,
        whose: Whose,
        now_us: u64,
    ) -> Result<(), Exceeded> {
        let tokens = u64::from(connections);
        self.whole.fill(now_us);
        if !self.whole.has(tokens) {
            return Err(Exceeded::Whole(self.limits.max_probes_per_second));
        }
        let Some(account) = self.account(address, whose, now_us)? else {
            self.whole.take(tokens);
            return Ok(());
        };
        if let Some(probes) = account.probes.as_ref().filter(|probes| !probes.has(tokens)) {
            let limit = probes.per_second;
            return Err(match limit < connections {
                true => Exceeded::Burst {
                    connections,
                    address,
                    limit,
                    whose,
                },
                false => Exceeded::Probes {
                    address,
                    limit,
                    whose,
                },
            });
        }
        // What an answer will take is not known: whoever owes nothing may ask.
        if let Some(bytes) = account.bytes.as_ref().filter(|bytes| !bytes.has(1)) {
            let limit = bytes.per_second;
            return Err(Exceeded::Bytes {
                address,
                limit,
                whose,
            });
        }
        if let Some(probes) = &mut account.probes {
            probes.take(tokens);
        }
        self.whole.take(tokens);
        Ok(())
    }

    /// Takes a trace towards an address, or nothing at all: all its SYNs of the whole, and of the address as many
    /// probes as come as far as that, in numbers of one whose SYNs go unanswered.
    ///
    /// # Errors
    /// The limit that is reached.
    pub fn admit_trace(
        &mut self,
        address: IpAddr,
        whose: Whose,
        now_us: u64,
    ) -> Result<(), Exceeded> {
        let whole = self.limits.max_probes_per_second;
        // Of a second's worth at most: who lets little through still lets a trace through now and then.
        let syns = MOST_SYNS.min(whole);
        self.whole.fill(now_us);
        if !self.whole.has(syns.into()) {
            return Err(Exceeded::Whole(whole));
        }
        if let Some(account) = self.account(address, whose, now_us)?
            && let Some(probes) = &mut account.probes
        {
            let limit = probes.per_second;
            let share = AT_TARGET.min(limit);
            if !probes.has(share.into()) {
                return Err(Exceeded::Probes {
                    address,
                    limit,
                    whose,
                });
            }
            probes.take(share.into());
        }
        self.whole.take(syns.into());
        Ok(())
    }

    /// Takes what a probe has spent, as far down into debt as that leads.
    pub fn spent(&mut self, address: IpAddr, whose: Whose, spent: Spent, now_us: u64) {
        let connections = u64::from(spent.connections);
        self.whole.fill(now_us);
        self.whole.take(connections);
        // The account is there unless it has filled up again meanwhile, when there is room for it.
        if let Ok(Some(account)) = self.account(address, whose, now_us) {
            if let Some(probes) = &mut account.probes {
                probes.take(connections);
            }
            if let Some(bytes) = &mut account.bytes {
                bytes.take(spent.bytes);
            }
        }
    }

    /// The account of an address, filled; none where it has no limit.
    fn account(
        &mut self,
        address: IpAddr,
        whose: Whose,
        now_us: u64,
    ) -> Result<Option<&mut Account>, Exceeded> {
        let each = match whose {
            Whose::Public => self.limits.public,
            Whose::Private => self.limits.private,
        };
        if each == Each::default() {
            return Ok(None);
        }
        if self.each.len() >= MOST_ADDRESSES && !self.each.contains_key(&address) {
            self.each.retain(|_, account| {
                account.fill(now_us);
                !account.is_full()
            });
            if self.each.len() >= MOST_ADDRESSES {
                return Err(Exceeded::Addresses);
            }
        }
        let account = self.each.entry(address).or_insert_with(|| Account {
            probes: each.max_probes_per_second.map(Bucket::new),
            bytes: each.max_bytes_per_second.map(Bucket::new),
        });
        account.fill(now_us);
        Ok(Some(account))
    }
}

impl Account {
    fn fill(&mut self, now_us: u64) {
        for bucket in [&mut self.probes, &mut self.bytes].into_iter().flatten() {
            bucket.fill(now_us);
        }
    }

    fn is_full(&self) -> bool {
        let mut buckets = [&self.probes, &self.bytes].into_iter().flatten();
        buckets.all(Bucket::is_full)
    }
}

/// A token bucket whose burst is one second's worth, and which may owe.
#[derive(Clone, Debug)]
struct Bucket {
    per_second: u32,
    /// In millionths of a token, so that a microsecond adds a whole number of them.
    level: i128,
    at_us: u64,
}

/// One token in the unit of [`Bucket::level`].
const TOKEN: i128 = 1_000_000;

impl Bucket {
    fn new(per_second: u32) -> Self {
        Self {
            per_second,
            level: i128::from(per_second) * TOKEN,
            at_us: 0,
        }
    }

    fn fill(&mut self, now_us: u64) {
        let passed = now_us.saturating_sub(self.at_us);
        self.at_us = now_us;
        let gained = i128::from(passed) * i128::from(self.per_second);
        let full = i128::from(self.per_second) * TOKEN;
        self.level = self.level.saturating_add(gained).min(full);
    }

    fn has(&self, tokens: u64) -> bool {
        self.level >= i128::from(tokens) * TOKEN
    }

    fn is_full(&self) -> bool {
        self.has(self.per_second.into())
    }

    fn take(&mut self, tokens: u64) {
        self.level = self.level.saturating_sub(i128::from(tokens) * TOKEN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_700_000_000_000_000;

    fn address(n: u8) -> IpAddr {
        [8, 8, 8, n].into()
    }

    fn limits(whole: u32, public: Each) -> Limits {
        Limits {
            max_probes_per_second: whole,
            public,
            ..Limits::default()
        }
    }

    #[test]
    fn the_meter_gives_one_second_at_once_and_then_the_rate() {
        let mut meter = Meter::new(limits(10, Each::default()));
        let mut admitted = |now| {
            let admits = |_: &i32| meter.admit(address(1), Whose::Public, now).is_ok();
            (0..100).filter(admits).count()
        };
        let rows = [
            (START, 10),
            (START + 99_999, 0),
            (START + 100_000, 1),
            (START + 350_000, 2),
            (START + 400_000, 1),
            (START, 0),
            (START + 100_000, 1),
            (START + 60_000_000, 10),
        ];
        for (now, expected) in rows {
            assert_eq!(admitted(now), expected, "at {}", now - START);
        }
    }

    /// A minute of as many probes as can be asked for, a thousand a second.
    #[test]
    fn no_public_address_gets_more_than_its_share() {
        let mut meter = Meter::new(Limits::default());
        let (mut one, mut all) = (0, 0);
        for millis in 0..60_000_u64 {
            let now_us = START + millis * 1_000;
            one += u32::from(meter.admit(address(1), Whose::Public, now_us).is_ok());
            let other = [9, 9, (millis / 250 % 250) as u8, (millis % 250) as u8];
            all += u32::from(meter.admit(other.into(), Whose::Public, now_us).is_ok());
        }
        // The rate, and one second at once.
        assert_eq!(one, 5 * 60 + 4);
        assert!((200 * 59..=200 * 61).contains(&(one + all)), "{all}");
    }

    /// Eight connections are eight probes, of the whole and of the address; where the limit is lower, never one.
    #[test]
    fn a_burst_is_as_many_probes_as_connections() {
        let each = |most| Each {
            max_probes_per_second: Some(most),
            max_bytes_per_second: None,
        };
        let burst =
            |meter: &mut Meter, n| meter.admit_connections(8, address(n), Whose::Public, START);
        let mut meter = Meter::new(limits(100, each(10)));
        assert_eq!(burst(&mut meter, 1), Ok(()));
        let reached = Exceeded::Probes {
            address: address(1),
            limit: 10,
            whose: Whose::Public,
        };
        assert_eq!(burst(&mut meter, 1), Err(reached));
        let admits = |_: &i32| meter.admit(address(1), Whose::Public, START).is_ok();
        assert_eq!((0..8).filter(admits).count(), 2);
        let mut meter = Meter::new(limits(10, Each::default()));
        assert_eq!(burst(&mut meter, 1), Ok(()));
        assert_eq!(burst(&mut meter, 2), Err(Exceeded::Whole(10)));
        let mut meter = Meter::new(Limits::default());
        let beyond = burst(&mut meter, 1).unwrap_err();
        assert_eq!(
            beyond.to_string(),
            "8 connections at once are more than the limit of 5 probes a second of 8.8.8.1 (limits.public in policy.toml sets it)"
        );
        assert_eq!(meter.admit(address(1), Whose::Public, START), Ok(()));
    }

    #[test]
    fn other_addresses_have_a_bound_where_the_owner_sets_one() {
        let asked = |limits| {
            let mut meter = Meter::new(limits);
            let admits = |_: &i32| meter.admit(address(1), Whose::Private, START).is_ok();
            (0..300).filter(admits).count()
        };
        assert_eq!(asked(Limits::default()), 200);
        let private = Each {
            max_probes_per_second: Some(7),
            max_bytes_per_second: None,
        };
        assert_eq!(
            asked(Limits {
                private,
                ..Limits::default()
            }),
            7
        );
    }

    #[test]
    fn what_was_read_is_paid_back_before_the_next_probe() {
        let mut meter = Meter::new(Limits::default());
        let admit =
            |meter: &mut Meter, now_us| meter.admit(address(1), Whose::Public, now_us).err();
        assert_eq!(admit(&mut meter, START), None);
        let spent = Spent {
            connections: 0,
            bytes: 4_000_000,
        };
        meter.spent(address(1), Whose::Public, spent, START);
        let owes = Exceeded::Bytes {
            address: address(1),
            limit: 1_000_000,
            whose: Whose::Public,
        };
        assert_eq!(admit(&mut meter, START + 2_999_999), Some(owes));
        assert_eq!(admit(&mut meter, START + 3_000_001), None);
        assert_eq!(
            meter.admit(address(2), Whose::Public, START + 1_000_000),
            Ok(())
        );
    }

    #[test]
    fn a_second_connection_is_a_probe_as_well() {
        let mut meter = Meter::new(Limits::default());
        let spent = Spent {
            connections: 1,
            bytes: 0,
        };
        let mut admitted = 0;
        for _ in 0..10 {
            if meter.admit(address(1), Whose::Public, START).is_ok() {
                admitted += 1;
                meter.spent(address(1), Whose::Public, spent, START);
            }
        }
        assert_eq!(admitted, 3, "of five connections");
    }

    /// A trace is two probes of its address, and takes nothing where it is refused.
    #[test]
    fn a_trace_counts_by_what_it_sends() {
        let mut meter = Meter::new(Limits::default());
        let traced =
            |meter: &mut Meter, n| meter.admit_trace(address(n), Whose::Public, START).is_ok();
        assert_eq!(
            [1, 1, 1].map(|n| traced(&mut meter, n)),
            [true, true, false]
        );
        let probed = |meter: &mut Meter, n| meter.admit(address(n), Whose::Public, START).is_ok();
        assert_eq!([1, 1].map(|n| probed(&mut meter, n)), [true, false]);
        // Two hundred a second in all.
        assert_eq!((2..10).filter(|n| traced(&mut meter, *n)).count(), 4);
        assert_eq!((20..70).filter(|n| probed(&mut meter, *n)).count(), 19);
        let mut little = Meter::new(limits(3, Each::default()));
        assert!(traced(&mut little, 1));
        assert!(!probed(&mut little, 1));
    }

    /// Nobody fills the memory with addresses, and a refused probe takes nothing of the whole.
    #[test]
    fn addresses_are_counted_up_to_a_bound() {
        let mut meter = Meter::new(limits(1_000_000, Limits::default().public));
        let other = |n: usize| IpAddr::from(u32::try_from(n).unwrap().to_be_bytes());
        for n in 0..MOST_ADDRESSES {
            assert_eq!(meter.admit(other(n), Whose::Public, START), Ok(()));
        }
        let next = other(MOST_ADDRESSES);
        let refused = meter.admit(next, Whose::Public, START);
        assert_eq!(refused, Err(Exceeded::Addresses));
        let later = START + 1_000_000;
        assert_eq!(meter.admit(next, Whose::Public, later), Ok(()));
        assert_eq!(meter.each.len(), 1);
    }

    #[test]
    fn what_is_reached_is_said_with_the_line_that_sets_it() {
        let mut meter = Meter::new(Limits::default());
        let mut last = Ok(());
        for _ in 0..6 {
            last = meter.admit(address(1), Whose::Public, START);
        }
        assert_eq!(
            last.unwrap_err().to_string(),
            "the limit of 5 probes a second of 8.8.8.1 is reached (limits.public in policy.toml sets it)"
        );
    }
}
