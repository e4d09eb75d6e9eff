//! The log of acts as it crosses the wire.

use std::time::Duration;

use proto::v1;
use proto::v1::check_service_request::What;
use proto::v1::list_acts_request::Since;
use serde::Deserialize;

use super::operators::wire_role;
use super::view;
use crate::clock::rfc3339;
use crate::store::{ActChain, ActFilter, ActOutcome, ActPlace, ActRecord};

/// Acts listed when nobody said how many, and at most: a few megabytes fit into a message.
const ACTS: usize = 100;
const MOST_ACTS: usize = 5000;

/// Which acts are wanted.
pub(super) fn wanted(request: v1::ListActsRequest, now_us: u64) -> ActFilter {
    let ago_us = |ms| u64::try_from(Duration::from_millis(ms).as_micros()).unwrap_or(u64::MAX);
    ActFilter {
        since_us: match request.since {
            None => 0,
            Some(Since::AgoMs(ms)) => now_us.saturating_sub(ago_us(ms)),
            Some(Since::AtUs(at_us)) => at_us,
        },
        operator: Some(request.operator).filter(|name| !name.is_empty()),
        limit: match usize::try_from(request.limit).unwrap_or(usize::MAX) {
            0 => ACTS,
            limit => limit.min(MOST_ACTS),
        },
    }
}

pub(super) fn wire((record, place): (ActRecord, ActPlace)) -> v1::Act {
    let ActRecord {
        number,
        previous,
        act,
    } = record;
    let (outcome, why) = match act.outcome {
        ActOutcome::Done => ("done", String::new()),
        ActOutcome::Begun => ("begun", String::new()),
        ActOutcome::Refused(code) => ("refused", code),
    };
    v1::Act {
        number,
        at: rfc3339(act.at_us),
        operator: act.operator,
        role: act.role.map_or(0, |role| wire_role(role).into()),
        act: act.deed.name().to_owned(),
        object: act.object,
        outcome: outcome.to_owned(),
        why,
        left_out: act.left_out,
        sha256: place.sha256,
        previous_sha256: previous,
    }
}

/// The place in the chain that the caller has kept.
pub(super) fn kept(request: v1::VerifyActsRequest) -> Option<ActPlace> {
    (request.number > 0).then_some(ActPlace {
        number: request.number,
        sha256: request.sha256,
    })
}

pub(super) fn verified(chain: ActChain) -> v1::VerifyActsResponse {
    let (broken_at, why) = chain.broken.unzip();
    v1::VerifyActsResponse {
        first: chain.first,
        last: chain.head.number,
        sha256: chain.head.sha256,
        broken_at,
        why: why.unwrap_or_default().to_owned(),
    }
}

/// The name in a service file that is still to be read; empty where there is none.
pub(super) fn service_named(toml: &str) -> String {
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    if toml.len() > view::LONGEST_FILE {
        return String::new();
    }
    let named = toml::from_str::<Named>(toml);
    named.map_or_else(|_| String::new(), |named| named.name)
}

/// What is to be checked, by its name.
pub(super) fn checked(request: &v1::CheckServiceRequest) -> String {
    match &request.what {
        Some(What::Service(name)) => name.clone(),
        Some(What::File(file)) => service_named(&file.toml),
        None => String::new(),
    }
}
