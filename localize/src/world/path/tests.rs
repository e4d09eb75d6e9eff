//! Which ways a probe crosses.

use alloc::format;

use super::*;
use crate::facts::topology::{Backend, Expectation, Scheme, ServiceName};

const GOT: Got = Got {
    through: true,
    known: true,
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

/// What a probe of a target crosses at a stage, by name, where the balancer only forwards.
fn crossed(topology: &Topology, target: Target, stage: Stage) -> Vec<(String, View)> {
    crossed_where(Balancing::Forwarded, topology, target, stage)
}

/// The same, where the balancer works so.
fn crossed_where(
    balancing: Balancing,
    topology: &Topology,
    target: Target,
    stage: Stage,
) -> Vec<(String, View)> {
    let mut paths = Paths::new(topology, balancing);
    let vantage = &topology.vantages[0];
    let to = vantage.addresses.first().copied();
    let alternatives = paths.alternatives(vantage, &Arm::to(target), stage, to, GOT);
    let parts = paths.into_parts();
    let crossed = alternatives.into_iter().flat_map(|a| a.crossed);
    crossed
        .filter_map(|c| Some((parts[c.part].component()?.name, c.view)))
        .collect()
}

/// The ways back by which answers to a forwarded connection may come.
fn ways_back(vip_mode: VipMode) -> Vec<(String, View)> {
    let topology = topology(vip_mode);
    let address = topology.vips[0];
    let mut ways = crossed(&topology, Target::Vip { address }, Stage::Tcp);
    ways.retain(|(name, _)| name.starts_with("web1->"));
    ways
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

#[test]
fn past_a_balancer_answers_reach_an_edge_by_no_way_to_the_balancer() {
    let edge = SocketAddr::from(([198, 51, 100, 11], 443));
    let ways = |vip_mode| {
        let mut topology = topology(vip_mode);
        topology.edges = vec![edge];
        topology.cdn = CdnProvider::Named("cdn".into());
        let ways = crossed(&topology, Target::Edge { address: edge }, Stage::Http);
        let to = |address: &str| {
            ways.iter()
                .any(|(name, _)| *name == format!("web1->{address}"))
        };
        (to("198.51.100.11"), to("203.0.113.10"))
    };
    assert_eq!(ways(VipMode::Dsr), (true, false));
    assert_eq!(ways(VipMode::L4), (true, true));
}

#[test]
fn what_nobody_declared_behind_a_balancer_is_crossed() {
    for stage in [Stage::Tcp, Stage::Tls, Stage::Http] {
        let mut topology = topology(VipMode::L4);
        topology.backends.clear();
        let address = topology.vips[0];
        let met = crossed(&topology, Target::Vip { address }, stage);
        let origin = met.iter().any(|(name, _)| name == "shop.example");
        assert!(origin, "{stage:?}: {met:?}");
    }
}

#[test]
fn a_relay_asks_a_backend_when_the_first_bytes_come() {
    let at = |scheme, stage| {
        let mut topology = topology(VipMode::Auto);
        topology.scheme = scheme;
        let address = topology.vips[0];
        let met = crossed_where(
            Balancing::Relayed,
            &topology,
            Target::Vip { address },
            stage,
        );
        let mut met = met.into_iter();
        met.find(|(name, _)| name == "web1").map(|(_, view)| view)
    };
    let rows = [
        (Scheme::Https, Stage::Tcp, None),
        (Scheme::Https, Stage::Tls, Some(View::BehindRelay)),
        (Scheme::Https, Stage::Http, Some(View::Direct)),
        (Scheme::Http, Stage::Http, Some(View::BehindRelay)),
    ];
    for (scheme, stage, view) in rows {
        assert_eq!(at(scheme, stage), view, "{scheme:?} {stage:?}");
    }
}

#[test]
fn who_has_the_vip_for_itself_asks_nobody_else() {
    let mut topology = topology(VipMode::Dsr);
    let address = topology.vips[0];
    topology.vantages[0].host = Some("web1".into());
    topology.vantages[0].addresses.push(address.ip());
    let mut second = topology.backends[0].clone();
    second.name = "web2".into();
    topology.backends.push(second);
    let met = |stage| -> Vec<String> {
        let met = crossed(&topology, Target::Vip { address }, stage);
        met.into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(met(Stage::Tcp), [""; 0]);
    assert_eq!(met(Stage::Http), ["web1", "shop.example"]);
}

#[test]
fn what_is_for_a_virtual_address_comes_to_where_that_is() {
    let mut topology = topology(VipMode::L7);
    let vip = topology.vips[0];
    let backend = topology.backends[0].clone();
    let target = Target::Backend {
        name: backend.name,
        address: backend.address,
    };
    let balancer = (vip.to_string(), View::Answered);
    let crosses = |topology: &Topology, stage| {
        crossed_where(Balancing::Proxied, topology, target.clone(), stage).contains(&balancer)
    };
    assert!(!crosses(&topology, Stage::Return));
    topology.vantages[0].addresses = vec![vip.ip()];
    assert!(crosses(&topology, Stage::Return));
    assert!(crosses(&topology, Stage::Tcp));
    assert!(!crosses(&topology, Stage::Arrive));
}
