//! Observations as they are stored: as they cross the wire, without what their series says of them.
//!
//! The wire's encoding is a quarter of the JSON that earlier versions stored, which is read all the same: JSON
//! begins with a brace, and no message of the wire does.

use localize::Observation;
use prost::Message as _;
use proto::v1;

use super::series::Series;
use super::value::{self, Packed, ValueError};

/// The first byte of the JSON of a record. As a protobuf tag it would be the group of field 15.
const BRACE: u8 = b'{';

pub(super) fn pack(observation: &Observation) -> Packed {
    let mut wire = v1::Observation::from(observation);
    wire.vantage.clear();
    wire.service.clear();
    wire.arm = None;
    Packed::bytes(wire.encode_to_vec())
}

/// An observation of a series. The agent may have had another name when it was stored.
pub(super) fn parse(bytes: &[u8], series: &Series) -> Result<Observation, ValueError> {
    if bytes.first() == Some(&BRACE) {
        let mut observation: Observation = value::parse(bytes)?;
        observation.id.vantage.clone_from(&series.vantage);
        return Ok(observation);
    }
    let mut wire = v1::Observation::decode(bytes).map_err(|_| ValueError::Payload)?;
    wire.vantage.clone_from(&series.vantage.0);
    wire.service.clone_from(&series.service.0);
    wire.arm = Some((&series.arm).into());
    wire.try_into().map_err(|_| ValueError::Payload)
}

#[cfg(test)]
mod tests {
    use localize::Failure;

    use super::super::key::ServiceNumber;
    use super::super::tests::{NOW, SECOND, observation};
    use super::*;

    fn read(packed: &Packed, series: &Series) -> Result<Observation, ValueError> {
        let (head, further) = packed.pieces();
        parse(&value::unpack(&head, further, 1 << 20)?, series)
    }

    #[test]
    fn comes_back_from_both_forms_by_the_name_that_the_agent_has() {
        for failure in [
            None,
            Some(Failure::ConnectTimeout),
            Some(Failure::HttpStatus(503)),
        ] {
            let mut seen = observation("home1", 7, NOW + SECOND, failure);
            let (wire, json) = (pack(&seen), Packed::json(&seen).expect("packs"));
            let series = Series {
                service: seen.service.clone(),
                vantage: localize::VantageName("office1".to_owned()),
                arm: seen.arm.clone(),
                number: ServiceNumber(1),
                last_day: 0,
            };
            seen.id.vantage.clone_from(&series.vantage);
            assert_eq!(read(&wire, &series), Ok(seen.clone()));
            assert_eq!(read(&json, &series), Ok(seen));
            let (of_wire, of_json) = (wire.pieces().0.len(), json.pieces().0.len());
            assert!(of_wire * 4 < of_json, "{of_wire} of {of_json}");
        }
    }
}
