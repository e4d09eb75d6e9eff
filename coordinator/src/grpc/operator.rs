//! The operators' service.

use std::time::Duration;

use localize::{Role, ServiceName, VantageName, Verdict};
use proto::v1;
use proto::v1::operator_server::Operator;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{backup, check as wire_check, guard, mended as wire, operators, silence, view};
use crate::ca::Issued;
use crate::check;
use crate::clock;
use crate::coverage;
use crate::engine::{Event, Handle, Refusal};
use crate::enrolment::Invitation;
use crate::localisation::{Localiser, Wish};
use crate::mended;
use crate::notify;
use crate::operators::{Caller, Registry};
use crate::store::{OperatorRecord, RaisedRecord, Store, StoreError};
use crate::unprobed;
use crate::web;

/// Messages that wait for a slow reader of a stream; what makes them waits then.
const STREAM: usize = 16;
/// Bytes of a case or a report in one message: well under the limit of a message.
const PIECE: usize = 256 << 10;
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
        let request = let_in(request)?;
        let role = Role::try_from(request.role()).map_err(view::malformed)?;
        let invitation = Invitation::new(
            request.name,
            role,
            none_if_empty(request.host),
            request.labels.into_iter().collect(),
            Duration::from_secs(request.ttl_seconds),
        )
        .map_err(Refusal::from)?
        .replacing(request.replace);
        let invite = self.engine.ask(|reply| Event::Invite(invitation, reply));
        Ok(Response::new(view::token(invite.await?)))
    }

    async fn rejoin_agent(
        &self,
        request: Request<v1::RejoinAgentRequest>,
    ) -> Answer<v1::CreateTokenResponse> {
        let request = let_in(request)?;
        let rejoin = self.engine.ask(|reply| Event::Rejoin {
            name: VantageName(request.name),
            ttl: Duration::from_secs(request.ttl_seconds),
            replace: request.replace,
            reply,
        });
        Ok(Response::new(view::token(rejoin.await?)))
    }

    async fn rename_agent(&self, request: Request<v1::RenameAgentRequest>) -> Answer<v1::Agent> {
        let v1::RenameAgentRequest { from, to } = let_in(request)?;
        let from = VantageName(from);
        let rename = self.engine.ask(|reply| Event::Rename { from, to, reply });
        Ok(Response::new(view::agent(rename.await?)))
    }

    async fn delete_agent(
        &self,
        request: Request<v1::DeleteAgentRequest>,
    ) -> Answer<v1::DeleteAgentResponse> {
        let name = VantageName(let_in(request)?.name);
        let delete = self.engine.ask(|reply| Event::DeleteAgent(name, reply));
        delete.await?;
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
        let name = VantageName(let_in(request)?.name);
        let agent = self.engine.ask(|reply| Event::Revoke(name, reply)).await?;
        Ok(Response::new(view::agent(agent)))
    }

    async fn apply_service(
        &self,
        request: Request<v1::ApplyServiceRequest>,
    ) -> Answer<v1::ApplyServiceResponse> {
        let v1::ApplyServiceRequest { toml, ca_pem } = view::service_file(let_in(request)?)?;
        let apply = self.engine.ask(|reply| Event::Apply {
            toml,
            ca_pem,
            reply,
        });
        let (name, result) = view::applied(apply.await?);
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
        let name = ServiceName(let_in(request)?.name);
        self.engine.ask(|reply| Event::Delete(name, reply)).await?;
        Ok(Response::new(v1::DeleteServiceResponse {}))
    }

    async fn check_service(
        &self,
        request: Request<v1::CheckServiceRequest>,
    ) -> Answer<v1::CheckServiceResponse> {
        let subject = wire_check::subject(let_in(request)?)?;
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
        let wish = Wish::new(
            ServiceName(request.service),
            Duration::from_millis(request.budget_ms),
            Duration::from_millis(request.since_ms),
        );
        let (events, stream) = mpsc::channel(STREAM);
        let run = self.localiser.begin(wish).await?;
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
        let mut happenings = self.engine.watch();
        let (events, stream) = mpsc::channel(STREAM);
        let (operators, last) = (self.operators.clone(), events.clone());
        let forward = async move {
            loop {
                let event = match happenings.recv().await {
                    Ok(happening) if !view::concerns(&happening, &service) => continue,
                    Ok(happening) => Ok(view::happening(&happening)),
                    Err(RecvError::Closed) => Err(Refusal::Stopping.into()),
                    Err(RecvError::Lagged(missed)) => Err(Status::data_loss(format!(
                        "{missed} events were missed, because they were read too slowly; watch again"
                    ))),
                };
                let last = event.is_err();
                if events.send(event).await.is_err() || last {
                    return;
                }
            }
        };
        tokio::spawn(async move {
            tokio::select! {
                () = caller.rights.cancelled() => {
                    let _ = last.try_send(Err(guard::over(&operators, &caller)));
                }
                () = forward => {}
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
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
        Ok(Response::new(in_pieces(caller, case, piece)))
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
        Ok(Response::new(in_pieces(caller, html, piece)))
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
        let every = outlook.every;
        let parts = move || coverage::coverage(&outlook, &not_probed);
        let parts = tokio::task::spawn_blocking(parts).await;
        let parts = parts.map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(view::coverage(parts, every)))
    }

    async fn mended(&self, request: Request<v1::MendedRequest>) -> Answer<v1::MendedResponse> {
        let v1::MendedRequest { verdict, since } = let_in(request)?;
        let begin = wire::begin(since);
        let answer = mended::mended(&self.engine, &self.store, verdict, begin).await?;
        Ok(Response::new(wire::response(answer)))
    }

    async fn make_silence(&self, request: Request<v1::MakeSilenceRequest>) -> Answer<v1::Silence> {
        let (caller, request) = guard::let_in(request)?;
        let wish = silence::wish(request, caller.name)?;
        let made = self.notifier.silence(wish).await?;
        Ok(Response::new(silence::view(made)))
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
        let id = view::shortened(let_in(request)?.id);
        self.notifier.unsilence(id).await?;
        Ok(Response::new(v1::EndSilenceResponse {}))
    }

    async fn try_notify(
        &self,
        request: Request<v1::TryNotifyRequest>,
    ) -> Answer<v1::TryNotifyResponse> {
        let receiver = view::shortened(let_in(request)?.receiver);
        self.notifier.trial(receiver).await?;
        Ok(Response::new(v1::TryNotifyResponse {}))
    }

    async fn backup(&self, request: Request<v1::BackupRequest>) -> Answer<Self::BackupStream> {
        let (caller, _) = guard::let_in(request)?;
        let stream = backup::stream(self.store.clone(), self.operators.clone(), caller);
        Ok(Response::new(stream))
    }

    async fn create_operator(
        &self,
        request: Request<v1::CreateOperatorRequest>,
    ) -> Answer<v1::OperatorCertificate> {
        let (caller, request) = guard::let_in(request)?;
        let role = operators::role(request.role())?;
        let csr_pem = view::signing_request(request.csr_pem)?;
        let name = view::shortened(request.name);
        let made = self.operators.create(&caller, name, role, csr_pem).await?;
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
        let request = let_in(request)?;
        let role = operators::role(request.role())?;
        let name = view::shortened(request.name);
        let changed = self.operators.assign(name, role).await?;
        Ok(Response::new(operators::identity(changed, clock::now_us())))
    }

    async fn revoke_operator(
        &self,
        request: Request<v1::RevokeOperatorRequest>,
    ) -> Answer<v1::OperatorIdentity> {
        let name = view::shortened(let_in(request)?.name);
        let revoked = self.operators.revoke(name).await?;
        Ok(Response::new(operators::identity(revoked, clock::now_us())))
    }

    async fn renew_operator(
        &self,
        request: Request<v1::RenewOperatorRequest>,
    ) -> Answer<v1::OperatorCertificate> {
        let (caller, request) = guard::let_in(request)?;
        let csr_pem = view::signing_request(request.csr_pem)?;
        let made = self.operators.renew(&caller, csr_pem).await?;
        Ok(Response::new(self.certificate(made)))
    }
}

impl OperatorsService {
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

/// Sends something long, as fast as it is read.
fn in_pieces<T: Send + 'static>(
    caller: Caller,
    bytes: Vec<u8>,
    piece: impl Fn(&[u8]) -> T + Send + 'static,
) -> ReceiverStream<Result<T, Status>> {
    let (pieces, stream) = mpsc::channel(STREAM);
    tokio::spawn(async move {
        for bytes in bytes.chunks(PIECE) {
            let sent = tokio::select! {
                () = caller.rights.cancelled() => return,
                sent = pieces.send(Ok(piece(bytes))) => sent,
            };
            if sent.is_err() {
                return;
            }
        }
    });
    ReceiverStream::new(stream)
}

fn no_verdict(id: &str) -> Status {
    let id = view::shortened(id.to_owned());
    Status::not_found(format!(
        "there is no verdict {id}, or its case is no longer kept; `meshctl verdicts` shows what there is"
    ))
}
