//! What a verdict says for itself: evidence, rivals, and why the others are cleared.

#![allow(clippy::expect_used, reason = "a test")]

#[path = "mesh/world/mod.rs"]
#[allow(dead_code, reason = "shared with the rows of verdicts")]
mod world;

use localize::{Case, Component, Evidence, Fault as Blamed, Kind, Verdict, localize};
use world::{Fault, Mesh, World};

const SEED: u64 = 1;
const ROUNDS: usize = 6;

fn case(faults: &[Fault], mesh: Mesh) -> Case {
    let mut world = World::new(mesh, SEED);
    world.faults = faults.to_vec();
    (0..ROUNDS).for_each(|_| world.round());
    world.case()
}

fn verdict(fault: Fault, mesh: Mesh) -> Verdict {
    localize(&case(&[fault], mesh)).verdict
}

fn only(verdict: &Verdict) -> &Blamed {
    assert_eq!(verdict.faults.len(), 1, "{:?}", verdict.faults);
    verdict.faults.first().expect("one fault")
}

fn cleared<'v>(verdict: &'v Verdict, kind: Kind, name: &str) -> &'v str {
    let mut cleared = verdict.exonerated.iter();
    let found = cleared.find(|c| c.component.kind == kind && c.component.name == name);
    &found
        .unwrap_or_else(|| panic!("{name} is not cleared"))
        .because
}

/// A sentence with a tilde for every number that is a forecast: those move with the fit.
fn rounded(text: &str) -> String {
    let mut parts = text.split("about ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        out + "about ~" + rest
    })
}

#[test]
fn a_collision_of_ports_is_held_against_fresh_ports() {
    let rows = [
        (Mesh::Bare, "dc1 to backend/web2: none of 7 SYNs failed"),
        (
            Mesh::Full,
            "dc1 to backend/web2: all 6 SYNs that arrived were answered",
        ),
    ];
    for (mesh, fresh) in rows {
        let mut world = World::new(mesh, SEED);
        world.reuses_ports = true;
        world.faults = vec![Fault::BackendPortReuse(1, 0.0)];
        (0..ROUNDS).for_each(|_| world.round());
        let verdict = localize(&world.case()).verdict;
        let fault = only(&verdict);
        assert_eq!(fault.mode, "port_reuse_collision");
        assert_eq!(
            fault.summary,
            "Backend web2 fails all connections whose source port was used less than 60 s before, while web1 and web3 are well; what users do has not met it so far."
        );
        let next = &fault.next_step;
        assert!(next.contains("net.ipv4.tcp_timestamps"), "{next}");
        let lines: Vec<&str> = fault.evidence.iter().map(|e| e.text.as_str()).collect();
        let again = "dc1 to backend/web2 on a reused port: 5 of 5 SYNs were not answered";
        for line in [fresh, again] {
            assert!(lines.contains(&line), "{lines:#?}");
        }
    }
}

/// DNS, TCP, TLS, HTTP, by the word for what is counted.
fn layer(line: &Evidence) -> usize {
    let words = ["queries", "SYNs", "TLS handshakes", "requests"];
    let place = words.iter().position(|word| line.text.contains(word));
    place.unwrap_or(1)
}

#[test]
fn the_on_call_sentence_says_what_how_often_and_who_feels_it() {
    let rows = [
        (
            Fault::Resolver(0, 1.0),
            "Resolver 192.0.2.11 leaves all questions unanswered, while 10.0.5.53, 192.0.2.12 and 192.0.2.13 are well; its users are affected.",
        ),
        (
            Fault::NameServerRefuses(1),
            "Name server ns2.shop.example refuses all questions, while ns1.shop.example is well; redundancy hides it from users, at the price of capacity.",
        ),
        (
            Fault::NameServerStale(1),
            "Name server ns2.shop.example answers all questions with an address that does not serve, while ns1.shop.example is well; users are affected.",
        ),
        (
            Fault::EdgeStatus(0, 500, 1.0),
            "CDN edge 198.51.100.11 answers all requests with server errors, while 198.51.100.12 is well; users are affected.",
        ),
        (
            Fault::EdgesReset(0.3),
            "CDN cloudflare resets 36 % of the connections; users are affected.",
        ),
        (
            Fault::EdgeCertificate(0),
            "CDN edge 198.51.100.11 presents an expired certificate in all handshakes, while 198.51.100.12 is well; users are affected.",
        ),
        (
            Fault::OriginPath(0),
            "The path from edge 198.51.100.11 to 203.0.113.10:443 drops all traffic, while another is well; users are affected.",
        ),
        (
            Fault::BalancerDead,
            "Load balancer 203.0.113.10:443 refuses all connections; users are affected.",
        ),
        (
            Fault::BackendSlow(2, 4.0),
            "Backend web3 answers all requests 4.0 s later than usual (median 4.0 s against 1.5 ms at dc1), while web1 and web2 are well; users are affected.",
        ),
        (
            Fault::BackendSlow(1, 0.3),
            "Backend web2 answers all requests 300 ms later than usual (median 302 ms against 1.5 ms at dc1), while web1 and web3 are well; users are affected.",
        ),
        (
            Fault::ResolverSlow(0, 0.25),
            "Resolver 192.0.2.11 answers all questions 250 ms later than usual (median 253 ms against 2 ms at home1), while 10.0.5.53, 192.0.2.12 and 192.0.2.13 are well; its users are affected.",
        ),
        (
            Fault::BackendSyn(1, 0.4),
            "Backend web2 leaves 50 % of the SYNs that reach it unanswered, while web1 and web3 are well; users are affected.",
        ),
        (
            Fault::Access(0, 0.35),
            "The access network of vantage point home1 loses 56 % of the packets, while 7 others are well; users behind it are affected.",
        ),
        (
            Fault::Return(0, "10.0.9.10", 1.0),
            "The way back from web1 to 10.0.9.10 loses all answers that have left the host, while 17 others are well; redundancy hides it from users, at the price of capacity.",
        ),
    ];
    for (fault, expected) in rows {
        let verdict = verdict(fault, Mesh::Full);
        assert_eq!(only(&verdict).summary, expected, "{fault:?}");
    }
}

#[test]
fn evidence_follows_a_request_and_shows_what_passed_first() {
    let faults = [
        Fault::Access(0, 0.35),
        Fault::BackendSyn(1, 0.4),
        Fault::BackendSlow(2, 4.0),
        Fault::EdgeStatus(0, 500, 1.0),
    ];
    let mut layers = 0;
    for fault in faults {
        let verdict = verdict(fault, Mesh::Full);
        // What hosts tell beside the probes comes after them.
        let of_probes = |l: &&Evidence| l.text.starts_with(&format!("{} to {}:", l.vantage, l.arm));
        let lines = only(&verdict).evidence.iter();
        let evidence: Vec<&Evidence> = lines.filter(of_probes).collect();
        let places: Vec<(usize, bool)> =
            evidence.iter().map(|l| (layer(l), l.implicates)).collect();
        assert!(places.is_sorted(), "{fault:?}: {evidence:#?}");
        assert!(evidence.iter().any(|line| line.implicates));
        layers = layers.max(places.last().map_or(0, |p| p.0) - places[0].0);
    }
    assert_eq!(layers, 3, "one fault at least shows from DNS to HTTP");
}

/// The line that is said to weigh most is the one whose observations are missed most.
#[test]
fn what_weighs_most_is_missed_most() {
    let case = case(&[Fault::BackendStatus(1, 0.2)], Mesh::Bare);
    let verdict = localize(&case).verdict;
    let mut lines: Vec<&Evidence> = only(&verdict).evidence.iter().collect();
    lines.retain(|line| line.implicates);
    lines.sort_by(|a, b| a.nats.total_cmp(&b.nats));
    let without = |line: &Evidence| {
        let mut case = case.clone();
        case.observations
            .retain(|o| o.vantage().0 != line.vantage || o.arm.label() != line.arm);
        let verdict = localize(&case).verdict;
        let web2 = verdict.faults.iter().find(|f| f.component.name == "web2");
        web2.and_then(|f| f.rivals.first().map(|r| r.nats))
            .unwrap_or(0.0)
    };
    let (Some(weakest), Some(strongest)) = (lines.first(), lines.last()) else {
        panic!("no lines");
    };
    assert!(strongest.nats > weakest.nats);
    let (more, less) = (without(strongest), without(weakest));
    assert!(
        more + 4.0 < less,
        "{more} nats without {}, {less} without {}",
        strongest.text,
        weakest.text
    );
}

/// Which rival, by how much at least, and what tells it from the fault.
#[test]
fn rivals_are_told_with_what_speaks_against_them() {
    let rows = [
        (
            Fault::Resolver(0, 0.45),
            Kind::ClientNetwork,
            3.0,
            "home1 to resolver/192.0.2.11 would have seen about 1 of 6 queries fail, and saw 3; home1 to edge/198.51.100.12 crosses it too: none of 6 requests failed",
        ),
        (
            Fault::EdgeStatus(0, 500, 1.0),
            Kind::Cdn,
            20.0,
            "cdn1 to edge/198.51.100.12 would have seen about 3 of 6 requests fail, and saw none",
        ),
        (
            Fault::EdgeStatus(0, 500, 1.0),
            Kind::LoadBalancer,
            20.0,
            "dc1 to edge/198.51.100.11 would have seen about 3 of 6 requests fail, and saw all; web3 to vip/203.0.113.10:443 crosses it too: none of 6 requests failed",
        ),
        (
            Fault::BackendStatus(1, 0.2),
            Kind::LoadBalancer,
            10.0,
            "what web1 to backend/web2 saw is more than 1,000 times less probable with it",
        ),
        (
            Fault::Return(0, "10.0.9.10", 1.0),
            Kind::ReturnPath,
            10.0,
            "lb to backend/web1 from 10.0.0.10 would have seen about 4 of 6 answers that left the host get lost, and saw none",
        ),
    ];
    for (fault, kind, least, because) in rows {
        let verdict = verdict(fault, Mesh::Full);
        let named = only(&verdict);
        assert!(
            named.rivals.is_sorted_by(|a, b| a.nats <= b.nats),
            "{fault:?}"
        );
        let rival = named.rivals.iter().find(|r| r.component.kind == kind);
        let rival = rival.unwrap_or_else(|| panic!("{fault:?}: {:?}", named.rivals));
        assert_ne!(rival.component, named.component);
        assert!(rival.nats > least, "{fault:?}: {rival:?}");
        let why = rival.because.split_once(": ").map(|(_, why)| why);
        assert_eq!(why.map(rounded), Some(rounded(because)), "{fault:?}");
    }
}

/// Two faults at once: a rival stands in for one of them, and does not have to explain the other.
#[test]
fn a_rival_stands_in_for_one_of_several_faults() {
    let both = [Fault::BackendStatus(1, 0.5), Fault::Resolver(0, 0.45)];
    let alone = verdict(Fault::Resolver(0, 0.45), Mesh::Full);
    let both = localize(&case(&both, Mesh::Full)).verdict;
    let odds = |verdict: &Verdict| {
        let mut faults = verdict.faults.iter();
        let resolver = faults.find(|f| f.component.kind == Kind::Resolver);
        let rivals = &resolver.expect("the resolver").rivals;
        let network = rivals
            .iter()
            .find(|r| r.component.kind == Kind::ClientNetwork);
        network.expect("the network").nats
    };
    assert!(odds(&both) < odds(&alone) + 10.0, "{both:#?}");
    let of_resolver = both
        .faults
        .iter()
        .find(|f| f.component.kind == Kind::Resolver);
    for rival in &of_resolver.expect("the resolver").rivals {
        assert!(
            rival.because.contains("home1 to resolver/192.0.2.11"),
            "{rival:?}"
        );
    }
    let network = cleared(&both, Kind::ClientNetwork, "home1");
    assert!(
        network.ends_with("home1 to edge/198.51.100.12 crosses it too: none of 6 requests failed"),
        "{network}"
    );
}

#[test]
fn what_is_at_fault_already_is_no_rival() {
    let faults = [Fault::BackendStatus(1, 0.5), Fault::BackendStatus(0, 0.5)];
    let verdict = localize(&case(&faults, Mesh::Full)).verdict;
    let named: Vec<&Component> = verdict.faults.iter().map(|f| &f.component).collect();
    assert_eq!(named.len(), 2);
    let mut rivals = verdict.faults.iter().flat_map(|f| &f.rivals);
    assert!(
        rivals.all(|r| !named.contains(&&r.component)),
        "{verdict:#?}"
    );
    let edge = cleared(&verdict, Kind::Cdn, "cloudflare");
    assert!(
        edge.contains("where backend web1 and backend web2 account for about "),
        "{edge}"
    );
}

#[test]
fn rivals_come_in_the_order_of_their_odds() {
    let faults = [
        Fault::Access(0, 0.35),
        Fault::BackendSyn(1, 0.4),
        Fault::BackendSlow(2, 4.0),
        Fault::EdgesReset(0.3),
        Fault::Return(1, "10.0.0.10", 0.33),
    ];
    let mut rivals = 0;
    for fault in faults {
        let verdict = verdict(fault, Mesh::Full);
        let odds: Vec<f64> = only(&verdict).rivals.iter().map(|r| r.nats).collect();
        assert!(odds.is_sorted(), "{fault:?}: {odds:?}");
        rivals += odds.len();
    }
    assert!(rivals > 10);
}

#[test]
fn the_line_that_tells_a_rival_apart_is_shown_though_others_weigh_more() {
    let mut heavier = Vec::new();
    for seed in 1..=8 {
        let mut world = World::new(Mesh::Bare, seed);
        world.reuses_ports = true;
        world.asks_large = true;
        world.faults = vec![Fault::BlackHole(1, "10.0.0.10")];
        (0..10).for_each(|_| world.round());
        let verdict = localize(&world.case()).verdict;
        for fault in &verdict.faults {
            let because = fault.rivals.first().map_or("", |rival| &rival.because);
            let Some((_, seen)) = because.split_once("http_503, and ") else {
                continue;
            };
            let (arm, _) = seen.split_once(" saw ").expect("what was seen");
            let mut lines = fault.evidence.iter();
            let telling = lines.find(|line| line.text.starts_with(&format!("{arm}:")));
            let telling = telling.unwrap_or_else(|| panic!("{because}: {:#?}", fault.evidence));
            let lines = fault.evidence.iter();
            heavier.push(lines.filter(|line| line.nats > telling.nats).count());
        }
    }
    assert!(heavier.iter().any(|count| *count > 2), "{heavier:?}");
}

/// An answer that is late is an answer: no line of a slow fault says that it failed.
#[test]
fn what_is_late_has_not_failed() {
    let rows = [
        (
            Fault::BackendSlow(1, 0.3),
            "dc1 to backend/web2: 6 of 6 requests were late (median 302 ms against 1.5 ms usually)",
            "web2 to vip/203.0.113.10:443: none of 6 TLS handshakes were late (median 1.5 ms against 1.5 ms usually)",
            (
                Kind::LoadBalancer,
                "203.0.113.10:443",
                "29 of 84 requests that crossed it were late",
            ),
        ),
        (
            Fault::ResolverSlow(0, 0.25),
            "home1 to resolver/192.0.2.11: 6 of 6 queries were late (median 253 ms against 2 ms usually)",
            "cdn1 to resolver/192.0.2.13: none of 6 queries were late (median 3 ms against 2 ms usually)",
            (
                Kind::ClientNetwork,
                "home1",
                "6 of 18 queries that crossed it were late",
            ),
        ),
    ];
    for (fault, late, clean, (kind, name, cleared)) in rows {
        let verdict = verdict(fault, Mesh::Full);
        let named = only(&verdict);
        for (text, implicates) in [(late, true), (clean, false)] {
            let mut lines = named.evidence.iter();
            let found = lines.any(|line| line.text == text && line.implicates == implicates);
            assert!(found, "{text}: {:#?}", named.evidence);
        }
        let mut cleared_ones = verdict.exonerated.iter();
        let because = cleared_ones.find(|e| e.component.kind == kind && e.component.name == name);
        let because = because.map(|e| e.because.as_str());
        assert!(
            because.is_some_and(|b| b.starts_with(cleared)),
            "{because:?}"
        );
        let mut texts: Vec<&str> = named
            .evidence
            .iter()
            .map(|line| line.text.as_str())
            .collect();
        texts.extend(named.rivals.iter().map(|rival| rival.because.as_str()));
        let failed = texts
            .iter()
            .filter(|text| text.contains("fail") && !text.contains("SYN"));
        assert_eq!(failed.count(), 0, "{texts:#?}");
    }
}

#[test]
fn a_contrast_weighs_what_it_tells_against_a_rival() {
    let verdict = verdict(Fault::EdgeStatus(0, 500, 1.0), Mesh::Full);
    let named = only(&verdict);
    let contrast = named
        .evidence
        .iter()
        .find(|line| line.arm == "edge/198.51.100.12");
    let contrast = contrast.expect("the other edge");
    assert!(!contrast.implicates && contrast.nats > 3.0, "{contrast:?}");
}

#[test]
fn every_component_is_cleared_for_a_reason_of_its_own() {
    let refuses = verdict(Fault::NameServerRefuses(1), Mesh::Full);
    let edge = verdict(Fault::EdgeStatus(0, 500, 1.0), Mesh::Full);
    let back = verdict(Fault::Return(0, "10.0.9.10", 1.0), Mesh::Full);
    let home = verdict(Fault::Access(0, 0.35), Mesh::Full);
    let stalls = verdict(Fault::EdgeStalls(1), Mesh::Full);
    let rows = [
        (
            &refuses,
            Kind::Resolver,
            "192.0.2.11",
            "none of 6 probes across it failed",
        ),
        (
            &refuses,
            Kind::Backend,
            "web1",
            "none of 36 probes across it failed; all 30 SYNs that arrived were answered",
        ),
        (
            &refuses,
            Kind::ClientNetwork,
            "home1",
            "6 of 18 queries that crossed it failed, where name server ns2.shop.example accounts for about 6; home1 to nameserver/ns1.shop.example crosses it too: none of 6 queries failed",
        ),
        (
            &edge,
            Kind::Cdn,
            "cloudflare",
            "24 of 48 requests that crossed it failed, where CDN edge 198.51.100.11 accounts for about 24; at fault itself, cdn1 to edge/198.51.100.12 would have seen about 3 of 6 requests fail, and saw none",
        ),
        (
            &edge,
            Kind::LoadBalancer,
            "203.0.113.10:443",
            "24 of 84 requests that crossed it failed, where CDN edge 198.51.100.11 accounts for about 24; web3 to vip/203.0.113.10:443 crosses it too: none of 6 requests failed",
        ),
        (
            &back,
            Kind::ReturnPath,
            "web1->10.0.0.10",
            "18 of 24 answers that crossed it failed, where the way back from web1 to 10.0.9.10 accounts for about 18; at fault itself, lb to backend/web1 from 10.0.0.10 would have seen about 4 of 6 answers that left the host get lost, and saw none",
        ),
        (
            &back,
            Kind::ReturnPath,
            "web2->10.0.0.10",
            "none of 12 probes across it failed; all 12 answers that left the host came back",
        ),
        (
            &home,
            Kind::AuthoritativeDns,
            "ns1.shop.example",
            "3 of 48 queries that crossed it failed, where the access network of vantage point home1 accounts for about 3; web3 to nameserver/ns1.shop.example crosses it too: none of 6 queries failed",
        ),
        (
            &stalls,
            Kind::ClientNetwork,
            "home1",
            "6 of 12 requests that crossed it failed, where CDN edge 198.51.100.12 accounts for about 6; home1 to edge/198.51.100.11 crosses it too: none of 6 requests failed",
        ),
    ];
    for (verdict, kind, name, expected) in rows {
        assert_eq!(rounded(cleared(verdict, kind, name)), rounded(expected));
    }
}

#[test]
fn chance_is_called_chance() {
    let mut by_chance = 0;
    for seed in 1..=6 {
        let mut world = World::new(Mesh::Full, seed);
        world.faults = vec![Fault::Backbone(0.01), Fault::BackendStatus(1, 1.0)];
        (0..ROUNDS).for_each(|_| world.round());
        let verdict = localize(&world.case()).verdict;
        let reasons = verdict.exonerated.iter().map(|e| e.because.as_str());
        let said =
            |because: &&str| because.ends_with(" that crossed it failed, no more than by chance");
        by_chance += reasons.filter(said).count();
    }
    assert!(by_chance > 10, "{by_chance} lines");
}

#[test]
fn candidates_say_what_tells_them_from_the_first() {
    let verdict = verdict(Fault::LbPath(1, 0.3), Mesh::Full);
    let [first, others @ ..] = verdict.alternatives.as_slice() else {
        panic!("no candidates: {verdict:#?}");
    };
    assert!(
        first.because.starts_with("what it explains best: "),
        "{first:?}"
    );
    assert!(!others.is_empty());
    for other in others {
        let told = [
            "unlike the way back from web2 to 10.0.0.10: ",
            "no probe tells it from the way back from web2 to 10.0.0.10",
        ];
        assert!(
            told.iter().any(|t| other.because.starts_with(t)),
            "{other:?}"
        );
    }
}

/// Verdicts stored before these reasons were given are still read.
#[test]
fn json_without_the_reasons_is_read() {
    let verdict = verdict(Fault::EdgeStatus(0, 500, 1.0), Mesh::Full);
    let mut json = serde_json::to_value(&verdict).expect("json");
    json.as_object_mut().expect("an object").remove("unknown");
    let fault = json["faults"][0].as_object_mut().expect("a fault");
    fault.remove("rivals");
    for line in fault["evidence"].as_array_mut().expect("lines") {
        line.as_object_mut().expect("a line").remove("nats");
    }
    let back: Verdict = serde_json::from_value(json).expect("a verdict");
    assert_eq!(only(&back).summary, only(&verdict).summary);
    assert!(only(&back).rivals.is_empty());
}

#[test]
fn a_slow_backend_is_said_to_think_or_to_send_for_long() {
    let mut case = case(&[Fault::BackendSlow(2, 3.0)], Mesh::Full);
    let line = |case: &Case| {
        let verdict = localize(case).verdict;
        let fault = only(&verdict);
        assert_eq!(
            (fault.component.name.as_str(), fault.mode.as_str()),
            ("web3", "slow")
        );
        let lines = fault.evidence.iter();
        let mut told = lines.filter(|line| line.text.starts_with("of the 3.0 s that its slowest"));
        told.next().expect("a line").text.clone()
    };
    let thinks = line(&case);
    assert!(
        thinks.ends_with("it is the application that takes long, not the transfer"),
        "{thinks}"
    );
    for seen in &mut case.observations {
        if let Some(http) = &mut seen.facts.http {
            http.first_byte = localize::Micros(1_500);
        }
    }
    let sends = line(&case);
    assert!(
        sends.contains("1.5 ms go by before the first byte"),
        "{sends}"
    );
    assert!(
        sends.ends_with("it is the transfer that takes long, not the application"),
        "{sends}"
    );
}

#[test]
fn who_answers_at_the_balancers_address_is_known_from_its_own_host() {
    let mut case = case(&[Fault::BalancerStatus(503)], Mesh::Full);
    let line = |case: &Case| {
        let verdict = localize(case).verdict;
        let fault = only(&verdict);
        assert_eq!(fault.component.kind, Kind::LoadBalancer);
        let mut lines = fault.evidence.iter();
        let told = lines.find(|line| line.arm == "answers/lb");
        told.expect("a line").text.clone()
    };
    let own = line(&case);
    assert!(
        own.ends_with("came to its own host: it is the one who answers"),
        "{own}"
    );
    // Whoever else has that address takes them, and the balancer's host sees none.
    for report in case
        .sightings
        .iter_mut()
        .filter(|report| report.witness.0 == "lb")
    {
        report.flows.clear();
    }
    let other = line(&case);
    assert!(other.starts_with("0 of the "), "{other}");
    assert!(
        other.ends_with("came to its own host: something else answers at that address, or addresses are rewritten on the way"),
        "{other}"
    );
}
