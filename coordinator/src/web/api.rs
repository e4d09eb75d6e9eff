//! `/api/v1`: the JSON of `meshctl -o json`, and its description.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get};
use axum::{Json, Router};
use localize::{ServiceName, VantageName};
use proto::json;
use proto::kept::Kept;
use proto::v1;
use serde::Deserialize;
use serde_json::Value;

use super::asked::{Count, InPath, InQuery};
use super::trouble::Trouble;
use super::{Face, Shared};
use crate::clock;
use crate::engine::Event;
use crate::grpc::view;
use crate::store::{RaisedRecord, Store};
use crate::{coverage, unprobed};

/// Verdicts listed when nobody said how many, and at most.
const VERDICTS: u64 = 20;
const MOST_VERDICTS: u64 = 500;
/// How far history looks back when nobody said, and at most.
const HOUR_S: u64 = 3600;
const MOST_HISTORY_S: u64 = 30 * 24 * HOUR_S;

/// The description of all this (OpenAPI 3.0).
const OPENAPI: &str = include_str!("assets/openapi.json");

type Answer = Result<Json<Value>, Trouble>;

pub(super) fn router() -> Router<Arc<Face>> {
    let routes = routes().into_iter();
    routes
        .fold(Router::new(), |router, (path, asked)| {
            router.route(path, asked)
        })
        .fallback(async || Trouble::NoPage)
        .method_not_allowed_fallback(async || Trouble::OnlyRead)
}

/// Everything that is answered; the description says the same of each.
pub(super) fn routes() -> [(&'static str, MethodRouter<Arc<Face>>); 10] {
    [
        ("/openapi.json", get(openapi)),
        ("/status", get(status)),
        ("/services", get(services)),
        ("/services/{name}", get(service)),
        ("/services/{name}/coverage", get(parts)),
        ("/services/{name}/history", get(history)),
        ("/agents", get(agents)),
        ("/agents/{name}", get(agent)),
        ("/verdicts", get(verdicts)),
        ("/verdicts/{id}", get(verdict)),
    ]
}

/// What there is, for programs that make clients.
async fn openapi() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], OPENAPI)
}

async fn status(State(face): Shared) -> Answer {
    Ok(Json(json::status(&face.status().await?)))
}

async fn services(State(face): Shared) -> Answer {
    let services = face.engine.ask(Event::Services).await?.into_iter();
    let services = services.map(|service| json::service(&view::service(service)));
    Ok(Json(services.collect()))
}

async fn service(State(face): Shared, InPath(name): InPath<String>) -> Answer {
    let service = face.service(&name).await?;
    Ok(Json(json::service(&view::service(service))))
}

async fn parts(State(face): Shared, InPath(name): InPath<String>) -> Answer {
    let parts = face.coverage(&name).await?.parts;
    Ok(Json(parts.iter().map(json::part).collect()))
}

/// How far back history is asked for.
#[derive(Deserialize)]
struct Since {
    /// In seconds.
    since_s: Option<Count>,
}

async fn history(
    State(face): Shared,
    InPath(name): InPath<String>,
    InQuery(Since { since_s }): InQuery<Since>,
) -> Answer {
    let name = face.service(&name).await?.topology.service;
    let since_s = since_s.map_or(HOUR_S, |since| since.0.min(MOST_HISTORY_S));
    let since_us = clock::now_us().saturating_sub(since_s * 1_000_000);
    let lines = face
        .read(move |store| store.history(&name, since_us))
        .await?;
    let lines = lines.into_iter().map(view::history_line);
    Ok(Json(lines.map(|line| json::history_line(&line)).collect()))
}

async fn agents(State(face): Shared) -> Answer {
    let agents = face.engine.ask(Event::Agents).await?.into_iter();
    Ok(Json(
        agents
            .map(|agent| json::agent(&view::agent(agent)))
            .collect(),
    ))
}

async fn agent(State(face): Shared, InPath(name): InPath<String>) -> Answer {
    Ok(Json(json::agent(&face.agent(name).await?)))
}

/// Which verdicts are asked for.
#[derive(Deserialize)]
struct Which {
    service: Option<String>,
    limit: Option<Count>,
}

async fn verdicts(State(face): Shared, InQuery(which): InQuery<Which>) -> Answer {
    let limit = which
        .limit
        .map_or(VERDICTS, |limit| limit.0.min(MOST_VERDICTS));
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let kept = face.verdicts(which.service.map(ServiceName), limit).await?;
    let values = kept.iter().map(serde_json::to_value);
    let values: Result<Vec<Value>, serde_json::Error> = values.collect();
    values
        .map(|values| Json(values.into()))
        .map_err(|error| Trouble::Page(error.to_string()))
}

async fn verdict(State(face): Shared, InPath(id): InPath<String>) -> Answer {
    let kept = face.verdict(id).await?;
    let value = serde_json::to_value(&kept);
    value
        .map(Json)
        .map_err(|error| Trouble::Page(error.to_string()))
}

impl Face {
    /// The whole in numbers.
    pub(super) async fn status(&self) -> Result<v1::StatusResponse, Trouble> {
        let status = self.engine.ask(Event::Status).await?;
        let store_bytes = self.read(Store::size_on_disk).await?;
        let restored = self.read(Store::restored).await?;
        let stored = self.store.stored_count();
        Ok(view::status(
            status,
            stored,
            store_bytes,
            clock::now_us(),
            None,
            restored,
        ))
    }

    /// An agent, with the arms of which nothing is known from there.
    pub(super) async fn agent(&self, name: String) -> Result<v1::Agent, Trouble> {
        let name = VantageName(name);
        let wanted = name.clone();
        let agent = self.engine.ask(|reply| Event::Agent(wanted, reply)).await?;
        let not_probed = unprobed::of_agent(&self.engine, &name).await?;
        Ok(v1::Agent {
            not_probed: not_probed.into_iter().map(view::left_out).collect(),
            ..view::agent(agent)
        })
    }

    /// What the rounds of a service see of its path.
    pub(super) async fn coverage(&self, name: &str) -> Result<v1::CoverageResponse, Trouble> {
        let name = ServiceName(name.to_owned());
        let wanted = name.clone();
        let outlook = self.engine.ask(|reply| Event::Outlook(wanted, reply));
        let outlook = outlook.await?;
        let not_probed = unprobed::of_service(&self.engine, name).await?;
        let seen = move || {
            let parts = coverage::coverage(&outlook, &not_probed);
            view::coverage(parts, &outlook)
        };
        let seen = tokio::task::spawn_blocking(seen).await;
        seen.map_err(|_| Trouble::Stopping)
    }

    /// The newest verdicts on a service, or on all.
    pub(super) async fn verdicts(
        &self,
        service: Option<ServiceName>,
        limit: usize,
    ) -> Result<Vec<Kept>, Trouble> {
        let found = self.read(move |store| {
            let verdicts = store.verdicts(service.as_ref(), limit)?.into_iter();
            let raised = verdicts.map(|verdict| Ok((store.raised(&verdict.id)?, verdict)));
            raised.collect::<Result<Vec<_>, _>>()
        });
        let found = found.await?.into_iter();
        found
            .map(|(raised, verdict)| kept(&verdict, raised))
            .collect()
    }

    /// One verdict.
    pub(super) async fn verdict(&self, id: String) -> Result<Kept, Trouble> {
        let wanted = id.clone();
        let found = self.read(move |store| Ok((store.verdict(&wanted)?, store.raised(&wanted)?)));
        match found.await? {
            (Some(verdict), raised) => kept(&verdict, raised),
            (None, _) => Err(Trouble::NoVerdict(id)),
        }
    }
}

/// As it would be read from the wire.
fn kept(verdict: &localize::Verdict, raised: Option<RaisedRecord>) -> Result<Kept, Trouble> {
    let kept = Kept::read(view::verdict(verdict, raised));
    kept.map_err(|error| Trouble::Page(error.to_string()))
}
