//! What people are told of: one fault, from the first verdict that names it until the last of them stands
//! no longer.

use std::collections::BTreeMap;
use std::fmt;

use localize::{Component, Fault, Kind, Verdict};
use proto::words;
use serde::{Deserialize, Serialize};

/// What an incident is about. Alarms of one thing are one incident, so that a dead resolver is told once and
/// not for each service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// A component at fault.
    Fault {
        /// Its kind, as in the verdict's JSON.
        kind: String,
        /// Its name.
        name: String,
        /// The service, where another service's component of the same name is another one.
        service: Option<String>,
    },
    /// Something fails, and the evidence does not tell what.
    Undecided {
        /// Of this service.
        service: String,
        /// The candidate that leads is a vantage point's own network.
        own_network: bool,
    },
}

impl About {
    /// What a verdict that was raised is about: each of its faults, else that nobody knows.
    #[must_use]
    pub fn of(verdict: &Verdict) -> Vec<Self> {
        if verdict.faults.is_empty() {
            let first = verdict.alternatives.first();
            let own = |component: &Component| component.kind == Kind::ClientNetwork;
            return vec![Self::Undecided {
                service: verdict.service.clone(),
                own_network: first.is_some_and(|first| own(&first.component)),
            }];
        }
        let of = |fault: &Fault| Self::fault(&fault.component, &verdict.service);
        verdict.faults.iter().map(of).collect()
    }

    fn fault(component: &Component, service: &str) -> Self {
        Self::Fault {
            kind: words::kind(component.kind).to_owned(),
            name: component.name.clone(),
            service: is_local(component.kind).then(|| service.to_owned()),
        }
    }

    /// Whether a fault of a verdict on this service is the one.
    #[must_use]
    pub fn is(&self, fault: &Fault, service: &str) -> bool {
        *self == Self::fault(&fault.component, service)
    }

    /// Whether a vantage point accuses itself: that is told nobody.
    #[must_use]
    pub fn is_own_network(&self) -> bool {
        match self {
            Self::Fault { kind, .. } => kind == words::kind(Kind::ClientNetwork),
            Self::Undecided { own_network, .. } => *own_network,
        }
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault { kind, name, .. } => write!(f, "{kind} {name}"),
            Self::Undecided { .. } => f.write_str("undecided"),
        }
    }
}

/// Whether components of this kind are named within a service alone. The others go by addresses, or by the
/// names of vantage points.
const fn is_local(kind: Kind) -> bool {
    match kind {
        Kind::Origin | Kind::Backend | Kind::LbBackendPath | Kind::ReturnPath => true,
        Kind::ClientNetwork
        | Kind::Resolver
        | Kind::AuthoritativeDns
        | Kind::Cdn
        | Kind::CdnOriginPath
        | Kind::LoadBalancer => false,
    }
}

/// A verdict by which an incident stands or stood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its id.
    pub verdict: String,
    /// The service that it is on.
    pub service: String,
    /// When it began, as far as the rounds tell, in microseconds of mesh time.
    pub began_us: u64,
    /// When it was found to be over, likewise.
    pub over_us: Option<u64>,
}

/// What one receiver was told, each when, in microseconds of mesh time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Since when it is to be told.
    pub since_us: u64,
    /// Of the beginning.
    pub begun_us: Option<u64>,
    /// Of the end.
    pub over_us: Option<u64>,
    /// It could not be told for so long that nobody tries any more.
    pub given_up: bool,
}

impl Told {
    /// What it is to be told next; `None` where that is all.
    #[must_use]
    pub fn next(&self, is_over: bool) -> Option<Phase> {
        match (self.begun_us, self.over_us) {
            _ if self.given_up => None,
            (None, _) => Some(Phase::Begun),
            (Some(_), None) if is_over => Some(Phase::Over),
            (Some(_), _) => None,
        }
    }
}

/// What is told of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// That it has begun.
    Begun,
    /// That it is over.
    Over,
}

impl Phase {
    /// Its word, in ids and in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Over => "over",
        }
    }
}

/// One thing that people are told of, on disk until everybody has been told of its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// `i-` and ten letters.
    pub id: String,
    /// What it is about.
    pub about: About,
    /// The verdicts, in the order in which they were raised; never empty.
    pub members: Vec<Member>,
    /// When the first was, in microseconds of mesh time.
    pub opened_us: u64,
    /// Whether users feel it.
    pub user_impact: bool,
    /// By the names of receivers: those who are to be told.
    pub told: BTreeMap<String, Told>,
}

impl Incident {
    /// One that a verdict begins.
    #[must_use]
    pub fn new(id: String, about: About, first: Member, now_us: u64, user_impact: bool) -> Self {
        Self {
            id,
            about,
            members: vec![first],
            opened_us: now_us,
            user_impact,
            told: BTreeMap::new(),
        }
    }

    /// Whether no verdict stands any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over_us().is_some()
    }

    /// When the last verdict was found to be over; `None` while one stands.
    #[must_use]
    pub fn over_us(&self) -> Option<u64> {
        let over = self.members.iter().map(|member| member.over_us);
        over.collect::<Option<Vec<u64>>>()?.into_iter().max()
    }

    /// When it began, in microseconds of mesh time.
    #[must_use]
    pub fn began_us(&self) -> u64 {
        let began = self.members.iter().map(|member| member.began_us);
        began.min().unwrap_or(self.opened_us)
    }

    /// The services that it concerns, each once.
    #[must_use]
    pub fn services(&self) -> Vec<&str> {
        let mut services: Vec<&str> = Vec::new();
        for member in &self.members {
            if !services.contains(&member.service.as_str()) {
                services.push(&member.service);
            }
        }
        services
    }
}
