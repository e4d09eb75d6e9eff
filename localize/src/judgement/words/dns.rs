//! What is said of resolvers, name servers and zones.

use alloc::format;
use alloc::string::String;
use core::net::IpAddr;

use crate::world::mode::Word;
use crate::world::part::What;

/// Answers that were right once; `kept` is for how many seconds more a resolver may keep its own.
pub(super) fn stale(what: &What, so_many: &str, kept: Option<u32>) -> String {
    if !matches!(what, What::Resolver(_)) {
        return format!("answers {so_many} questions from an old version of the zone");
    }
    let left = kept.map(|kept| format!(", for up to {} more", time(kept)));
    format!(
        "answers {so_many} questions with the kept word that there is no such name or address{}",
        left.unwrap_or_default()
    )
}

/// The name that is asked for is not there.
pub(super) fn missing(what: &What, so_many: &str) -> String {
    if matches!(what, What::Zone(_)) {
        return format!(
            "has no such name, or no address for it, as {so_many} answers say (is the host name in the service file right?)"
        );
    }
    format!("says in {so_many} answers that there is no such name, or no address for it")
}

/// Who is asked for the zone does not speak for it, or is not who should be asked.
pub(super) fn lame(what: &What, so_many: &str) -> String {
    if matches!(what, What::Zone(_)) {
        return format!(
            "is delegated so that {so_many} questions end at servers which do not answer for it, and resolvers say SERVFAIL"
        );
    }
    format!("does not speak for the zone that it is listed for in {so_many} answers")
}

/// Signatures that hold no longer, or not yet.
pub(super) fn expired(so_many: &str) -> String {
    format!(
        "hands out signatures that have expired, so that resolvers which check them answer {so_many} questions with SERVFAIL"
    )
}

/// Signatures that do not fit the keys that the parent vouches for.
pub(super) fn bogus(so_many: &str) -> String {
    format!(
        "has signatures that do not fit its keys or its DS record, so that resolvers which check them answer {so_many} questions with SERVFAIL"
    )
}

/// What to look at or change first about a resolver.
pub(super) fn of_resolver(server: IpAddr, mode: Word) -> String {
    if mode == Word::StaleAnswer {
        return format!(
            "flush the name from the cache of {server} (`unbound-control flush_zone`, `rndc flushname`), or wait until the time is over that the zone's SOA allows for negative answers; a lower MINIMUM there makes the next time shorter"
        );
    }
    if mode == Word::ValidationFails {
        return format!(
            "check the clock of {server} and its trust anchor (RFC 5011): it calls signatures wrong that other resolvers accept"
        );
    }
    if mode == Word::Filters {
        return format!(
            "ask the operator of {server} to take the name off its filter; meanwhile let clients use another resolver"
        );
    }
    if mode == Word::AaaaFails {
        return format!(
            "compare `dig @{server} AAAA` with `dig @{server} A`: programs that ask for both wait for the one that is not answered"
        );
    }
    format!(
        "ask {server} directly (`dig @{server}`), and let clients use another resolver until it is mended"
    )
}

/// The same about one name server.
pub(super) fn of_name_server(name: &str, mode: Word) -> String {
    let copies = [
        Word::WrongAnswer,
        Word::StaleAnswer,
        Word::NameMissing,
        Word::SignaturesExpired,
    ];
    if copies.contains(&mode) {
        return format!(
            "compare the zone's serial on {name} with its siblings, and transfer the zone again"
        );
    }
    if mode == Word::Lame {
        return format!(
            "load the zone on {name}, or take it out of the NS set at the parent and in the zone (`dig +trace`, `dig @{name} SOA`)"
        );
    }
    if mode == Word::AaaaFails {
        return format!(
            "compare `dig @{name} AAAA` with `dig @{name} A`: a question for AAAA must be answered even where there is none (RFC 4074)"
        );
    }
    format!(
        "check that {name} is running and still serves the zone; take it out of the NS set if it stays so"
    )
}

/// The same about a zone, or all its servers, as `noun` says.
pub(super) fn of_zone(noun: &str, name: &str, mode: Word) -> String {
    if mode == Word::NameMissing {
        return format!(
            "the zone has no such name: is the host name in the service file right? If it is, put its address records back into {name}"
        );
    }
    if mode == Word::WrongAnswer {
        return format!(
            "is that address still the service's? Take it out of the records of {name}, or start again what stood there"
        );
    }
    if mode == Word::SignaturesExpired {
        return format!(
            "sign {name} again, and see why its signer stopped (`delv`, `dig +dnssec SOA {name}`); resolvers that check signatures are right to fail"
        );
    }
    if mode == Word::Bogus {
        return format!(
            "compare the DS record at the parent with the zone's keys (`dig DS {name}`, `dig DNSKEY {name}`), and take the DS out until they fit; resolvers that check signatures are right to fail"
        );
    }
    if mode == Word::Lame {
        return format!(
            "compare the NS records of {name} at its parent with those of its own servers (`dig +trace NS {name}`), and check that these answer the resolvers' networks"
        );
    }
    format!(
        "ask the DNS provider of {name} what was changed last: {noun} do so alike, and another NS set does not help"
    )
}

fn time(seconds: u32) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}
