//! Who is connected, by name and by session.

use std::collections::BTreeMap;

use localize::VantageName;

use super::SessionId;
use super::agents::Session;

/// The sessions of all connected agents, one each.
#[derive(Default)]
pub(super) struct Sessions {
    by_name: BTreeMap<VantageName, Session>,
    names: BTreeMap<SessionId, VantageName>,
}

impl Sessions {
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub(super) fn contains(&self, name: &VantageName) -> bool {
        self.by_name.contains_key(name)
    }

    /// The connected agents, by name.
    pub(super) fn names(&self) -> impl Iterator<Item = &VantageName> {
        self.by_name.keys()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&VantageName, &Session)> {
        self.by_name.iter()
    }

    pub(super) fn get(&self, name: &VantageName) -> Option<&Session> {
        self.by_name.get(name)
    }

    pub(super) fn get_mut(&mut self, name: &VantageName) -> Option<&mut Session> {
        self.by_name.get_mut(name)
    }

    /// Whose session it is; `None` when it was ended from here.
    pub(super) fn name(&self, id: SessionId) -> Option<&VantageName> {
        self.names.get(&id)
    }

    /// Adds the session of an agent that has none.
    pub(super) fn insert(&mut self, name: VantageName, session: Session) {
        self.names.insert(session.id, name.clone());
        self.by_name.insert(name, session);
    }

    pub(super) fn remove(&mut self, name: &VantageName) -> Option<Session> {
        let session = self.by_name.remove(name)?;
        self.names.remove(&session.id);
        Some(session)
    }
}
