//! Which ways a probe crosses.

use super::*;
use crate::facts::topology::{Backend, Expectation, Scheme, ServiceName};

const GOT: Got = Got {
    through: true,
    served: true,
};

fn topology(vip_mode: VipMode) -> Topology {
    Topology {
        service: ServiceName("shop.example".into()),
        scheme: Scheme::Https,
        vantages: vec![VantagePoint {
            name: VantageName("dc1".into()),
            role: Role::Inside,
            host: None,
            addresses: vec![IpAddr::from([10, 0, 5, 5])],
            witness: false,
            resolvers: vec![],
        }],
        resolvers: vec![],
        zone: None,
        name_servers: vec![],
        edges: vec![],
        cdn: CdnProvider::None,
        vips: vec![SocketAddr::from(([203, 0, 113, 10], 443))],
        vip_mode,
        backends: vec![Backend {
            name: "web1".into(),
            address: SocketAddr::from(([10, 0, 1, 2], 443)),
            scheme: Scheme::Https,
            path: "/".into(),
        }],
        expect: Expectation::Undeclared,
    }
}

/// The ways back by which answers to a forwarded connection may come.
fn ways_back(vip_mode: VipMode) -> Vec<(String, View)> {
    let topology = topology(vip_mode);
    let mut paths = Paths::new(&topology, Balancing::Forwarded);
    let arm = Arm::to(Target::Vip {
        address: topology.vips[0],
    });
    let vantage = &topology.vantages[0];
    let to = vantage.addresses.first().copied();
    let alternatives = paths.alternatives(vantage, &arm, Stage::Tcp, to, GOT);
    let parts = paths.into_parts();
    let crossed = alternatives.into_iter().flat_map(|a| a.crossed);
    crossed
        .filter_map(|c| Some((parts[c.part].component()?.name, c.view)))
        .filter(|(name, _)| name.starts_with("web1->"))
        .collect()
}

#[test]
fn answers_to_forwarded_connections_may_come_back_by_the_balancer() {
    let to_client = ("web1->10.0.5.5".to_string(), View::Direct);
    let to_balancer = ("web1->203.0.113.10".to_string(), View::BehindLb);
    for mode in [VipMode::L4, VipMode::Auto] {
        let ways = ways_back(mode);
        assert!(ways.contains(&to_client) && ways.contains(&to_balancer));
    }
    let direct_return = ways_back(VipMode::Dsr);
    assert!(direct_return.contains(&to_client) && !direct_return.contains(&to_balancer));
}
