//! The pure heart: from observations and sightings to a verdict.
//!
//! Nothing in this crate knows a clock, a socket, a file or a source of randomness, and nothing in
//! it can fail: whatever is odd about the input is evidence. The one entry point is [`localize`];
//! the types that it takes are facts made at the edge, the type that it returns is the judgement.
#![no_std]

extern crate alloc;

mod counted;
mod course;
mod engine;
mod facts;
mod judgement;
mod reading;
mod world;

pub use counted::score;
pub use course::{asked, mended, power, watch};
pub use engine::interval;
pub use facts::{
    baseline, case, declared, dns, host, observation, sighting, time, topology, trace,
};
pub use judgement::{choice, verdict};
pub use reading::thinning;

pub use baseline::{Baseline, Baselines};
pub use case::Case;
pub use choice::{Choice, Promise};
pub use facts::component::{Component, Kind};
pub use facts::host::{Counter, HostReading, ListenQueue, Setting};
pub use observation::{
    Arm, BURST, DnsFacts, Encoding, Facts, Failure, Firing, Hello, HttpFacts, HttpVersion,
    LARGE_READ, Layer, MOST_COPIES, Object, Observation, ObservationId, Outcome, Pace,
    REUSE_WITHIN, Redirect, RoundId, Session, SourcePort, Step, TWINS, Target, TcpFacts, TlsFacts,
    Traits, Twin, Twinned,
};
pub use sighting::{
    Direction, FlowSighting, Packet, PacketHeaders, Seen, TcpOptions, WitnessReport,
};
pub use time::{Micros, Stamp};
pub use topology::{
    Backend, CdnProvider, Expectation, NameServer, Role, Scheme, ServiceName, Topology,
    VantageName, VantagePoint, VipMode,
};
pub use trace::{Heard, Trace};
pub use verdict::{
    Alternative, Assessment, Clock, Detection, Evidence, Exonerated, Fault,
    Outcome as VerdictOutcome, Pattern, Rate, Rival, Verdict,
};

/// The arms of a case about which nothing is known, and why, as its verdict says.
#[must_use]
pub fn not_probed(case: &Case) -> alloc::vec::Vec<verdict::NotProbed> {
    judgement::unprobed::not_probed(case)
}

/// Judges a case.
///
/// The observations should be those of closed rounds: while a round is open its successes are in and
/// its time-outs are not, and the verdict would lean towards health.
#[must_use]
pub fn localize(case: &Case) -> Assessment {
    judgement::inference::assess(case)
}
