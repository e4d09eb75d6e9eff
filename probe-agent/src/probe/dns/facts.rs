//! What an answer holds, as facts.

use std::net::IpAddr;

use hickory_proto::op::Message;
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use localize::dns::{Reply, Soa, Validity, is_newer};
use localize::{DnsFacts, Failure};

use super::{Recursion, judge};

/// Addresses of an answer that are kept: as many as the wire takes.
const MAX_ADDRESSES: usize = 64;
/// Extended errors of an answer that are kept, likewise.
const MAX_EXTENDED: usize = 8;
/// The option of extended errors (RFC 8914, section 2).
const EXTENDED_ERROR: u16 = 15;

/// The facts of an answer to the question that is timed.
pub(super) fn of(answer: &Message, recursion: Recursion, over_tcp: bool) -> DnsFacts {
    DnsFacts {
        rcode: u8::try_from(u16::from(answer.metadata.response_code)).unwrap_or(u8::MAX),
        addresses: addresses(answer, |_| true),
        authoritative: answer.metadata.authoritative,
        over_tcp,
        ttl: answer.answers.iter().map(|record| record.ttl).min(),
        authentic: answer.metadata.authentic_data && recursion == Recursion::Desired,
        extended: extended(answer),
        soa: soa(answer.authorities.iter()),
        signed: answer.answers.iter().filter_map(validity).reduce(both),
        aaaa: None,
        unchecked: None,
        searched: None,
    }
}

/// What came of a question beside it; `wanted` says which addresses answer it.
pub(super) fn reply(
    asked: Result<&Message, &Failure>,
    recursion: Recursion,
    wanted: fn(&IpAddr) -> bool,
) -> Reply {
    let answer = match asked {
        Ok(answer) => answer,
        Err(failure) => return Reply::Failed(*failure),
    };
    match (judge(answer, recursion), addresses(answer, wanted)) {
        (Err(failure), _) => Reply::Failed(failure),
        (Ok(()), none) if none.is_empty() => Reply::Failed(Failure::DnsNoData),
        (Ok(()), addresses) => Reply::Addresses(addresses),
    }
}

/// The first start of authority among some records.
pub(super) fn soa<'r>(mut records: impl Iterator<Item = &'r Record>) -> Option<Soa> {
    records.find_map(|record| {
        let RData::SOA(soa) = &record.data else {
            return None;
        };
        Some(Soa {
            zone: text(&record.name),
            primary: text(&soa.mname),
            serial: soa.serial,
            negative_ttl: record.ttl.min(soa.minimum),
        })
    })
}

fn addresses(answer: &Message, wanted: fn(&IpAddr) -> bool) -> Vec<IpAddr> {
    let held = answer.answers.iter().filter_map(|r| r.data.ip_addr());
    let mut addresses: Vec<_> = held.filter(wanted).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(MAX_ADDRESSES);
    addresses
}

/// Each extended error is a code and perhaps words, which are the server's own.
fn extended(answer: &Message) -> Vec<u16> {
    let options = answer.edns.iter().flat_map(|edns| edns.options().as_ref());
    let mut codes: Vec<u16> = options
        .filter_map(|(_, option)| {
            if let EdnsOption::Unknown(EXTENDED_ERROR, data) = option {
                data.first_chunk()
            } else {
                None
            }
        })
        .map(|code| u16::from_be_bytes(*code))
        .collect();
    codes.sort_unstable();
    codes.dedup();
    codes.truncate(MAX_EXTENDED);
    codes
}

/// When a signature holds: in the record's data eight bytes say what it signs and how, then come its
/// end and its beginning (RFC 4034, section 3.1).
fn validity(record: &Record) -> Option<Validity> {
    let RData::Unknown { code, rdata } = &record.data else {
        return None;
    };
    let times = rdata.anything.get(8..16)?;
    let number = |bytes: &[u8]| bytes.iter().fold(0, |n, byte| n << 8 | u32::from(*byte));
    (*code == RecordType::RRSIG).then(|| Validity {
        expiration: number(&times[..4]),
        inception: number(&times[4..]),
    })
}

/// When two signatures both hold.
fn both(a: Validity, b: Validity) -> Validity {
    let later = |x, y| if is_newer(x, y) { x } else { y };
    let earlier = |x, y| if is_newer(x, y) { y } else { x };
    Validity {
        inception: later(a.inception, b.inception),
        expiration: earlier(a.expiration, b.expiration),
    }
}

/// A name in lower case without its last dot.
pub(super) fn text(name: &Name) -> String {
    let text = name.to_lowercase().to_ascii();
    text.strip_suffix('.').map(str::to_owned).unwrap_or(text)
}
