//! What is said of resolvers, name servers and zones.

use alloc::format;
use alloc::string::String;

use super::noun;
use crate::world::mode::Word;
use crate::world::part::What;

/// Answers that were right once; `kept` is for how many seconds more a resolver may keep its own.
pub(super) fn stale(what: &What, so_many: &str, kept: Option<u32>) -> String {
    match (what, kept) {
        (What::Resolver(_), Some(kept)) => format!(
            "answers {so_many} questions with the kept word that there is no such name or address, for up to {} more",
            time(kept)
        ),
        (What::Resolver(_), None) => format!(
            "answers {so_many} questions with the kept word that there is no such name or address"
        ),
        _ => format!("answers {so_many} questions from an old version of the zone"),
    }
}

/// The name that is asked for is not there.
pub(super) fn missing(what: &What, so_many: &str) -> String {
    match what {
        What::Zone(_) => {
            format!(
                "has no such name, or no address for it, as {so_many} answers say (is the host name in the service file right?)"
            )
        }
        _ => format!("says in {so_many} answers that there is no such name, or no address for it"),
    }
}

/// Who is asked for the zone does not speak for it, or is not who should be asked.
pub(super) fn lame(what: &What, so_many: &str) -> String {
    match what {
        What::Zone(_) => format!(
            "is delegated so that {so_many} questions end at servers which do not answer for it, and resolvers say SERVFAIL"
        ),
        _ => format!("does not speak for the zone, to which it is listed, in {so_many} answers"),
    }
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

/// What to look at or change first.
pub(super) fn next_step(what: &What, mode: Word) -> String {
    match what {
        What::Zone(name) | What::NameServers(name) => of_zone(what, name, mode),
        What::NameServer(name) => of_name_server(name, mode),
        _ => of_resolver(what, mode),
    }
}

fn of_resolver(what: &What, mode: Word) -> String {
    let What::Resolver(server) = what else {
        return format!("ask {} directly with `dig`", noun(what));
    };
    match mode {
        Word::StaleAnswer => format!(
            "flush the name from the cache of {server} (`unbound-control flush_zone`, `rndc flushname`), or wait until the time that the zone's SOA allows for negative answers is over; a lower MINIMUM there makes the next time shorter"
        ),
        Word::ValidationFails => format!(
            "check the clock of {server} and its trust anchor (RFC 5011): it calls signatures wrong that other resolvers accept"
        ),
        Word::Filters => format!(
            "ask the operator of {server} to take the name off its filter; meanwhile let clients use another resolver"
        ),
        Word::AaaaFails => format!(
            "compare `dig @{server} AAAA` with `dig @{server} A`: programs that ask for both wait for the one that is not answered"
        ),
        _ => format!(
            "ask {server} directly (`dig @{server}`), and let clients use another resolver until it is mended"
        ),
    }
}

fn of_name_server(name: &str, mode: Word) -> String {
    match mode {
        Word::WrongAnswer | Word::StaleAnswer | Word::NameMissing | Word::SignaturesExpired => {
            format!(
                "compare the zone's serial on {name} with its siblings, and transfer the zone again"
            )
        }
        Word::Lame => format!(
            "load the zone on {name}, or take it out of the NS set at the parent and in the zone (`dig +trace`, `dig @{name} SOA`)"
        ),
        Word::AaaaFails => format!(
            "compare `dig @{name} AAAA` with `dig @{name} A`: a question for AAAA must be answered even where there is none (RFC 4074)"
        ),
        _ => format!(
            "check that {name} is running and still serves the zone; take it out of the NS set if it stays so"
        ),
    }
}

fn of_zone(what: &What, name: &str, mode: Word) -> String {
    match mode {
        Word::NameMissing => format!(
            "the zone has no such name: is the host name in the service file right? If it is, put its address records back into {name}"
        ),
        Word::SignaturesExpired => format!(
            "sign {name} again, and see why its signer stopped (`delv`, `dig +dnssec SOA {name}`); resolvers that check signatures are right to fail"
        ),
        Word::Bogus => format!(
            "compare the DS record at the parent with the zone's keys (`dig DS {name}`, `dig DNSKEY {name}`), and take the DS out until they fit; resolvers that check signatures are right to fail"
        ),
        Word::Lame => format!(
            "compare the NS records of {name} at its parent with those of its own servers (`dig +trace NS {name}`), and check that these answer the resolvers' networks"
        ),
        Word::WrongAnswer | Word::StaleAnswer => {
            format!(
                "look at the last change of {name}: {} hand it out alike",
                noun(what)
            )
        }
        _ => format!(
            "check the DNS provider of {name}: {} are concerned, so the NS set alone does not help",
            noun(what)
        ),
    }
}

fn time(seconds: u32) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}
