//! What may stand in the place of a name, for shells that complete: asked of the coordinator of the context
//! in use. Whoever cannot be reached completes nothing.

use std::future::Future;
use std::time::Duration;

use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use proto::json;
use proto::v1::{
    ListAgentsRequest, ListOperatorsRequest, ListServicesRequest, ListSilencesRequest,
    ListVerdictsRequest,
};

use crate::connect::{Client, connect};
use crate::contexts::{self, Contexts};
use crate::render::verdict_line;

/// A key was pressed, and somebody waits for the next letter.
const PATIENCE: Duration = Duration::from_secs(1);
/// Verdicts that are offered, the newest.
const VERDICTS: u32 = 50;

/// The services.
pub fn services() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        ask(async |mut client| {
            let answer = client.list_services(ListServicesRequest {}).await.ok()?;
            let services = answer.into_inner().services.into_iter();
            Some(services.map(|one| candidate(one.name, one.url)).collect())
        })
    })
}

/// The agents.
pub fn agents() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        ask(async |mut client| {
            let answer = client.list_agents(ListAgentsRequest {}).await.ok()?;
            let agents = answer.into_inner().agents.into_iter();
            Some(agents.map(|one| candidate(one.name, one.state)).collect())
        })
    })
}

/// The operators.
pub fn operators() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        ask(async |mut client| {
            let answer = client.list_operators(ListOperatorsRequest {}).await.ok()?;
            let operators = answer.into_inner().operators.into_iter();
            let offered = operators.map(|one| {
                let role = json::operator_role(one.role()).to_owned();
                candidate(one.name, role)
            });
            Some(offered.collect())
        })
    })
}

/// The latest verdicts.
pub fn verdicts() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        ask(async |mut client| {
            let request = ListVerdictsRequest {
                limit: VERDICTS,
                ..ListVerdictsRequest::default()
            };
            let answer = client.list_verdicts(request).await.ok()?;
            let verdicts = answer.into_inner().verdicts.into_iter();
            let verdicts = verdicts.filter_map(|wire| localize::Verdict::try_from(wire).ok());
            let offered = verdicts.map(|one| candidate(one.id.clone(), verdict_line(&one)));
            Some(offered.collect())
        })
    })
}

/// The silences.
pub fn silences() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        ask(async |mut client| {
            let answer = client.list_silences(ListSilencesRequest {}).await.ok()?;
            let silences = answer.into_inner().silences.into_iter();
            Some(silences.map(|one| candidate(one.id, one.because)).collect())
        })
    })
}

/// The contexts, which are files of this user.
pub fn contexts() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let names = Contexts::of_this_user().map(|contexts| contexts.names());
        names
            .into_iter()
            .flatten()
            .map(CompletionCandidate::new)
            .collect()
    })
}

fn candidate(name: String, help: String) -> CompletionCandidate {
    CompletionCandidate::new(name).help(Some(help.into()))
}

fn ask<F>(question: impl FnOnce(Client) -> F) -> Vec<CompletionCandidate>
where
    F: Future<Output = Option<Vec<CompletionCandidate>>>,
{
    let answered = async {
        let found = contexts::load(None).ok()?;
        let client = connect(&found.context, PATIENCE).await.ok()?;
        question(client).await
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return Vec::new();
    };
    let answered = runtime.block_on(async { tokio::time::timeout(PATIENCE, answered).await });
    runtime.shutdown_background();
    answered.ok().flatten().unwrap_or_default()
}
