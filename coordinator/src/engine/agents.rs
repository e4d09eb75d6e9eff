//! Agents: their sessions, and what they say besides facts.

use localize::VantageName;
use proto::v1::coordinator_message::Message;
use proto::v1::goodbye::Reason;
use proto::v1::{CoordinatorMessage, Discover, Goodbye, Moved, Welcome};

use super::state::State;
use super::{
    ClockEstimate, Host, Link, Opened, Opening, Presence, Reconfigured, Refusal, Said, SessionId,
    Unasked, publicness,
};
use crate::enrolment::{self, Purpose};
use crate::plan;
use crate::store::{AgentRecord, AgentState, Write};

/// Name servers are asked for this often, in microseconds: delegations change in days.
const DISCOVER_EVERY_US: u64 = 10 * 60 * 1_000_000;
/// And again this soon while none are known.
const DISCOVER_AGAIN_US: u64 = 30 * 1_000_000;

/// The one session of an agent.
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) link: Link,
    /// End of the newest certificate that the agent has fetched, in microseconds.
    pub(super) not_after_us: u64,
    pub(super) host: Host,
    pub(super) clock: ClockEstimate,
}

impl Session {
    /// Puts a message on its way; false when the agent is too slow or gone.
    fn send(&self, message: Message) -> bool {
        let message = CoordinatorMessage {
            message: Some(message),
        };
        self.link.outgoing.try_send(Ok(message)).is_ok()
    }
}

impl State {
    pub(super) fn connect(&mut self, now_us: u64, opening: Opening) -> Result<Opened, Refusal> {
        let Opening {
            peer,
            name,
            version,
            host,
            link,
        } = opening;
        let name = self.present_name(name);
        self.accept(now_us, &name, &peer, Purpose::Session)?;
        if self.sessions.contains(&name) {
            self.end_session(now_us, &name, Reason::Replaced);
        }
        self.session_count += 1;
        let id = SessionId(self.session_count);
        let session = Session {
            id,
            link,
            not_after_us: peer.not_after_us,
            host: Host::default(),
            clock: ClockEstimate::default(),
        };
        session.send(Message::Welcome(Welcome {
            coordinator_version: env!("CARGO_PKG_VERSION").to_owned(),
            name: name.0.clone(),
            durable_through: self.store.durable_through(&name).unwrap_or(0),
            addresses: self.setup.advertised.clone(),
        }));
        for service in self.services.values() {
            session.send(Message::Service(plan::spec(&service.file)));
        }
        self.sessions.insert(name.clone(), session);
        let mut former = Vec::new();
        if let Some(agent) = self.agents.get_mut(&name) {
            enrolment::recognise(agent, &peer);
            agent.version = version;
            former.clone_from(&agent.former);
        }
        self.host_changed(now_us, &name, host);
        self.happened_to(now_us, &name, Presence::Connected);
        Ok(Opened { id, name, former })
    }

    pub(super) fn gone(&mut self, now_us: u64, id: SessionId) {
        let Some(name) = self.sessions.name(id).cloned() else {
            // It was ended from here.
            return;
        };
        self.sessions.remove(&name);
        self.left(now_us, &name, Presence::Disconnected);
    }

    /// Ends the session of an agent, with a last word.
    pub(super) fn end_session(&mut self, now_us: u64, name: &VantageName, reason: Reason) {
        let Some(session) = self.sessions.remove(name) else {
            return;
        };
        session.send(Message::Goodbye(Goodbye {
            reason: reason.into(),
        }));
        session.link.end.cancel();
        let presence = match reason {
            Reason::Revoked => Presence::Revoked,
            Reason::Replaced
            | Reason::ShuttingDown
            | Reason::CertificateExpired
            | Reason::Unspecified => Presence::Disconnected,
        };
        self.left(now_us, name, presence);
    }

    fn left(&mut self, now_us: u64, name: &VantageName, presence: Presence) {
        if let Some(agent) = self.agents.get_mut(name) {
            agent.last_seen_us = Some(now_us);
            let write = Write::Agent(agent.clone());
            self.note(vec![write]);
        }
        self.happened_to(now_us, name, presence);
        self.expect_nothing_of(now_us, name);
    }

    /// Sends a message to an agent; one that does not keep up loses its session, and its spool keeps
    /// what it has.
    pub(super) fn send(&mut self, now_us: u64, name: &VantageName, message: Message) {
        let slow = self.sessions.get(name).is_some_and(|s| !s.send(message));
        if slow {
            tracing::warn!(agent = %name, "too slow or gone; its session ends");
            self.end_session(now_us, name, Reason::Unspecified);
        }
    }

    pub(super) fn send_to_all(&mut self, now_us: u64, message: &Message) {
        let names: Vec<VantageName> = self.sessions.names().cloned().collect();
        for name in names {
            self.send(now_us, &name, message.clone());
        }
    }

    pub(super) fn heard(&mut self, now_us: u64, id: SessionId, said: Said) {
        let Some(name) = self.sessions.name(id).cloned() else {
            return;
        };
        match said {
            Said::Clock(clock) => {
                if let Some(session) = self.sessions.get_mut(&name) {
                    session.clock = clock;
                }
            }
            Said::Host(host) => self.host_changed(now_us, &name, host),
            Said::Refused { round, why } => {
                self.refused(now_us, round, &name, &why);
            }
            Said::Found {
                service,
                name_servers,
                zone,
            } => {
                if self.check_found(now_us, (&service, &name), &name_servers, &zone) {
                    return;
                }
                let known = self.services.get_mut(&service);
                if let Some(service) = known.filter(|known| known.finder.as_ref() == Some(&name)) {
                    service.finder = None;
                    let learnt = &mut service.record.learnt;
                    let servers = plan::learn_name_servers(learnt, &name_servers);
                    if plan::learn_zone(learnt, zone) || servers {
                        service.learnt_more(now_us);
                    }
                } else {
                    super::unasked(&self.outside.given, &name, Unasked::Discovery);
                }
            }
        }
    }

    fn host_changed(&mut self, now_us: u64, name: &VantageName, host: Host) {
        if let Some(agent) = self.agents.get_mut(name) {
            agent.addresses.clone_from(&host.addresses);
            agent.resolvers.clone_from(&host.resolvers);
            agent.witness = host.witness;
            agent.witness_trouble.clone_from(&host.witness_trouble);
            agent.last_seen_us = Some(now_us);
            let write = Write::Agent(agent.clone());
            self.note(vec![write]);
        }
        if let Some(session) = self.sessions.get_mut(name) {
            session.host = host;
        }
    }

    /// Takes over what the configuration says from now on, and tells the agents where to.
    pub(super) fn reconfigure(&mut self, now_us: u64, changed: Reconfigured) {
        let Reconfigured {
            lifetimes,
            addresses,
            advertised,
        } = changed;
        self.setup.lifetimes = lifetimes;
        self.setup.addresses = addresses;
        if self.setup.advertised != advertised {
            self.setup.advertised.clone_from(&advertised);
            self.send_to_all(
                now_us,
                &Message::Moved(Moved {
                    addresses: advertised,
                }),
            );
        }
    }

    /// The connected agent that sees best what the public sees.
    pub(super) fn most_public(&self) -> Option<VantageName> {
        let connected = self.sessions.names();
        let agents = connected.filter_map(|name| self.agents.get(name));
        let first = agents.min_by_key(|agent| (publicness(agent.role), &agent.name));
        first.map(|agent| agent.name.clone())
    }

    /// Asks one agent for the name servers of each service where they are not declared.
    pub(super) fn discover_due(&mut self, now_us: u64) {
        let Some(name) = self.most_public() else {
            return;
        };
        let mut questions = Vec::new();
        for (service, known) in &mut self.services {
            if known.file.name_servers.is_empty() && now_us >= known.discover_us {
                let none = known.record.learnt.name_servers.is_empty();
                let pause = if none {
                    DISCOVER_AGAIN_US
                } else {
                    DISCOVER_EVERY_US
                };
                known.discover_us = now_us + pause;
                known.finder = Some(name.clone());
                questions.push(Message::Discover(Discover {
                    service: service.0.clone(),
                    host: known.file.url.host.clone(),
                }));
            }
        }
        for question in questions {
            self.send(now_us, &name, question);
        }
    }

    /// Ends the sessions whose certificate has ended and was not renewed, and those whose call was
    /// given up before it was answered.
    pub(super) fn end_expired(&mut self, now_us: u64) {
        let expired =
            |session: &Session| session.not_after_us <= now_us || session.link.outgoing.is_closed();
        let names: Vec<VantageName> = self
            .sessions
            .iter()
            .filter(|(_, session)| expired(session))
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            self.end_session(now_us, &name, Reason::CertificateExpired);
        }
    }

    pub(super) fn presence(&self, agent: &AgentRecord) -> Presence {
        match agent.state {
            AgentState::Invited => Presence::Invited,
            AgentState::Revoked => Presence::Revoked,
            AgentState::Enrolled if self.sessions.contains(&agent.name) => Presence::Connected,
            AgentState::Enrolled => Presence::Disconnected,
        }
    }
}
