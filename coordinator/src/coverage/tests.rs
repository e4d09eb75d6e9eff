use std::time::Duration;

use localize::watch::Watch;
use localize::{Backend, Expectation, Role, Scheme, ServiceName, VipMode};

use super::*;
use crate::service_file::{Extra, ServiceFile};

/// What rounds of the schedule ask for where a service file says nothing of twins.
fn twins() -> Twins {
    let text = "name = \"shop.example\"\nurl = \"https://shop.example/\"\n";
    let file = ServiceFile::parse(text, None).unwrap();
    Twins::of(&file).telling(&plan::Learnt::default())
}

fn vantage(name: &str, role: Role, host: Option<&str>, address: &str) -> VantagePoint {
    VantagePoint {
        name: VantageName(name.into()),
        role,
        host: host.map(ToOwned::to_owned),
        addresses: vec![address.parse().unwrap()],
        witness: false,
        resolvers: Vec::new(),
    }
}

fn topology(vantages: Vec<VantagePoint>) -> Topology {
    let backend = |name: &str, address: &str| Backend {
        name: name.into(),
        address: address.parse().unwrap(),
        scheme: Scheme::Http,
        path: "/".into(),
    };
    Topology {
        service: ServiceName("shop".into()),
        scheme: Scheme::Http,
        vantages,
        resolvers: Vec::new(),
        zone: None,
        name_servers: Vec::new(),
        edges: vec!["203.0.113.10:80".parse().unwrap()],
        cdn: CdnProvider::None,
        vips: vec!["203.0.113.10:80".parse().unwrap()],
        vip_mode: VipMode::L7,
        backends: vec![
            backend("web1", "10.0.0.51:80"),
            backend("web2", "10.0.0.52:80"),
        ],
        expect: Expectation::Undeclared,
    }
}

/// What a mesh of these vantage points covers by a round every ten seconds.
fn covered(vantages: Vec<VantagePoint>) -> Vec<Part> {
    coverage(&outlook(vantages), &[])
}

fn outlook(vantages: Vec<VantagePoint>) -> Outlook {
    Outlook {
        topology: topology(vantages),
        every: Some(Duration::from_secs(10)),
        twins: twins(),
        trace: Extra::Probed,
        watch: Watch::default(),
    }
}

fn part(parts: &[Part], kind: Kind, name: &str) -> Part {
    let found = parts.iter().find(|p| p.component == component(kind, name));
    found.unwrap_or_else(|| panic!("{name}")).clone()
}

#[test]
fn from_outside_alone_the_origin_is_one_group() {
    let home = vantage("home1", Role::Outside, None, "198.51.100.7");
    let parts = covered(vec![home]);
    let balancer = part(&parts, Kind::LoadBalancer, "203.0.113.10:80");
    assert!((balancer.probes_per_round - 2.0).abs() < 1e-9);
    assert!(balancer.same_as.contains(&component(Kind::Backend, "web1")));
    assert!(balancer.ask.contains("role inside"), "{}", balancer.ask);
    let backend = part(&parts, Kind::Backend, "web1");
    assert!((backend.probes_per_round - 1.0).abs() < 1e-9);
}

#[test]
fn an_inside_agent_splits_the_group() {
    let home = vantage("home1", Role::Outside, None, "198.51.100.7");
    let inside = vantage("dc1", Role::Inside, None, "10.0.0.9");
    let parts = covered(vec![home, inside]);
    let backend = part(&parts, Kind::Backend, "web1");
    assert!(!backend.same_as.contains(&component(Kind::Backend, "web2")));
    assert!(
        !backend
            .same_as
            .contains(&component(Kind::LoadBalancer, "203.0.113.10:80"))
    );
    assert!((backend.probes_per_round - 4.0).abs() < 1e-9, "{backend:?}");
}

#[test]
fn what_nobody_crosses_is_listed_with_what_is_missing() {
    let parts = covered(Vec::new());
    let backend = part(&parts, Kind::Backend, "web2");
    assert_eq!((backend.probes_per_round, backend.same_as.len()), (0.0, 0));
    assert!(backend.ask.contains("role inside"), "{}", backend.ask);
}

#[test]
fn an_ask_names_an_agent_that_splits() {
    // The path to a backend is crossed by the same probes as the backend, but for those of an agent
    // on the balancer or inside.
    let home = vantage("home1", Role::Outside, None, "198.51.100.7");
    let inside = vantage("dc1", Role::Inside, None, "10.0.0.9");
    let parts = covered(vec![home, inside]);
    let path = part(&parts, Kind::LbBackendPath, "203.0.113.10:80->web1");
    let vip = component(Kind::LoadBalancer, "203.0.113.10:80");
    assert!(path.same_as.contains(&vip), "{path:?}");
    assert!(path.ask.contains("--host lb"), "{}", path.ask);
    let backend = part(&parts, Kind::Backend, "web1");
    assert_eq!((backend.same_as.len(), backend.ask.as_str()), (0, ""));
}

#[test]
fn more_probes_show_rarer_faults() {
    let home = |n: usize| vantage(&format!("home{n}"), Role::Outside, None, "198.51.100.7");
    let inside = vantage("dc1", Role::Inside, None, "10.0.0.9");
    let name = "203.0.113.10:80";
    let few = part(&covered(vec![home(1)]), Kind::LoadBalancer, name);
    let many = part(
        &covered((1..9).map(home).collect()),
        Kind::LoadBalancer,
        name,
    );
    let rates = [few.hour, few.day, many.hour, many.day].map(Option::unwrap);
    let [few_hour, few_day, many_hour, many_day] = rates;
    assert!(few_day < few_hour && many_day < many_hour, "{rates:?}");
    assert!(many_hour < few_hour && few_hour < 0.2, "{rates:?}");

    // A third of the balancer's requests go to web1, and one probe straight.
    let parts = covered(vec![home(1), inside]);
    let balancer = part(&parts, Kind::LoadBalancer, name).hour.unwrap();
    let backend = part(&parts, Kind::Backend, "web1").hour.unwrap();
    assert!(balancer < backend, "{balancer} {backend}");
    let unseen = part(&covered(Vec::new()), Kind::Backend, "web1");
    assert_eq!((unseen.hour, unseen.day), (None, None));
}

#[test]
fn what_traces_may_cost_is_said() {
    let inside = vantage("dc1", Role::Inside, None, "10.0.0.9");
    let mut outlook = outlook(vec![inside]);
    let targets = outlook.topology.vips.len() + outlook.topology.backends.len();
    let most = u32::try_from(targets).unwrap() * localize::trace::MOST_SYNS;
    assert!(trace_syns(&outlook) >= most && most > 0);
    outlook.trace = Extra::LeftOut;
    assert_eq!(trace_syns(&outlook), 0);
}

#[test]
fn without_a_schedule_nothing_is_seen() {
    let outlook = Outlook {
        topology: topology(vec![vantage("home1", Role::Outside, None, "198.51.100.7")]),
        every: None,
        twins: twins(),
        trace: Extra::Probed,
        watch: Watch::default(),
    };
    let parts = coverage(&outlook, &[]);
    assert!(
        parts
            .iter()
            .all(|part| part.hour.is_none() && part.day.is_none())
    );
}

#[test]
fn what_is_not_probed_covers_nothing_and_is_said() {
    let inside = vantage("dc1", Role::Inside, None, "10.0.0.9");
    let refused = |arm: &str| NotProbed {
        vantage: "dc1".to_owned(),
        arm: arm.to_owned(),
        because: "refused".to_owned(),
    };
    let not_probed = [
        refused("backend/web2"),
        refused("backend/web2 on a reused port"),
    ];
    let before = covered(vec![inside.clone()]);
    let after = coverage(&outlook(vec![inside]), &not_probed);
    let web2 = |parts: &[Part]| part(parts, Kind::Backend, "web2");
    assert!(web2(&before).not_probed.is_empty());
    assert_eq!(web2(&after).not_probed, not_probed);
    let lost = web2(&before).probes_per_round - web2(&after).probes_per_round;
    assert!((lost - 2.0).abs() < 1e-9, "{lost}");
    let way_back = part(&after, Kind::ReturnPath, "web2->10.0.0.9");
    assert_eq!((way_back.probes_per_round, way_back.day), (0.0, None));
    let web1 = |parts: &[Part]| part(parts, Kind::Backend, "web1");
    assert!(web1(&after).not_probed.is_empty());
}

/// A burst costs as many connections as it opens, and says in how few of the rounds.
#[test]
fn a_burst_is_paid_by_connection() {
    let outlook = outlook(vec![vantage("dc1", Role::Inside, None, "10.0.0.7")]);
    let price = |word: &str| {
        let mut prices = prices(&outlook).into_iter();
        prices.find(|price| price.way.contains(word))
    };
    // The VIP and two backends.
    let single = price("reused port").map(|price| price.probes_per_round);
    assert_eq!(single, Some(3));
    let burst = Price {
        way: "in bursts of 8 connections, in one round of 10".to_owned(),
        probes_per_round: 24,
    };
    assert_eq!(price("bursts"), Some(burst));
}
