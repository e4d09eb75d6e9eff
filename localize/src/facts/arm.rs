//! Arms: what a probe is aimed at, where it leaves from, and what else sets it apart.
//!
//! All that sets an arm apart from others to the same target stands in one table at the end. A new trait is
//! a row there, the probe that does it, and a row of what strikes such probes alone
//! (`world::mode`): plan, wire, labels and comparison read the table.

use alloc::string::String;
use core::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::facts::time::Micros;

/// What a probe is aimed at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A recursive resolver is asked for the service's addresses.
    Resolver {
        /// Address and port of the resolver.
        server: SocketAddr,
    },
    /// An authoritative name server is asked directly, without recursion.
    NameServer {
        /// Its name, or its address in text where only that is known.
        name: String,
        /// Address and port of the name server.
        server: SocketAddr,
    },
    /// A CDN edge, pinned, with the service's SNI and Host.
    Edge {
        /// Address and port of the edge.
        address: SocketAddr,
    },
    /// The balancer's virtual address, with the service's SNI and Host.
    Vip {
        /// Address and port of the balancer's listener.
        address: SocketAddr,
    },
    /// One backend, past the balancer, with the service's Host.
    Backend {
        /// The backend's name in the service file.
        name: String,
        /// Address and port of the backend.
        address: SocketAddr,
    },
}

/// One variant of the differential test.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Arm {
    /// What the probe is aimed at.
    pub target: Target,
    /// The address that the probe leaves from; `None` lets the kernel choose.
    pub source: Option<IpAddr>,
    /// What else sets it apart.
    #[serde(flatten)]
    pub traits: Traits,
}

/// For so long Linux remembers a connection that it was the first to close: `TCP_TIMEWAIT_LEN` in
/// include/net/tcp.h.
pub const REUSE_WITHIN: Micros = Micros(60_000_000);

/// As many bytes of a large answer are read: more than a connection may have under way unacknowledged
/// when it is young, and than a proxy keeps in its buffers.
pub const LARGE_READ: u64 = 128 << 10;

/// Connections that a probe opens at the same instant whose arm asks for a burst: more than what limits a client
/// lets one through at once who needs one, and hardly more than the six that a browser opens to a host which speaks HTTP/1.1.
pub const BURST: u32 = 8;

/// Probes of one arm that a round asks for at most: more would share the same burst of trouble, or make one.
/// Whatever more one vantage point says of an arm in a round has no weight.
pub const MOST_COPIES: u32 = 4;

/// One way of being other than plain: an arm with it is the twin of the one without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Twin {
    /// The traits of an arm that is plain but for this.
    pub traits: Traits,
    /// Its number on the wire, never used for another.
    pub code: u32,
    /// What the arm's name has behind its target.
    pub words: &'static str,
    /// Which plain arms have such a twin.
    pub of: Twinned,
}

/// The plain arms that a twin is made of; all of them end in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twinned {
    /// Those of edges, VIPs and backends, from each source address.
    Requests,
    /// Those of edges, VIPs and backends, one for each target whatever its sources.
    Servers,
    /// Those of VIPs and backends, likewise.
    Origins,
    /// Those of edges and VIPs, behind which somebody chooses who serves.
    Balanced,
}

impl Twinned {
    /// Whether an arm to a target that answers requests has such a twin.
    #[must_use]
    pub fn holds(self, target: &Target) -> bool {
        match (self, target) {
            (_, Target::Resolver { .. } | Target::NameServer { .. })
            | (Self::Origins, Target::Edge { .. })
            | (Self::Balanced, Target::Backend { .. }) => false,
            (Self::Requests | Self::Servers | Self::Balanced, Target::Edge { .. })
            | (Self::Requests | Self::Servers | Self::Origins, Target::Backend { .. })
            | (_, Target::Vip { .. }) => true,
        }
    }

    /// Whether one source address stands for all of a vantage point's.
    #[must_use]
    pub fn from_one_source(self) -> bool {
        match self {
            Self::Requests => false,
            Self::Servers | Self::Origins | Self::Balanced => true,
        }
    }
}

impl Target {
    /// The arm's name as users read it: `backend/web2`, `vip/203.0.113.10:443`.
    #[must_use]
    pub fn label(&self) -> String {
        use alloc::format;
        match self {
            Self::Resolver { server } => format!("resolver/{}", server.ip()),
            Self::NameServer { name, .. } => format!("nameserver/{name}"),
            Self::Edge { address } => format!("edge/{}", address.ip()),
            Self::Vip { address } => format!("vip/{address}"),
            Self::Backend { name, .. } => format!("backend/{name}"),
        }
    }

    /// Where its connections go; `None` of what is asked by DNS.
    #[must_use]
    pub const fn connects_to(&self) -> Option<SocketAddr> {
        match self {
            Self::Edge { address } | Self::Vip { address } | Self::Backend { address, .. } => {
                Some(*address)
            }
            Self::Resolver { .. } | Self::NameServer { .. } => None,
        }
    }
}

impl Arm {
    /// To a target, from wherever the kernel chooses, as users ask.
    #[must_use]
    pub const fn to(target: Target) -> Self {
        Self {
            target,
            source: None,
            traits: Traits::PLAIN,
        }
    }

    /// The arm's name as users read it, with what sets it apart from others to the same target.
    #[must_use]
    pub fn label(&self) -> String {
        let target = self.target.label();
        let source = self.source.map(|source| alloc::format!(" from {source}"));
        let apart: String = self.traits.twins().map(|twin| twin.words).collect();
        target + &source.unwrap_or_default() + &apart
    }

    /// The arm that this one is a twin of: the same target and source, and nothing else that sets it apart.
    #[must_use]
    pub fn plain(&self) -> Self {
        self.twin(Traits::PLAIN)
    }

    /// The arm to the same target and from the same source with these traits.
    #[must_use]
    pub fn twin(&self, traits: impl Into<Traits>) -> Self {
        Self {
            traits: traits.into(),
            ..self.clone()
        }
    }
}

impl Traits {
    /// Whether an agent may have to leave something of them out: a port that is not free again, a cookie that
    /// it was not given yet.
    #[must_use]
    pub fn need_an_earlier_probe(self) -> bool {
        self.port == SourcePort::Reused || self.session == Session::Kept
    }

    /// Connections that a probe with them opens at the instant at which it is fired.
    #[must_use]
    pub fn connections(self) -> u32 {
        match self.pace {
            Pace::Single => 1,
            Pace::Burst => BURST,
        }
    }

    /// What of them is not plain, in the order of the table.
    pub fn twins(self) -> impl Iterator<Item = &'static Twin> {
        let within = move |twin: &&Twin| self.and(twin.traits) == self;
        TWINS.iter().filter(within)
    }

    /// Those that a number of the wire stands for.
    #[must_use]
    pub fn of_code(code: u32) -> Option<Self> {
        let twin = TWINS.iter().find(|twin| twin.code == code);
        twin.map(|twin| twin.traits)
    }
}

/// Left out of JSON, where it is what is meant without a word.
fn is_plain<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

macro_rules! traits {
    ($(
        $(#[$about:meta])*
        $field:ident: $name:ident {
            $(#[$plain_about:meta])*
            $plain:ident,
            $(
                $(#[$twin_about:meta])*
                $twin:ident => $code:literal, $words:literal, $of:expr,
            )+
        }
    )+) => {
        $(
            $(#[$about])*
            #[derive(
                Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
            )]
            #[serde(rename_all = "snake_case")]
            pub enum $name {
                $(#[$plain_about])*
                #[default]
                $plain,
                $(
                    $(#[$twin_about])*
                    $twin,
                )+
            }

            impl $name {
                /// Whether it sets nothing apart.
                #[must_use]
                pub fn is_plain(self) -> bool {
                    self == Self::$plain
                }
            }

            impl From<$name> for Traits {
                fn from($field: $name) -> Self {
                    Self { $field, ..Self::PLAIN }
                }
            }
        )+

        /// What sets an arm apart from others to the same target and from the same source.
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub struct Traits {
            $(
                $(#[$about])*
                #[serde(default, skip_serializing_if = "is_plain")]
                pub $field: $name,
            )+
        }

        impl Traits {
            /// As users ask.
            pub const PLAIN: Self = Self { $($field: $name::$plain,)+ };

            /// These, and what of others is not plain.
            #[must_use]
            pub fn and(self, others: Self) -> Self {
                Self {
                    $($field: match others.$field.is_plain() {
                        true => self.$field,
                        false => others.$field,
                    },)+
                }
            }
        }

        /// Every way of being other than plain, in the order in which rounds have them.
        pub const TWINS: &[Twin] = &[$($(
            Twin {
                traits: Traits { $field: $name::$twin, ..Traits::PLAIN },
                code: $code,
                words: $words,
                of: $of,
            },
        )+)+];
    };
}

traits! {
    /// The port that a connection leaves from.
    port: SourcePort {
        /// One that the kernel chooses.
        Fresh,
        /// That of the arm's last connection, which the far end had closed less than [`REUSE_WITHIN`]
        /// before. To the far end it is a connection that it has seen the end of, and may still remember;
        /// an end that remembers is the same for all sources.
        Reused => 1, " on a reused port", Twinned::Origins,
    }

    /// What the service is asked for.
    object: Object {
        /// What its operator says that users ask for.
        Usual,
        /// Something larger, of which [`LARGE_READ`] bytes are read at most.
        Large => 2, ", large answer", Twinned::Requests,
    }

    /// The encodings of a body that the client accepts (RFC 9110, section 12.5.3). Caches keep an answer for
    /// each, and may have missed one of them.
    encoding: Encoding {
        /// None, as programs ask that say nothing of it.
        Identity,
        /// gzip (RFC 1952), as browsers accept it: of what they accept the one that every cache keeps apart,
        /// and whose unpacking needs no more than 32 KiB whatever the server sends.
        Gzip => 3, ", accepting gzip", Twinned::Servers,
    }

    /// Whose request it is, to a site that knows its users again by a cookie.
    session: Session {
        /// Somebody's who has never been there.
        New,
        /// Somebody's who was there before: it holds the cookies that the arm was given.
        Kept => 4, ", keeping its cookie", Twinned::Balanced,
    }

    /// How much a client says in its first message of TLS (RFC 8446, section 4.1.2).
    hello: Hello {
        /// As much as fits into one packet.
        Usual,
        /// More than that, as browsers say that offer a post-quantum key share (X25519MLKEM768).
        Large => 5, ", large hello", Twinned::Servers,
    }

    /// How many connections are opened at the same instant. What limits how many a client may have, or how
    /// fast it may open them, lets the first ones through and none beyond.
    pace: Pace {
        /// One.
        Single,
        /// [`BURST`]: companions, which carry nothing, and the one opened last, which is what is reported.
        Burst => 6, ", 8 connections at once", Twinned::Origins,
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_twin_has_a_number_and_words_of_its_own() {
        let codes: BTreeSet<u32> = TWINS.iter().map(|twin| twin.code).collect();
        let words: BTreeSet<&str> = TWINS.iter().map(|twin| twin.words).collect();
        assert_eq!((codes.len(), words.len()), (TWINS.len(), TWINS.len()));
        for twin in TWINS {
            assert_ne!(twin.traits, Traits::PLAIN);
            assert_eq!(Traits::of_code(twin.code), Some(twin.traits));
            assert!(twin.traits.twins().eq([twin]));
        }
        assert_eq!(Traits::of_code(0), None);
    }

    #[test]
    fn a_twin_is_told_by_its_label_and_leads_back() {
        let address = "203.0.113.10:443".parse().expect("an address");
        let plain = Arm {
            source: Some([10, 0, 0, 7].into()),
            ..Arm::to(Target::Vip { address })
        };
        let both = plain.twin(Traits::from(SourcePort::Reused).and(Object::Large.into()));
        let label = "vip/203.0.113.10:443 from 10.0.0.7 on a reused port, large answer";
        assert_eq!(both.label(), label);
        assert_eq!(both.plain(), plain);
        assert_eq!(plain.label(), "vip/203.0.113.10:443 from 10.0.0.7");
    }

    /// The words say how many, and a literal cannot be told by a constant.
    #[test]
    fn a_burst_is_of_as_many_connections_as_its_words_say() {
        let [burst] = Traits::from(Pace::Burst)
            .twins()
            .collect::<alloc::vec::Vec<_>>()[..]
        else {
            panic!("one trait");
        };
        assert_eq!(burst.words, alloc::format!(", {BURST} connections at once"));
        assert_eq!(burst.traits.connections(), BURST);
        assert_eq!(Traits::PLAIN.connections(), 1);
    }

    #[test]
    fn what_is_plain_is_left_out_of_json() {
        let address = "203.0.113.10:443".parse().expect("an address");
        let arm = Arm::to(Target::Vip { address });
        let plain = r#"{"target":{"vip":{"address":"203.0.113.10:443"}},"source":null}"#;
        let large =
            r#"{"target":{"vip":{"address":"203.0.113.10:443"}},"source":null,"object":"large"}"#;
        for (arm, text) in [(arm.clone(), plain), (arm.twin(Object::Large), large)] {
            assert_eq!(serde_json::to_string(&arm).expect("writes"), text);
            assert_eq!(serde_json::from_str::<Arm>(text).expect("reads"), arm);
        }
    }
}
