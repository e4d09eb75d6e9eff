//! What `meshctl localize -o json` says, as far as the lab judges it: the promise to users, read from
//! the text and not from the programs' own types.

use serde::Deserialize;

/// The kinds of component, as the JSON spells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A vantage point's own access network, or its agent.
    ClientNetwork,
    /// A recursive resolver.
    Resolver,
    /// The zone or one of its name servers.
    AuthoritativeDns,
    /// One edge, or the provider of all.
    Cdn,
    /// Between an edge and the balancer.
    CdnOriginPath,
    /// What stands behind the edges, or behind the name, and was not declared.
    Origin,
    /// The balancer.
    LoadBalancer,
    /// From the balancer to one backend.
    LbBackendPath,
    /// Host or application of one backend.
    Backend,
    /// Answers that leave a host and do not arrive.
    ReturnPath,
}

impl Kind {
    /// The kind as the JSON spells it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::ClientNetwork => "client_network",
            Kind::Resolver => "resolver",
            Kind::AuthoritativeDns => "authoritative_dns",
            Kind::Cdn => "cdn",
            Kind::CdnOriginPath => "cdn_origin_path",
            Kind::Origin => "origin",
            Kind::LoadBalancer => "load_balancer",
            Kind::LbBackendPath => "lb_backend_path",
            Kind::Backend => "backend",
            Kind::ReturnPath => "return_path",
        }
    }
}

/// The conclusion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing is wrong.
    Healthy,
    /// Somebody is named.
    Fault,
    /// It cannot be told.
    Inconclusive,
}

/// A component that is blamed.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Blamed {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What it does wrong.
    pub mode: String,
    /// How sure the verdict is, from 0 to 1.
    pub confidence: f64,
    /// Whether users feel it.
    pub user_impact: bool,
    /// How it goes on: steady, in bursts, periodic, by flow.
    #[serde(default)]
    pub pattern: String,
    /// How often it fails what crosses it.
    pub rate: Rate,
    /// One sentence for the person on call.
    pub summary: String,
    /// Why.
    #[serde(default)]
    pub evidence: Vec<Line>,
}

/// A line of evidence.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Line {
    /// In words.
    pub text: String,
}

/// A rate, as a share of one.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Rate {
    /// The best guess.
    pub estimate: f64,
}

/// A component that may be at fault.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Candidate {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What it would do wrong.
    pub mode: String,
    /// Its probability.
    pub confidence: f64,
}

/// An arm of which nothing is known.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct NotProbed {
    /// The vantage point.
    pub vantage: String,
}

/// A verdict. Fields that the lab does not judge are left out.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Said {
    /// Names the verdict in `meshctl explain`.
    pub id: String,
    /// The conclusion.
    pub outcome: Outcome,
    /// The blamed.
    pub faults: Vec<Blamed>,
    /// The candidates.
    pub alternatives: Vec<Candidate>,
    /// What nothing is known of, and why.
    #[serde(default)]
    pub not_probed: Vec<NotProbed>,
    /// Probability of something that no component explains.
    #[serde(default)]
    pub unknown: f64,
    /// What would tell apart what cannot be told apart.
    pub ask: Vec<String>,
    /// Probes that were fired.
    pub probes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_read_with_kinds_that_the_programs_need_not_know() {
        let text = r#"{ "schema": 1, "service": "shop.example", "id": "v-1", "outcome": "fault",
            "faults": [ { "kind": "origin", "name": "shop.example", "mode": "http_5xx",
                "confidence": 0.9, "user_impact": true,
                "rate": {"estimate": 0.5, "low": 0.4, "high": 0.6}, "summary": "It fails.", "more": [] } ],
            "alternatives": [ { "kind": "cdn", "name": "a", "mode": "slow", "confidence": 0.1 } ],
            "ask": ["declare [load_balancer]"], "probes": 12 }"#;
        let said: Said = serde_json::from_str(text).unwrap();
        assert_eq!(said.faults[0].kind, Kind::Origin);
        assert_eq!(said.alternatives[0].kind, Kind::Cdn);
        assert_eq!((said.outcome, said.probes), (Outcome::Fault, 12));
    }
}
