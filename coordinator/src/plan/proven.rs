//! What of a service file probes have borne out: how far each arm has ever come since it was applied.
//!
//! An arm that never came as far as it should may fail for what the file says of it, which no probe can
//! tell from a fault.

use std::collections::BTreeMap;

use localize::declared::Unproven;
use localize::{Arm, Layer, Observation, Scheme, Target, Topology, VantageName};
use proto::v1::service_spec::BackendRequest;
use serde::{Deserialize, Serialize};

use super::{Twins, arms, spec};
use crate::service_file::ServiceFile;

/// Most arms remembered: some ten times what a large service has. What is beyond is not known.
const MAX_ARMS: usize = 4096;

/// How far each arm has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Kept", into = "Kept")]
pub struct Proven {
    /// From when on that is known, in microseconds of mesh time; zero where nothing is.
    since_us: u64,
    /// The last layer that each arm has passed, by vantage point.
    through: BTreeMap<(VantageName, Arm), Layer>,
}

/// As it is stored: keys of a map are text there.
#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    since_us: u64,
    through: Vec<(VantageName, Arm, Layer)>,
}

impl From<Kept> for Proven {
    fn from(kept: Kept) -> Self {
        let through = kept.through.into_iter();
        Self {
            since_us: kept.since_us,
            through: through.map(|(v, a, layer)| ((v, a), layer)).collect(),
        }
    }
}

impl From<Proven> for Kept {
    fn from(proven: Proven) -> Self {
        let through = proven.through.into_iter();
        Self {
            since_us: proven.since_us,
            through: through.map(|((v, a), layer)| (v, a, layer)).collect(),
        }
    }
}

impl Proven {
    /// Nothing as yet, of a file that was applied just now.
    #[must_use]
    pub fn since(now_us: u64) -> Self {
        Self {
            since_us: now_us,
            through: BTreeMap::new(),
        }
    }

    /// A vantage point has another name from now on.
    pub fn rename(&mut self, from: &VantageName, to: &VantageName) {
        let known = std::mem::take(&mut self.through).into_iter();
        let renamed = known.map(|((vantage, arm), layer)| match vantage == *from {
            true => ((to.clone(), arm), layer),
            false => ((vantage, arm), layer),
        });
        self.through = renamed.collect();
    }

    /// Learns from an observation; `true` when an arm has come farther than before.
    pub fn learn(&mut self, observation: &Observation) -> bool {
        let Some(last) = observation.steps.last() else {
            return false;
        };
        let key = (observation.vantage().clone(), observation.arm.clone());
        let room = self.through.len() < MAX_ARMS;
        match self.through.get_mut(&key) {
            _ if observation.scheduled_us < self.since_us => false,
            Some(through) if *through < last.layer => {
                *through = last.layer;
                true
            }
            Some(_) => false,
            None if room => {
                self.through.insert(key, last.layer);
                true
            }
            None => false,
        }
    }

    /// What stays proven when a file takes the place of another for the same URL.
    pub fn revise(&mut self, old: &ServiceFile, new: &ServiceFile, now_us: u64) {
        let (mut before, mut after) = (spec(old), spec(new));
        let (was, is) = (
            std::mem::take(&mut before.backends),
            std::mem::take(&mut after.backends),
        );
        for spec in [&mut before, &mut after] {
            // Who is patient for longer, or watches more, asks the same.
            spec.witness_ports.clear();
            spec.dns_timeout_ms = 0;
            spec.connect_timeout_ms = 0;
            spec.tls_timeout_ms = 0;
            spec.total_timeout_ms = 0;
        }
        if self.since_us == 0 || before != after {
            *self = Self::since(now_us);
        }
        self.through.retain(|(_, arm), _| match &arm.target {
            Target::Backend { name, .. } => {
                let of = |all: &[BackendRequest]| all.iter().find(|b| b.name == *name).cloned();
                of(&was) == of(&is)
            }
            Target::Resolver { .. }
            | Target::NameServer { .. }
            | Target::Edge { .. }
            | Target::Vip { .. } => true,
        });
    }

    /// The arms that have not come as far as they should, of the vantage points in the path. Twins
    /// that stand for no declaration are none of the file's.
    #[must_use]
    pub fn unproven(&self, topology: &Topology, twins: Twins) -> Vec<Unproven> {
        if self.since_us == 0 || self.through.len() >= MAX_ARMS {
            return Vec::new();
        }
        let twins = twins.declared();
        let mut unproven = Vec::new();
        for vantage in &topology.vantages {
            for arm in arms(topology, vantage, &twins) {
                let key = (vantage.name.clone(), arm);
                let through = self.through.get(&key);
                let mut layers = layers(topology, &key.1).iter();
                let missing = layers.find(|layer| through < Some(*layer));
                unproven.extend(missing.map(|layer| Unproven {
                    vantage: key.0,
                    arm: key.1,
                    layer: *layer,
                }));
            }
        }
        unproven
    }
}

/// The layers that an arm should pass.
fn layers(topology: &Topology, arm: &Arm) -> &'static [Layer] {
    let scheme = match &arm.target {
        Target::Resolver { .. } | Target::NameServer { .. } => return &[Layer::Dns],
        Target::Edge { .. } | Target::Vip { .. } => topology.scheme,
        Target::Backend { name, .. } => {
            let mut backends = topology.backends.iter();
            let declared = backends.find(|backend| backend.name == *name);
            declared.map_or(Scheme::Tcp, |backend| backend.scheme)
        }
    };
    match scheme {
        Scheme::Tcp => &[Layer::Tcp],
        Scheme::Http => &[Layer::Tcp, Layer::Http],
        Scheme::Https => &[Layer::Tcp, Layer::Tls, Layer::Http],
    }
}

#[cfg(test)]
mod tests {
    use localize::{
        Facts, Firing, Micros, ObservationId, Outcome, Role, RoundId, ServiceName, Stamp, Step,
        VantagePoint,
    };

    use super::super::{Learnt, topology};
    use super::*;

    const FILE: &str = r#"
name = "shop.example"
url = "https://shop.example/"
[load_balancer]
vip = ["203.0.113.10:443"]
[[backend]]
name = "web1"
address = "10.0.0.51:80"
[[backend]]
name = "web2"
address = "10.0.0.52:80"
"#;
    const NOW: u64 = 1_700_000_000_000_000;

    fn file(text: &str) -> ServiceFile {
        ServiceFile::parse(text, None).expect("parses")
    }

    fn path(file: &ServiceFile) -> Topology {
        let dc1 = VantagePoint {
            name: VantageName("dc1".to_owned()),
            role: Role::Inside,
            host: None,
            addresses: Vec::new(),
            witness: false,
            resolvers: Vec::new(),
        };
        topology(file, &Learnt::default(), &[dc1])
    }

    /// What is missing, as users read it.
    fn missing(proven: &Proven, file: &ServiceFile) -> Vec<(String, Layer)> {
        let unproven = proven.unproven(&path(file), Twins::of(file)).into_iter();
        unproven.map(|u| (u.arm.label(), u.layer)).collect()
    }

    /// An observation of some arm that passed these layers at an instant.
    fn passed(file: &ServiceFile, label: &str, layers: &[Layer], at_us: u64) -> Observation {
        let path = path(file);
        let arms = arms(&path, &path.vantages[0], &Twins::of(file));
        let step = |layer: &Layer| Step {
            layer: *layer,
            took: Micros(900),
        };
        Observation {
            id: ObservationId {
                vantage: path.vantages[0].name.clone(),
                sequence: 1,
            },
            service: ServiceName("shop.example".to_owned()),
            round: RoundId(1),
            arm: arms
                .into_iter()
                .find(|a| a.label() == label)
                .expect("an arm"),
            started: Stamp::default(),
            scheduled_us: at_us,
            firing: Firing::OnTime,
            steps: layers.iter().map(step).collect(),
            outcome: Outcome::Passed,
            facts: Facts::default(),
        }
    }

    const VIP: &str = "vip/203.0.113.10:443";
    const WEB1: &str = "backend/web1";
    const WEB2: &str = "backend/web2";

    fn as_text(rows: &[(&str, Layer)]) -> Vec<(String, Layer)> {
        rows.iter()
            .map(|(label, l)| ((*label).to_owned(), *l))
            .collect()
    }

    #[test]
    fn an_arm_is_proven_layer_by_layer() {
        use Layer::{Http, Tcp, Tls};
        let file = file(FILE);
        let mut proven = Proven::since(NOW);
        let all = [(VIP, Tcp), (WEB1, Tcp), (WEB2, Tcp)];
        assert_eq!(missing(&proven, &file), as_text(&all));
        assert!(proven.learn(&passed(&file, VIP, &[Tcp], NOW)));
        assert!(proven.learn(&passed(&file, WEB1, &[Tcp, Http], NOW)));
        let left = as_text(&[(VIP, Tls), (WEB2, Tcp)]);
        assert_eq!(missing(&proven, &file), left);
        // What comes again, and what was fired before, tells nothing.
        assert!(!proven.learn(&passed(&file, VIP, &[Tcp], NOW)));
        assert!(!proven.learn(&passed(&file, WEB2, &[Tcp, Http], NOW - 1)));
        assert_eq!(missing(&proven, &file), left);

        let text = serde_json::to_string(&proven).expect("writes");
        let read: Proven = serde_json::from_str(&text).expect("reads");
        assert_eq!(read, proven);
        // Records of versions that kept none of it say nothing.
        assert_eq!(missing(&Proven::default(), &file), []);
    }

    #[test]
    fn a_file_that_asks_for_something_else_is_proven_anew() {
        use Layer::{Http, Tcp, Tls};
        let before = file(FILE);
        let revised = |text: &str| {
            let mut proven = Proven::since(NOW);
            proven.learn(&passed(&before, VIP, &[Tcp, Tls, Http], NOW));
            proven.learn(&passed(&before, WEB1, &[Tcp, Http], NOW));
            proven.learn(&passed(&before, WEB2, &[Tcp, Http], NOW));
            let after = file(text);
            proven.revise(&before, &after, NOW + 1);
            missing(&proven, &after)
        };
        let patient = FILE.to_owned() + "[schedule]\ntimeout = { total = \"30s\" }\n";
        let tls = FILE.replace("\"10.0.0.52:80\"", "\"10.0.0.52:80\"\nscheme = \"https\"");
        let moved = FILE.replace("10.0.0.52:80", "10.0.0.53:80");
        let page = FILE.replace("shop.example/", "shop.example/page");
        let rows: [(&str, &[(&str, Layer)]); 5] = [
            (FILE, &[]),
            (&patient, &[]),
            (&tls, &[(WEB2, Tcp)]),
            (&moved, &[(WEB2, Tcp)]),
            (&page, &[(VIP, Tcp), (WEB1, Tcp), (WEB2, Tcp)]),
        ];
        for (text, expected) in rows {
            assert_eq!(revised(text), as_text(expected), "{text}");
        }
    }
}
