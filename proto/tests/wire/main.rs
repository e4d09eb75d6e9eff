//! The edge between wire and heart: what crosses it comes back the same, and what is malformed is
//! refused by name, never by a panic.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

mod arbitrary;
mod malformed;
mod spec;

use localize::{Observation, Trace, Verdict, WitnessReport};
use proptest::prelude::*;
use prost::Message as _;
use proto::v1;

/// There and back through bytes.
fn crossed<W, H>(fact: &H) -> H
where
    W: for<'a> From<&'a H> + prost::Message + Default,
    H: TryFrom<W>,
    H::Error: std::fmt::Debug,
{
    let bytes = W::from(fact).encode_to_vec();
    W::decode(bytes.as_slice()).unwrap().try_into().unwrap()
}

/// Decodes and converts as every kind of fact; the answers do not matter.
fn survives(bytes: &[u8]) {
    let _ = v1::Observation::decode(bytes).map(Observation::try_from);
    let _ = v1::WitnessReport::decode(bytes).map(WitnessReport::try_from);
    let _ = v1::Trace::decode(bytes).map(Trace::try_from);
    let _ = v1::Verdict::decode(bytes).map(Verdict::try_from);
}

proptest! {
    #[test]
    fn observations_come_back(observation in arbitrary::observation()) {
        prop_assert_eq!(&crossed::<v1::Observation, _>(&observation), &observation);
    }

    #[test]
    fn reports_come_back(report in arbitrary::report()) {
        prop_assert_eq!(&crossed::<v1::WitnessReport, _>(&report), &report);
    }

    #[test]
    fn traces_come_back(trace in arbitrary::trace()) {
        prop_assert_eq!(&crossed::<v1::Trace, _>(&trace), &trace);
    }

    #[test]
    fn verdicts_come_back(verdict in arbitrary::verdict()) {
        prop_assert_eq!(&crossed::<v1::Verdict, _>(&verdict), &verdict);
    }

    #[test]
    fn noise_is_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        survives(&bytes);
    }

    /// Noise seldom decodes; a good message with a few bytes changed often does.
    #[test]
    fn damage_is_no_panic(
        observation in arbitrary::observation(),
        report in arbitrary::report(),
        trace in arbitrary::trace(),
        verdict in arbitrary::verdict(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        for mut bytes in [
            v1::Observation::from(&observation).encode_to_vec(),
            v1::WitnessReport::from(&report).encode_to_vec(),
            v1::Trace::from(&trace).encode_to_vec(),
            v1::Verdict::from(&verdict).encode_to_vec(),
        ] {
            for (place, value) in &damage {
                let at = place.index(bytes.len());
                bytes[at] = *value;
            }
            survives(&bytes);
        }
    }
}
