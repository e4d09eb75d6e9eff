//! Who may be an agent: invitations, joining, renewal, revocation, other names, and the end.

use std::time::Duration;

use localize::VantageName;
use proto::token::JoinToken;
use proto::v1::goodbye::Reason;

use super::operators::AgentView;
use super::state::State;
use super::{Presence, Refusal, Reply};
use crate::ca::{self, Issued};
use crate::clock;
use crate::enrolment::{self, Invitation, InviteError, JoinError, Purpose};
use crate::store::{AgentRecord, SecretHash, StoreError, TokenRecord, Use, Write};
use crate::tls::PeerCertificate;

impl State {
    /// The name that whoever shows a certificate of this name has.
    pub(super) fn present_name(&self, name: VantageName) -> VantageName {
        if self.agents.contains_key(&name) {
            return name;
        }
        let mut agents = self.agents.values();
        let renamed = agents.find(|agent| agent.former.contains(&name));
        renamed.map_or(name, |agent| agent.name.clone())
    }

    pub(super) fn accept(
        &self,
        now_us: u64,
        name: &VantageName,
        peer: &PeerCertificate,
        purpose: Purpose,
    ) -> Result<(), Refusal> {
        let agent = self.agents.get(name);
        let grace = self.setup.lifetimes.grace;
        Ok(enrolment::accept(
            agent, peer, name, purpose, grace, now_us,
        )?)
    }

    /// Makes a token; answered with its end, in microseconds of mesh time.
    pub(super) fn invite(
        &mut self,
        now_us: u64,
        invitation: &Invitation,
        reply: Reply<(JoinToken, u64)>,
    ) {
        let secret: [u8; 32] = rand::random();
        let name = invitation.name();
        let connected = self.sessions.contains(name);
        if let Err(refusal) = invitation.permit(connected, self.agents.values()) {
            return reply.send(Err(refusal.into()));
        }
        let mut writes = vec![Write::Token(invitation.token(&secret, now_us))];
        if let Some(agent) = invitation.invited(self.agents.get(name)) {
            writes.push(Write::Agent(agent.clone()));
            self.agents.insert(name.clone(), agent);
            self.happened_to(now_us, name, Presence::Invited);
        }
        let token = JoinToken {
            addresses: self.setup.addresses.clone(),
            ca_sha256: self.setup.authority.fingerprint(),
            name: name.0.clone(),
            secret: hex::encode(secret),
        };
        let expires_us = now_us.saturating_add(invitation.ttl_us());
        self.settle(writes, (token, expires_us), reply);
    }

    pub(super) fn rejoin(
        &mut self,
        now_us: u64,
        name: &VantageName,
        ttl: Duration,
        replace: bool,
        reply: Reply<(JoinToken, u64)>,
    ) {
        let Some(agent) = self.agents.get(name) else {
            return reply.send(Err(Refusal::UnknownAgent(name.clone())));
        };
        match Invitation::again(agent, ttl) {
            Ok(invitation) => self.invite(now_us, &invitation.replacing(replace), reply),
            Err(refusal) => reply.send(Err(refusal.into())),
        }
    }

    pub(super) fn join(
        &mut self,
        now_us: u64,
        secret: &[u8; 32],
        csr_pem: &str,
        version: String,
        reply: Reply<(AgentRecord, Issued)>,
    ) {
        let hash = enrolment::hash(secret);
        let (token, agent, issued, used_for) = match self.joining(now_us, &hash, csr_pem, version) {
            Ok(joining) => joining,
            Err(refusal) => return reply.send(Err(refusal)),
        };
        tracing::info!(agent = %agent.name, serial = issued.serial.0, "joined");
        if token.replace {
            self.end_session(now_us, &agent.name, Reason::Revoked);
        }
        self.agents.insert(agent.name.clone(), agent.clone());
        let writes = match token.used_at_us {
            None => vec![Write::BurnToken {
                secret: hash,
                used_at_us: now_us,
                used_for,
                agent: agent.clone(),
            }],
            // The answer to an earlier attempt was lost.
            Some(_) => vec![
                Write::Token(TokenRecord {
                    used_for: Some(used_for),
                    ..token
                }),
                Write::Agent(agent.clone()),
            ],
        };
        self.settle_with(writes, reply, move |done| match done {
            Ok(()) => Ok((agent, issued)),
            // Two at once with one token: the store lets the first through.
            Err(StoreError::TokenUsed) => Err(Refusal::Join(JoinError::Used {
                at: clock::rfc3339(now_us),
                name: agent.name,
                role: agent.role,
            })),
            Err(error) => Err(error.into()),
        });
    }

    /// What a token would make of whoever sends this request.
    fn joining(
        &self,
        now_us: u64,
        hash: &SecretHash,
        csr_pem: &str,
        version: String,
    ) -> Result<(TokenRecord, AgentRecord, Issued, Use), Refusal> {
        let key_sha256 = ca::key_sha256(csr_pem)?;
        let known = |name: &VantageName| {
            let connected = self.sessions.contains(name);
            (self.agents.get(name), connected)
        };
        let token = enrolment::admit(self.store.token(hash)?, &key_sha256, known, now_us)?;
        let identity = proto::identity::Identity::Agent(token.name.0.clone());
        let (lifetimes, authority) = (self.setup.lifetimes, &self.setup.authority);
        let issued = authority.issue_requested(&identity, csr_pem, now_us, lifetimes.agent)?;
        let known = self.agents.get(&token.name);
        let agent = enrolment::enrolled(&token, known, &issued, version, now_us, lifetimes.grace);
        let serial = issued.serial.0.clone();
        let used_for = Use { key_sha256, serial };
        Ok((token, agent, issued, used_for))
    }

    pub(super) fn renew(
        &mut self,
        now_us: u64,
        peer: &PeerCertificate,
        name: &VantageName,
        csr_pem: &str,
        reply: Reply<Issued>,
    ) {
        let name = &self.present_name(name.clone());
        let authority = &self.setup.authority;
        let identity = proto::identity::Identity::Agent(name.0.clone());
        let lifetimes = self.setup.lifetimes;
        let issued = self
            .accept(now_us, name, peer, Purpose::Renewal)
            .and_then(|()| {
                Ok(authority.issue_requested(&identity, csr_pem, now_us, lifetimes.agent)?)
            });
        let issued = match issued {
            Ok(issued) => issued,
            Err(refusal) => return reply.send(Err(refusal)),
        };
        let Some(agent) = self.agents.get_mut(name) else {
            return reply.send(Err(Refusal::UnknownAgent(name.clone())));
        };
        enrolment::recognise(agent, peer);
        enrolment::certified(agent, &issued, now_us, lifetimes.grace);
        let write = Write::Agent(agent.clone());
        if let Some(session) = self.sessions.get_mut(name) {
            session.not_after_us = session.not_after_us.max(issued.not_after_us);
        }
        tracing::info!(agent = %name, serial = issued.serial.0, "renewed");
        self.settle(vec![write], issued, reply);
    }

    pub(super) fn revoke(&mut self, now_us: u64, name: &VantageName, reply: Reply<AgentView>) {
        let Some(agent) = self.agents.get_mut(name) else {
            return reply.send(Err(Refusal::UnknownAgent(name.clone())));
        };
        enrolment::revoke(agent);
        let write = Write::Agent(agent.clone());
        if self.sessions.contains(name) {
            self.end_session(now_us, name, Reason::Revoked);
        } else {
            self.happened_to(now_us, name, Presence::Revoked);
        }
        match self.agent_view(name) {
            Ok(view) => self.settle(vec![write], view, reply),
            Err(refusal) => reply.send(Err(refusal)),
        }
    }

    /// Gives an agent another name. Its certificates and its spool go on under the old one until it
    /// renews; what the watch has learnt of it begins anew.
    pub(super) fn rename(
        &mut self,
        now_us: u64,
        from: &VantageName,
        to: String,
        reply: Reply<AgentView>,
    ) {
        let to = match self.free_name(from, to) {
            Ok(to) => to,
            Err(refusal) => return reply.send(Err(refusal)),
        };
        self.end_session(now_us, from, Reason::Unspecified);
        let Some(mut agent) = self.agents.remove(from) else {
            return reply.send(Err(Refusal::UnknownAgent(from.clone())));
        };
        agent.name.clone_from(&to);
        agent.former.retain(|former| *former != to);
        agent.former.push(from.clone());
        self.agents.insert(to.clone(), agent.clone());
        if let Some(seen) = self.seen_through.remove(from) {
            self.seen_through.insert(to.clone(), seen);
        }
        for service in self.services.values_mut() {
            service.recent.rename(from, &to);
            service.traces.rename(from, &to);
            service.record.learnt.proven.rename(from, &to);
            service.dirty = true;
        }
        self.reports.rename(from, &to);
        self.outside.given.rename(from, &to);
        let write = Write::RenameAgent {
            from: from.clone(),
            agent,
        };
        match self.agent_view(&to) {
            Ok(view) => self.settle(vec![write], view, reply),
            Err(refusal) => reply.send(Err(refusal)),
        }
    }

    /// A name that an agent can have in the place of its own.
    fn free_name(&self, from: &VantageName, to: String) -> Result<VantageName, Refusal> {
        let Some(agent) = self.agents.get(from) else {
            return Err(Refusal::UnknownAgent(from.clone()));
        };
        if !enrolment::is_name(&to) {
            return Err(InviteError::Name(to).into());
        }
        let to = VantageName(to);
        if self.agents.contains_key(&to) {
            return Err(InviteError::Taken(to).into());
        }
        if agent.former.len() >= FORMER_NAMES {
            return Err(Refusal::TooManyNames(from.clone()));
        }
        let mut others = self.agents.values().filter(|other| other.name != *from);
        match others.find(|other| other.former.contains(&to)) {
            None => Ok(to),
            Some(other) => Err(InviteError::Former {
                former: to,
                name: other.name.clone(),
            }
            .into()),
        }
    }

    /// Forgets an agent with all that was observed from it.
    pub(super) fn delete_agent(&mut self, now_us: u64, name: &VantageName, reply: Reply<()>) {
        if !self.agents.contains_key(name) {
            return reply.send(Err(Refusal::UnknownAgent(name.clone())));
        }
        self.end_session(now_us, name, Reason::Revoked);
        self.agents.remove(name);
        self.seen_through.remove(name);
        for service in self.services.values_mut() {
            service.recent.forget(name);
            service.traces.forget(name);
            service.version += 1;
        }
        self.reports.forget(name);
        self.outside.given.forget(name);
        self.settle(vec![Write::DeleteAgent(name.clone())], (), reply);
    }
}

/// Former names of one agent: each is looked through whenever an agent connects by a name that is none.
const FORMER_NAMES: usize = 16;
