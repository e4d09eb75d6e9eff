//! The way to a target that did not answer, asked hop by hop.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::facts::observation::RoundId;
use crate::facts::time::{Micros, Stamp};
use crate::facts::topology::{ServiceName, VantageName};

/// SYNs that one trace sends at most.
pub const MOST_SYNS: u32 = 30;

/// What one SYN met that was let go over so many hops, or all the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Heard {
    /// Nothing within the time that was waited. That says nothing by itself: routers may keep silent, and
    /// answer so many packets a second.
    Silence,
    /// A router where the packet had come to the end of its time to live (RFC 792, type 11; RFC 4443, type 3).
    Expired {
        /// Its address, by what it says.
        by: IpAddr,
        /// From the SYN to the answer.
        rtt: Micros,
    },
    /// Somebody who says that the target is not to be reached (RFC 792, type 3; RFC 4443, type 1).
    Unreachable {
        /// Its address, by what it says.
        by: IpAddr,
        /// The code of the message: 1 is the host, 13 a rule (RFC 1812, section 5.2.7.1).
        code: u8,
        /// From the SYN to the answer.
        rtt: Micros,
    },
    /// The target, or who stands for it: a SYN-ACK.
    Accepted {
        /// From the SYN to the answer.
        rtt: Micros,
    },
    /// The same: an RST.
    Refused {
        /// From the SYN to the answer.
        rtt: Micros,
    },
    /// The host itself did not send it: it has no route, or a rule of its own.
    Unsent,
}

impl Heard {
    /// Whether the target answered.
    #[must_use]
    pub fn is_of_target(self) -> bool {
        match self {
            Self::Accepted { .. } | Self::Refused { .. } => true,
            Self::Silence | Self::Expired { .. } | Self::Unreachable { .. } | Self::Unsent => false,
        }
    }

    /// Who answered on the way.
    #[must_use]
    pub fn router(self) -> Option<IpAddr> {
        match self {
            Self::Expired { by, .. } | Self::Unreachable { by, .. } => Some(by),
            Self::Silence | Self::Accepted { .. } | Self::Refused { .. } | Self::Unsent => None,
        }
    }
}

/// The way from a vantage point to a target whose SYNs met silence, as SYNs found it in the same round that were
/// let go over one hop more each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// The vantage point.
    pub vantage: VantageName,
    /// Record number of that agent, on the sequence of its observations; names the trace for ever.
    pub sequence: u64,
    /// The service probed.
    pub service: ServiceName,
    /// The round whose probe met silence.
    pub round: RoundId,
    /// Where the SYNs left from: where the probe had, unless that port was taken meanwhile.
    pub from: SocketAddr,
    /// Where the probe went.
    pub to: SocketAddr,
    /// When the first SYN left, in mesh time.
    pub started: Stamp,
    /// What those met that were let go over one hop, two, and so on. It ends with the last that was answered:
    /// there may be no further hops behind that, and who is silent there says nothing.
    pub hops: Vec<Heard>,
    /// What one met that was let go all the way; where the hops end with an answer for good it was not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<Heard>,
}

impl Trace {
    /// Whether the target answered.
    #[must_use]
    pub fn arrived(&self) -> bool {
        let mut heard = self.hops.iter().chain(&self.whole);
        heard.any(|heard| heard.is_of_target())
    }

    /// The last router that answered, with its place on the way, from 1.
    #[must_use]
    pub fn last_router(&self) -> Option<(usize, IpAddr)> {
        let places = self.hops.iter().zip(1..);
        let routers = places.filter_map(|(heard, place)| Some((place, heard.router()?)));
        routers.last()
    }

    /// Who says that the target is not to be reached, if anybody does.
    #[must_use]
    pub fn unreachable(&self) -> Option<(IpAddr, u8)> {
        let heard = self.hops.iter().chain(&self.whole);
        let mut said = heard.filter_map(|heard| match heard {
            Heard::Unreachable { by, code, .. } => Some((*by, *code)),
            Heard::Silence
            | Heard::Expired { .. }
            | Heard::Accepted { .. }
            | Heard::Refused { .. }
            | Heard::Unsent => None,
        });
        said.next()
    }

    /// Whether the host itself sent nothing.
    #[must_use]
    pub fn unsent(&self) -> bool {
        self.hops.contains(&Heard::Unsent)
    }
}
