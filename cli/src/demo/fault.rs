//! What can be broken, and what the verdict must then say.

use localize::{Kind, Verdict, VerdictOutcome};

use super::plan::Plan;

/// A fault of the demonstration's delivery path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is broken.
    None,
    /// home1's resolver answers nothing.
    ResolverDead,
    /// home1's resolver loses 45 % of the questions.
    ResolverLossy,
    /// One name server refuses.
    NameserverRefusing,
    /// One name server hands out an edge address that is no longer in use.
    NameserverStale,
    /// Edge 1 answers 500 by itself.
    Edge500,
    /// Edge 2 takes requests and never answers.
    EdgeStalls,
    /// Both edges reset 30 % of the requests.
    CdnResets,
    /// Edge 1 presents an expired certificate.
    EdgeCertExpired,
    /// Edge 1 cannot connect to the balancer.
    EdgeCannotReachVip,
    /// The balancer does not listen.
    BalancerDead,
    /// The balancer answers 503 by itself.
    Balancer503,
    /// The balancer presents an expired certificate.
    BalancerCertExpired,
    /// web2 answers 500.
    Backend500,
    /// web2 answers 500 one time in five.
    Backend500Sometimes,
    /// web3 takes 1.5 s longer.
    BackendSlow,
    /// web2 takes 300 ms longer.
    BackendSlow300Ms,
    /// web1 does not listen, which the balancer notices.
    BackendClosed,
    /// web3 resets connections after the request.
    BackendResets,
    /// web1 ends bodies half-way.
    BackendTruncates,
    /// web2 serves another page.
    BackendWrongBody,
}

/// What the verdict must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// That nothing is wrong.
    Healthy,
    /// That exactly this component is at fault.
    Fault {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// Whether users feel it, where the verdict must tell.
        user_impact: Option<bool>,
    },
    /// That it is the first of these, or one of both, and what would tell: nothing that the mesh has does.
    Either([(Kind, String); 2]),
}

impl Fault {
    /// All of them, along the path.
    pub const ALL: [Self; 21] = [
        Self::None,
        Self::ResolverDead,
        Self::ResolverLossy,
        Self::NameserverRefusing,
        Self::NameserverStale,
        Self::Edge500,
        Self::EdgeStalls,
        Self::CdnResets,
        Self::EdgeCertExpired,
        Self::EdgeCannotReachVip,
        Self::BalancerDead,
        Self::Balancer503,
        Self::BalancerCertExpired,
        Self::Backend500,
        Self::Backend500Sometimes,
        Self::BackendSlow,
        Self::BackendSlow300Ms,
        Self::BackendClosed,
        Self::BackendResets,
        Self::BackendTruncates,
        Self::BackendWrongBody,
    ];

    /// Those worth a tour: intermittent, masked, or easily blamed on a neighbour.
    pub const TOUR: [Self; 9] = [
        Self::ResolverLossy,
        Self::NameserverRefusing,
        Self::CdnResets,
        Self::EdgeCannotReachVip,
        Self::Balancer503,
        Self::BackendClosed,
        Self::BackendTruncates,
        Self::BackendWrongBody,
        Self::Backend500Sometimes,
    ];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ResolverDead => "resolver-dead",
            Self::ResolverLossy => "resolver-lossy",
            Self::NameserverRefusing => "nameserver-refusing",
            Self::NameserverStale => "nameserver-stale",
            Self::Edge500 => "edge-500",
            Self::EdgeStalls => "edge-stalls",
            Self::CdnResets => "cdn-resets",
            Self::EdgeCertExpired => "edge-cert-expired",
            Self::EdgeCannotReachVip => "edge-cannot-reach-vip",
            Self::BalancerDead => "balancer-dead",
            Self::Balancer503 => "balancer-503",
            Self::BalancerCertExpired => "balancer-cert-expired",
            Self::Backend500 => "backend-500",
            Self::Backend500Sometimes => "backend-500-sometimes",
            Self::BackendSlow => "backend-slow",
            Self::BackendSlow300Ms => "backend-slow-300ms",
            Self::BackendClosed => "backend-closed",
            Self::BackendResets => "backend-resets",
            Self::BackendTruncates => "backend-truncates",
            Self::BackendWrongBody => "backend-wrong-body",
        }
    }

    /// What is broken, in words.
    pub const fn what(self) -> &'static str {
        match self {
            Self::None => "nothing is broken",
            Self::ResolverDead => "home1's resolver answers nothing",
            Self::ResolverLossy => "home1's resolver loses 45% of the questions",
            Self::NameserverRefusing => "name server 1 refuses",
            Self::NameserverStale => "name server 2 hands out the address of a removed edge",
            Self::Edge500 => "edge 1 answers 500 by itself",
            Self::EdgeStalls => "edge 2 takes requests and never answers",
            Self::CdnResets => "both edges reset 30% of the requests",
            Self::EdgeCertExpired => "edge 1 presents an expired certificate",
            Self::EdgeCannotReachVip => "edge 1 gets no connection to the balancer (522)",
            Self::BalancerDead => "the balancer does not listen",
            Self::Balancer503 => "the balancer answers 503 by itself",
            Self::BalancerCertExpired => "the balancer presents an expired certificate",
            Self::Backend500 => "web2 answers 500",
            Self::Backend500Sometimes => "web2 answers 500 one time in five",
            Self::BackendSlow => "web3 takes 1.5 s longer",
            Self::BackendSlow300Ms => "web2 takes 300 ms longer",
            Self::BackendClosed => "web1 does not listen; the balancer goes round it",
            Self::BackendResets => "web3 resets connections after the request",
            Self::BackendTruncates => "web1 ends pages half-way",
            Self::BackendWrongBody => "web2 serves another page",
        }
    }

    /// What the verdict must say.
    pub fn expected(self, plan: &Plan) -> Expected {
        let (kind, name) = match self {
            Self::None => return Expected::Healthy,
            Self::ResolverDead | Self::ResolverLossy => {
                (Kind::Resolver, plan.resolvers[0].ip().to_string())
            }
            Self::NameserverRefusing => (
                Kind::AuthoritativeDns,
                plan.name_servers[0].ip().to_string(),
            ),
            Self::NameserverStale => (
                Kind::AuthoritativeDns,
                plan.name_servers[1].ip().to_string(),
            ),
            Self::Edge500 | Self::EdgeCertExpired => (Kind::Cdn, plan.edges[0].ip().to_string()),
            // As long as a probe waits, an edge that no packet reaches the balancer from looks the same.
            Self::EdgeStalls => {
                let edge = plan.edges[1].ip();
                let path = format!("{edge}->{}", plan.vip);
                return Expected::Either([
                    (Kind::Cdn, edge.to_string()),
                    (Kind::CdnOriginPath, path),
                ]);
            }
            Self::CdnResets => (Kind::Cdn, "cloudflare".to_owned()),
            Self::EdgeCannotReachVip => (
                Kind::CdnOriginPath,
                format!("{}->{}", plan.edges[0].ip(), plan.vip),
            ),
            Self::BalancerDead | Self::Balancer503 | Self::BalancerCertExpired => {
                (Kind::LoadBalancer, plan.vip.to_string())
            }
            Self::BackendClosed | Self::BackendTruncates => (Kind::Backend, "web1".to_owned()),
            Self::Backend500
            | Self::Backend500Sometimes
            | Self::BackendSlow300Ms
            | Self::BackendWrongBody => (Kind::Backend, "web2".to_owned()),
            Self::BackendSlow | Self::BackendResets => (Kind::Backend, "web3".to_owned()),
        };
        Expected::Fault {
            kind,
            name,
            user_impact: (self == Self::BackendClosed).then_some(false),
        }
    }
}

impl Expected {
    /// Whether the verdict says this and nothing else.
    pub fn is_met_by(&self, verdict: &Verdict) -> bool {
        match (self, verdict.outcome, verdict.faults.as_slice()) {
            (Self::Healthy, VerdictOutcome::Healthy, []) => true,
            (
                Self::Fault {
                    kind,
                    name,
                    user_impact,
                },
                VerdictOutcome::Fault,
                [fault],
            ) => {
                fault.component.kind == *kind
                    && fault.component.name == *name
                    && user_impact.is_none_or(|impact| impact == fault.user_impact)
            }
            (Self::Either([(kind, name), _]), VerdictOutcome::Fault, [fault]) => {
                fault.component.kind == *kind && fault.component.name == *name
            }
            (Self::Either(both), VerdictOutcome::Inconclusive, []) => {
                let candidates = verdict.alternatives.iter();
                let candidates = candidates.map(|a| (a.component.kind, &a.component.name));
                candidates.eq(both.iter().map(|(kind, name)| (*kind, name)))
                    && !verdict.ask.is_empty()
            }
            _ => false,
        }
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Healthy => f.write_str("healthy"),
            Self::Fault {
                kind,
                name,
                user_impact,
            } => {
                write!(f, "{} {name}", crate::render::kind(*kind))?;
                match user_impact {
                    Some(false) => f.write_str(", masked"),
                    Some(true) | None => Ok(()),
                }
            }
            Self::Either([one, other]) => {
                let [one, other] = [one, other]
                    .map(|(kind, name)| format!("{} {name}", crate::render::kind(*kind)));
                write!(
                    f,
                    "{one}; or it and {other} as candidates, with what would tell"
                )
            }
        }
    }
}
