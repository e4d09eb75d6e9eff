//! The operators' service.

use std::time::Duration;

use localize::{ServiceName, VantageName, Verdict};
use proto::v1;
use proto::v1::operator_server::Operator;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};

use super::streams::{self, STREAM};
use super::{
    acts, backup, check as wire_check, enrolment, guard, mended as wire, operators, silence, view,
};
use crate::ca::Issued;
use crate::check;
use crate::clock;
use crate::coverage;
use crate::engine::{Event, Handle, Refusal, Reply};
use crate::localisation::{Localiser, Wish};
use crate::mended;
use crate::notify;
use crate::operators::Registry;
use crate::rights::Call;
use crate::store::{Act, OperatorRecord, RaisedRecord, Store, StoreError};
use crate::unprobed;
use crate::web;

/// Verdicts listed when nobody said how many, and at most.
const VERDICTS: usize = 20;
const MOST_VERDICTS: usize = 500;

type Answer<T> = Result<Response<T>, Status>;

/// The operators' service.
pub struct OperatorsService {
    engine: Handle,
    store: Store,
    localiser: Localiser,
    notifier: notify::Handle,
    operators: Registry,
}

impl OperatorsService {
    /// Forwards to engine, store, localiser, notifier and registry; behind a [`guard::Guarded`] alone.
    #[must_use]
    pub fn new(
        engine: Handle,
        store: Store,
        localiser: Localiser,
        notifier: notify::Handle,
        operators: Registry,
    ) -> Self {
        Self {
            engine,
            store,
            localiser,
            notifier,
            operators,
        }
    }

    /// Reads from the store where waiting for the disk holds up nobody.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Status> {
        let store = self.store.clone();
        let read = tokio::task::spawn_blocking(move || read(&store)).await;
        let read = read.map_err(|error| Status::internal(error.to_string()))?;
        Ok(read.map_err(Refusal::from)?)
    }
}

fn let_in<T>(request: Request<T>) -> Result<T, Status> {
    guard::let_in(request).map(|(_, message)| message)
}

fn none_if_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

#[tonic::async_trait]
impl Operator for OperatorsService {
    type LocalizeStream = ReceiverStream<Result<v1::LocalizeEvent, Status>>;
    type WatchStream = ReceiverStream<Result<v1::WatchEvent, Status>>;
    type ReportStream = ReceiverStream<Result<v1::ReportPiece, Status>>;
    type BackupStream = ReceiverStream<Result<v1::BackupPiece, Status>>;
    type ExportCaseStream = ReceiverStream<Result<v1::CasePiece, Status>>;

    async fn status(&self, request: Request<v1::StatusRequest>) -> Answer<v1::StatusResponse> {
        let (caller, _) = guard::let_in(request)?;
        let status = self.engine.ask(Event::Status).await?;
        let store_bytes = self.read(Store::size_on_disk).await?;
        let restored = self.read(Store::restored).await?;
        let stored = self.store.stored_count();
        Ok(Response::new(view::status(
            status,
            stored,
            store_bytes,
            clock::now_us(),
            Some(&caller),
            restored,
        )))
    }

    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Answer<v1::CreateTokenResponse> {
        let (caller, request) = guard::let_in(request)?;
        let act = caller.act(Call::CreateToken, &request.name);
        let engine = self.engine.clone();
        let invite = |act| async move {
            let invitation = enrolment::invitation(request)?;
            let invite = engine.act(act, |reply| Event::Invite(invitation, reply));
            Ok(view::token(invite.await?))
        };
        Ok(Response::new(self.recorded(act, invite).await?))
    }

    async fn rejoin_agent(
        &self,
        request: Request<v1::RejoinAgentRequest>,
    ) -> Answer<v1::CreateTokenResponse> {
        let (caller, request) = guard::let_in(request)?;
        let act = caller.act(Call::RejoinAgent, &request.name);
        let rejoin = self.engine_act(act, move |reply| Event::Rejoin {
            name: VantageName(request.name),
            ttl: Duration::from_secs(request.ttl_seconds),
            replace: request.replace,
            reply,
        });
        Ok(Response::new(view::token(rejoin.await?)))
    }

    async fn rename_agent(&self, request: Request<v1::RenameAgentRequest>) -> Answer<v1::Agent> {
        let (caller, v1::RenameAgentRequest { from, to }) = guard::let_in(request)?;
        let act = caller.act(Call::RenameAgent, &format!("{from} -> {to}"));
        let from = VantageName(from);
        let rename = self.engine_act(act, |reply| Event::Rename { from, to, reply });
        Ok(Response::new(view::agent(rename.await?)))
    }

    async fn delete_agent(
        &self,
        request: Request<v1::DeleteAgentRequest>,
    ) -> Answer<v1::DeleteAgentResponse> {
        let (caller, v1::DeleteAgentRequest { name }) = guard::let_in(request)?;
        let act = caller.act(Call::DeleteAgent, &name);
        let delete = |reply| Event::DeleteAgent(VantageName(name), reply);
        self.engine_act(act, delete).await?;
        Ok(Response::new(v1::DeleteAgentResponse {}))
    }

    async fn list_agents(
        &self,
        request: Request<v1::ListAgentsRequest>,
    ) -> Answer<v1::ListAgentsResponse> {
        let_in(request)?;
        let agents = self.engine.ask(Event::Agents).await?;
        Ok(Response::new(v1::ListAgentsResponse {
            agents: agents.into_iter().map(view::agent).collect(),
        }))
    }

    async fn get_agent(&self, request: Request<v1::GetAgentRequest>) -> Answer<v1::Agent> {
        let name = VantageName(let_in(request)?.name);
        let wanted = name.clone();
        let agent = self.engine.ask(|reply| Event::Agent(wanted, reply)).await?;
        let not_probed = unprobed::of_agent(&self.engine, &name).await?;
        Ok(Response::new(v1::Agent {
            not_probed: not_probed.into_iter().map(view::left_out).collect(),
            ..view::agent(agent)
        }))
    }

    async fn revoke_agent(&self, request: Request<v1::RevokeAgentRequest>) -> Answer<v1::Agent> {
        let (caller, v1::RevokeAgentRequest { name }) = guard::let_in(request)?;
        let act = caller.act(Call::RevokeAgent, &name);
        let revoke = |reply| Event::Revoke(VantageName(name), reply);
        let agent = self.engine_act(act, revoke).await?;
        Ok(Response::new(view::agent(agent)))
    }

    async fn apply_service(
        &self,
        request: Request<v1::ApplyServiceRequest>,
    ) -> Answer<v1::ApplyServiceResponse> {
        let (caller, request) = guard::let_in(request)?;
        let act = caller.act(Call::ApplyService, &acts::service_named(&request.toml));
        let engine = self.engine.clone();
        let apply = |act| async move {
            let v1::ApplyServiceRequest { toml, ca_pem } = view::service_file(request)?;
            let apply = engine.act(act, |reply| Event::Apply {
                toml,
                ca_pem,
                reply,
            });
            Ok(view::applied(apply.await?))
        };
        let (name, result) = self.recorded(act, apply).await?;
        Ok(Response::new(v1::ApplyServiceResponse { name, result }))
    }

    async fn rehearse_service(
        &self,
        request: Request<v1::ApplyServiceRequest>,
    ) -> Answer<v1::RehearseServiceResponse> {
        let v1::ApplyServiceRequest { toml, ca_pem } = view::service_file(let_in(request)?)?;
        let rehearse = self.engine.ask(|reply| Event::Rehearse {
            toml,
            ca_pem,
            reply,
        });
        Ok(Response::new(view::rehearsed(rehearse.await?)))
    }

    async fn list_services(
        &self,
        request: Request<v1::ListServicesRequest>,
    ) -> Answer<v1::ListServicesResponse> {
        let_in(request)?;
        let services = self.engine.ask(Event::Services).await?;
        Ok(Response::new(v1::ListServicesResponse {
            services: services.into_iter().map(view::service).collect(),
        }))
    }

    async fn get_service(&self, request: Request<v1::GetServiceRequest>) -> Answer<v1::Service> {
        let name = ServiceName(let_in(request)?.name);
        let service = self.engine.ask(|reply| Event::Service(name, reply)).await?;
        Ok(Response::new(view::service(service)))
    }

    async fn delete_service(
        &self,
        request: Request<v1::DeleteServiceRequest>,
    ) -> Answer<v1::DeleteServiceResponse> {
        let (caller, v1::DeleteServiceRequest { name }) = guard::let_in(request)?;
        let act = caller.act(Call::DeleteService, &name);
        let delete = |reply| Event::Delete(ServiceName(name), reply);
        self.engine_act(act, delete).await?;
        Ok(Response::new(v1::DeleteServiceResponse {}))
    }

    async fn check_service(
        &self,
        request: Request<v1::CheckServiceRequest>,
    ) -> Answer<v1::CheckServiceResponse> {
        let (caller, request) = guard::let_in(request)?;
        let act = caller.act(Call::CheckService, &acts::checked(&request));
        self.operators.begun(act).await?;
        let subject = wire_check::subject(request)?;
        let checked = self
            .engine
            .ask(|reply| Event::Check(subject, reply))
            .await?;
        let report = move || {
            let report = check::report(&checked);
            wire_check::response(&checked, report)
        };
        let response = tokio::task::spawn_blocking(report).await;
        let response = response.map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(response))
    }

    async fn localize(
        &self,
        request: Request<v1::LocalizeRequest>,
    ) -> Answer<Self::LocalizeStream> {
        let (caller, request) = guard::let_in(request)?;
        let act = caller.act(Call::Localize, &request.service);
        let wish = Wish::new(
            ServiceName(request.service),
            Duration::from_millis(request.budget_ms),
            Duration::from_millis(request.since_ms),
        );
        let (localiser, operators) = (self.localiser.clone(), self.operators.clone());
        let begin = |act| async move {
            let run = localiser.begin(wish).await?;
            operators.begun_meanwhile(act);
            Ok(run)
        };
        let run = self.recorded(act, begin).await?;
        let (events, stream) = mpsc::channel(STREAM);
        let operators = self.operators.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = events.closed() => {}
                () = caller.rights.cancelled() => {
                    let _ = events.try_send(Err(guard::over(&operators, &caller)));
                }
                () = run.to_the_end(&events) => {}
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Answer<Self::WatchStream> {
        let (caller, v1::WatchRequest { service }) = guard::let_in(request)?;
        let (engine, operators) = (&self.engine, self.operators.clone());
        let stream = streams::happenings(engine.watch(), operators, caller, service);
        Ok(Response::new(stream))
    }

    async fn history(&self, request: Request<v1::HistoryRequest>) -> Answer<v1::HistoryResponse> {
        let request = let_in(request)?;
        let name = ServiceName(request.service);
        self.must_know(&name)?;
        let since_us = clock::now_us().saturating_sub(request.since_ms.saturating_mul(1000));
        let lines = self
            .read(move |store| store.history(&name, since_us))
            .await?;
        Ok(Response::new(v1::HistoryResponse {
            lines: lines.into_iter().map(view::history_line).collect(),
        }))
    }

    async fn list_verdicts(
        &self,
        request: Request<v1::ListVerdictsRequest>,
    ) -> Answer<v1::ListVerdictsResponse> {
        let request = let_in(request)?;
        let service = none_if_empty(request.service).map(ServiceName);
        let limit = match usize::try_from(request.limit).unwrap_or(usize::MAX) {
            0 => VERDICTS,
            limit => limit.min(MOST_VERDICTS),
        };
        let verdicts = self
            .read(move |store| {
                let verdicts = store.verdicts(service.as_ref(), limit)?;
                let raised = |verdict: Verdict| Ok((store.raised(&verdict.id)?, verdict));
                verdicts.into_iter().map(raised).collect::<Result<_, _>>()
            })
            .await?;
        let verdicts: Vec<(Option<RaisedRecord>, Verdict)> = verdicts;
        Ok(Response::new(v1::ListVerdictsResponse {
            verdicts: verdicts
                .iter()
                .map(|(raised, verdict)| view::verdict(verdict, *raised))
                .collect(),
        }))
    }

    async fn get_verdict(&self, request: Request<v1::GetVerdictRequest>) -> Answer<v1::Verdict> {
        let id = let_in(request)?.id;
        let none = no_verdict(&id);
        let found = self.read(move |store| Ok((store.verdict(&id)?, store.raised(&id)?)));
        let (verdict, raised) = found.await?;
        let verdict = verdict.ok_or(none)?;
        Ok(Response::new(view::verdict(&verdict, raised)))
    }

    async fn export_case(
        &self,
        request: Request<v1::GetVerdictRequest>,
    ) -> Answer<Self::ExportCaseStream> {
        let (caller, v1::GetVerdictRequest { id }) = guard::let_in(request)?;
        let none = no_verdict(&id);
        let case = self.read(move |store| store.case(&id)).await?.ok_or(none)?;
        let piece = |json: &[u8]| v1::CasePiece {
            json: json.to_vec(),
        };
        Ok(Response::new(streams::in_pieces(caller, case, piece)))
    }

    async fn report(&self, request: Request<v1::GetVerdictRequest>) -> Answer<Self::ReportStream> {
        let (caller, v1::GetVerdictRequest { id }) = guard::let_in(request)?;
        let none = no_verdict(&id);
        let found = self.read(move |store| {
            let known = (store.verdict(&id)?, store.raised(&id)?, store.case(&id)?);
            Ok(known)
        });
        let (verdict, raised, case) = found.await?;
        let verdict = verdict.ok_or(none)?;
        let made = web::report(&verdict, raised, case.as_deref(), clock::now_us());
        let html = made.map_err(Status::internal)?.into_bytes();
        let piece = |html: &[u8]| v1::ReportPiece {
            html: html.to_vec(),
        };
        Ok(Response::new(streams::in_pieces(caller, html, piece)))
    }

    async fn coverage(
        &self,
        request: Request<v1::CoverageRequest>,
    ) -> Answer<v1::CoverageResponse> {
        let name = ServiceName(let_in(request)?.service);
        let wanted = name.clone();
        let outlook = self.engine.ask(|reply| Event::Outlook(wanted, reply));
        let outlook = outlook.await?;
        let not_probed = unprobed::of_service(&self.engine, name).await?;
        let seen = move || {
            let parts = coverage::coverage(&outlook, &not_probed);
            view::coverage(parts, &outlook)
        };
        let seen = tokio::task::spawn_blocking(seen).await;
        let seen = seen.map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(seen))
    }

    async fn mended(&self, request: Request<v1::MendedRequest>) -> Answer<v1::MendedResponse> {
        let v1::MendedRequest { verdict, since } = let_in(request)?;
        let begin = wire::begin(since);
        let answer = mended::mended(&self.engine, &self.store, verdict, begin).await?;
        Ok(Response::new(wire::response(answer)))
    }

    async fn make_silence(&self, request: Request<v1::MakeSilenceRequest>) -> Answer<v1::Silence> {
        let (caller, request) = guard::let_in(request)?;
        let act = caller.act(Call::MakeSilence, &request.service);
        let notifier = self.notifier.clone();
        let make = |act| async move {
            let wish = silence::wish(request, caller.name)?;
            Ok(silence::view(notifier.silence(wish, act).await?))
        };
        Ok(Response::new(self.recorded(act, make).await?))
    }

    async fn list_silences(
        &self,
        request: Request<v1::ListSilencesRequest>,
    ) -> Answer<v1::ListSilencesResponse> {
        let_in(request)?;
        let silences = self.notifier.silences().await?.into_iter();
        Ok(Response::new(v1::ListSilencesResponse {
            silences: silences.map(silence::view).collect(),
        }))
    }

    async fn end_silence(
        &self,
        request: Request<v1::EndSilenceRequest>,
    ) -> Answer<v1::EndSilenceResponse> {
        let (caller, v1::EndSilenceRequest { id }) = guard::let_in(request)?;
        let id = view::shortened(id);
        let (act, notifier) = (caller.act(Call::EndSilence, &id), self.notifier.clone());
        let end = |act| async move { Ok(notifier.unsilence(id, act).await?) };
        self.recorded(act, end).await?;
        Ok(Response::new(v1::EndSilenceResponse {}))
    }

    async fn try_notify(
        &self,
        request: Request<v1::TryNotifyRequest>,
    ) -> Answer<v1::TryNotifyResponse> {
        let (caller, v1::TryNotifyRequest { receiver }) = guard::let_in(request)?;
        let receiver = view::shortened(receiver);
        let act = caller.act(Call::TryNotify, &receiver);
        self.operators.begun(act).await?;
        self.notifier.trial(receiver).await?;
        Ok(Response::new(v1::TryNotifyResponse {}))
    }

    async fn backup(&self, request: Request<v1::BackupRequest>) -> Answer<Self::BackupStream> {
        let (caller, _) = guard::let_in(request)?;
        let act = caller.act(Call::Backup, "");
        self.operators.begun(act).await?;
        let stream = backup::stream(self.store.clone(), self.operators.clone(), caller);
        Ok(Response::new(stream))
    }

    async fn create_operator(
        &self,
        request: Request<v1::CreateOperatorRequest>,
    ) -> Answer<v1::OperatorCertificate> {
        let (caller, request) = guard::let_in(request)?;
        let role = operators::role(request.role());
        let name = view::shortened(request.name);
        let act = caller.act(Call::CreateOperator, &operators::with_role(&name, &role));
        let registry = self.operators.clone();
        let create = |act| async move {
            let csr_pem = view::signing_request(request.csr_pem)?;
            Ok(registry.create(act, name, role?, csr_pem).await?)
        };
        let made = self.recorded(act, create).await?;
        Ok(Response::new(self.certificate(made)))
    }

    async fn list_operators(
        &self,
        request: Request<v1::ListOperatorsRequest>,
    ) -> Answer<v1::ListOperatorsResponse> {
        let_in(request)?;
        let now_us = clock::now_us();
        let known = self.operators.list().into_iter();
        Ok(Response::new(v1::ListOperatorsResponse {
            operators: known.map(|one| operators::identity(one, now_us)).collect(),
        }))
    }

    async fn change_operator(
        &self,
        request: Request<v1::ChangeOperatorRequest>,
    ) -> Answer<v1::OperatorIdentity> {
        let (caller, request) = guard::let_in(request)?;
        let role = operators::role(request.role());
        let name = view::shortened(request.name);
        let act = caller.act(Call::ChangeOperator, &operators::with_role(&name, &role));
        let registry = self.operators.clone();
        let assign = |act| async move { Ok(registry.assign(act, name, role?).await?) };
        let changed = self.recorded(act, assign).await?;
        Ok(Response::new(operators::identity(changed, clock::now_us())))
    }

    async fn revoke_operator(
        &self,
        request: Request<v1::RevokeOperatorRequest>,
    ) -> Answer<v1::OperatorIdentity> {
        let (caller, v1::RevokeOperatorRequest { name }) = guard::let_in(request)?;
        let name = view::shortened(name);
        let act = caller.act(Call::RevokeOperator, &name);
        let registry = self.operators.clone();
        let revoke = |act| async move { Ok(registry.revoke(act, name).await?) };
        let revoked = self.recorded(act, revoke).await?;
        Ok(Response::new(operators::identity(revoked, clock::now_us())))
    }

    async fn renew_operator(
        &self,
        request: Request<v1::RenewOperatorRequest>,
    ) -> Answer<v1::OperatorCertificate> {
        let (caller, request) = guard::let_in(request)?;
        let act = caller.act(Call::RenewOperator, &caller.name);
        let registry = self.operators.clone();
        let renew = |act| async move {
            let csr_pem = view::signing_request(request.csr_pem)?;
            Ok(registry.renew(act, caller, csr_pem).await?)
        };
        let made = self.recorded(act, renew).await?;
        Ok(Response::new(self.certificate(made)))
    }

    async fn list_acts(
        &self,
        request: Request<v1::ListActsRequest>,
    ) -> Answer<v1::ListActsResponse> {
        let wanted = acts::wanted(let_in(request)?, clock::now_us());
        let found = self.read(move |store| store.acts(&wanted)).await?;
        Ok(Response::new(v1::ListActsResponse {
            acts: found.into_iter().map(acts::wire).collect(),
        }))
    }

    async fn verify_acts(
        &self,
        request: Request<v1::VerifyActsRequest>,
    ) -> Answer<v1::VerifyActsResponse> {
        let kept = acts::kept(let_in(request)?);
        let chain = self
            .read(move |store| store.verify_acts(kept.as_ref()))
            .await?;
        Ok(Response::new(acts::verified(chain)))
    }
}

impl OperatorsService {
    /// Does what an operator asks, to its end although nobody may wait for it any more; what is refused of it is
    /// written down as well.
    async fn recorded<T, F>(&self, act: Act, asked: impl FnOnce(Act) -> F) -> Result<T, Status>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Status>> + Send + 'static,
    {
        let (operators, asked) = (self.operators.clone(), asked(act.clone()));
        let done = tokio::spawn(async move {
            let done = asked.await;
            // Of what was under way when the coordinator went down nobody knows more than the store.
            let refused = done.as_ref().err().map(Status::code);
            if let Some(code) = refused.filter(|code| *code != Code::Unavailable) {
                operators.refused(act, code).await;
            }
            done
        });
        done.await.unwrap_or_else(|_| Err(Refusal::Stopping.into()))
    }

    /// Has the engine do what an operator asks.
    async fn engine_act<T: Send + 'static>(
        &self,
        act: Act,
        event: impl FnOnce(Reply<T>) -> Event + Send + 'static,
    ) -> Result<T, Status> {
        let engine = self.engine.clone();
        let done = |act| async move { Ok(engine.act(act, event).await?) };
        self.recorded(act, done).await
    }

    fn certificate(&self, made: (OperatorRecord, Issued)) -> v1::OperatorCertificate {
        let ca_pem = self.operators.authority_pem().to_owned();
        operators::certificate(made, ca_pem, clock::now_us())
    }

    fn must_know(&self, name: &ServiceName) -> Result<(), Status> {
        if self.engine.knows(name) {
            return Ok(());
        }
        Err(Refusal::UnknownService(name.clone()).into())
    }
}

fn no_verdict(id: &str) -> Status {
    let id = view::shortened(id.to_owned());
    Status::not_found(format!(
        "there is no verdict {id}, or its case is no longer kept; `meshctl verdicts` shows what there is"
    ))
}
