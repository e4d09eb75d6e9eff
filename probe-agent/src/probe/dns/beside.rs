//! What is asked beside the question that is timed, once its time and its end are known: each question
//! from a socket of its own, all at once.

use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::rr::RecordType;
use localize::dns::{Again, Reply, Searched, Soa};
use localize::{DnsFacts, Failure};
use tokio::time::timeout;

use super::{Question, Recursion, ask_unjudged, facts};
use crate::probe::Ladder;

/// How long these may take. A round is waited for by as much beyond the limit of its probes.
const AT_MOST: Duration = Duration::from_secs(2);
/// Names that are asked for their zone's start of authority: the host's own, and its parents where the
/// host is an alias or stands below the zone's top.
const NAMES: usize = 3;

/// Completes the facts of an answer.
pub(super) async fn ask(
    question: &Question,
    first: DnsFacts,
    end: Result<(), Failure>,
    ladder: &Ladder<'_>,
) -> DnsFacts {
    let of_addresses = !first.addresses.is_empty() && first.aaaa.is_none();
    match (question.recursion, end) {
        (Recursion::Desired, Err(Failure::DnsServfail)) => DnsFacts {
            unchecked: Some(again(question.clone().unchecked(), ladder, |_| true).await),
            ..first
        },
        (Recursion::Desired, Ok(())) if of_addresses => {
            let (aaaa, searched) = tokio::join!(aaaa(question, ladder), searched(question, ladder));
            DnsFacts {
                aaaa: Some(aaaa),
                searched,
                ..first
            }
        }
        (Recursion::Desired, Ok(())) => DnsFacts {
            searched: searched(question, ladder).await,
            ..first
        },
        (Recursion::NotDesired, Ok(())) if of_addresses => {
            let (aaaa, soa) = tokio::join!(aaaa(question, ladder), soa(question));
            DnsFacts {
                aaaa: Some(aaaa),
                soa: soa.or(first.soa),
                ..first
            }
        }
        (Recursion::NotDesired, Ok(())) => DnsFacts {
            soa: soa(question).await.or(first.soa),
            ..first
        },
        (Recursion::Desired | Recursion::NotDesired, Err(_)) => first,
    }
}

async fn aaaa(question: &Question, ladder: &Ladder<'_>) -> Again {
    let question = question.clone().kind(RecordType::AAAA);
    again(question, ladder, IpAddr::is_ipv6).await
}

async fn again(question: Question, ladder: &Ladder<'_>, wanted: fn(&IpAddr) -> bool) -> Again {
    let recursion = question.recursion;
    let begun = ladder.clock.now();
    let asked = ask_unjudged(&question.within(AT_MOST)).await;
    Again {
        took: ladder.clock.now().since(begun),
        reply: facts::reply(asked.as_ref(), recursion, wanted),
    }
}

/// The first of the names that the host's stub resolver tries before this one which has addresses; it goes on to
/// the next after any other answer, and after none.
async fn searched(question: &Question, ladder: &Ladder<'_>) -> Option<Searched> {
    let first = async {
        for name in &question.before {
            let question = question.clone().named(name.clone(), RecordType::A);
            let again = again(question, ladder, |_| true).await;
            if matches!(again.reply, Reply::Addresses(_)) {
                let name = facts::text(name);
                return Some(Searched { name, again });
            }
        }
        None
    };
    timeout(AT_MOST, first).await.ok()?
}

/// The start of authority that the server itself has for the host's zone. An alias hides it, and so its
/// parents are asked as well.
async fn soa(question: &Question) -> Option<Soa> {
    timeout(AT_MOST, soa_of_names(question)).await.ok()?
}

async fn soa_of_names(question: &Question) -> Option<Soa> {
    let mut name = question.name.clone();
    for _ in 0..NAMES {
        if name.is_root() {
            break;
        }
        let question = question.clone().named(name.clone(), RecordType::SOA);
        let answer = ask_unjudged(&question.within(AT_MOST)).await.ok()?;
        if !answer.metadata.authoritative {
            return None;
        }
        let records = answer.answers.iter().chain(&answer.authorities);
        let found = facts::soa(records);
        if found.is_some() {
            return found;
        }
        name = name.base_name();
    }
    None
}
