//! DNS as it is: what is the resolver's, what is a name server's, and what the zone's.

#![allow(clippy::expect_used, reason = "a test")]

mod world;

use localize::dns::{Again, Reply};
use localize::topology::Topology;
use localize::{Assessment, Failure, Kind, Micros, VerdictOutcome, localize};
use world::*;

const R1: &str = RESOLVERS[0];
const NS2: &str = NAME_SERVERS[1];

/// Kind, name and mode of the one fault; `None` where all is well.
type Wanted<'a> = Option<(Kind, &'a str, &'a str)>;

fn describe(assessment: &Assessment) -> String {
    let verdict = &assessment.verdict;
    let named = verdict.faults.iter().map(|f| {
        let c = &f.component;
        let (mode, summary) = (&f.mode, &f.summary);
        format!(
            "{:?} {} {mode} {:.3}: {summary}",
            c.kind, c.name, f.confidence
        )
    });
    let rivals = verdict.alternatives.iter().map(|a| {
        let c = &a.component;
        format!("{:?} {} {} {:.3}", c.kind, c.name, a.mode, a.confidence)
    });
    let (named, rivals): (Vec<_>, Vec<_>) = (named.collect(), rivals.collect());
    format!("{:?} named {named:#?} rivals {rivals:#?}", verdict.outcome)
}

fn check(topology: &Topology, told: impl Fn(Ask<'_>) -> Option<Said>, wanted: Wanted<'_>) {
    let assessment = judge(topology, 20, told);
    holds(&assessment, wanted);
}

fn judge(topology: &Topology, rounds: u64, told: impl Fn(Ask<'_>) -> Option<Said>) -> Assessment {
    let assessment = localize(&case(topology, rounds, told));
    if std::env::var_os("SHOW").is_some() {
        eprintln!("{}", describe(&assessment));
    }
    assessment
}

fn holds(assessment: &Assessment, wanted: Wanted<'_>) {
    let faults = &assessment.verdict.faults;
    let named: Vec<_> = faults
        .iter()
        .map(|f| (f.component.kind, f.component.name.as_str(), f.mode.as_str()))
        .collect();
    let text = describe(assessment);
    assert_eq!(named, wanted.into_iter().collect::<Vec<_>>(), "{text}");
    let outcome = match wanted {
        Some(_) => VerdictOutcome::Fault,
        None => VerdictOutcome::Healthy,
    };
    assert_eq!(assessment.verdict.outcome, outcome, "{text}");
}

const fn zone(mode: &str) -> Wanted<'_> {
    Some((Kind::AuthoritativeDns, ZONE, mode))
}

const fn resolver(mode: &str) -> Wanted<'_> {
    Some((Kind::Resolver, R1, mode))
}

const fn second(mode: &str) -> Wanted<'_> {
    Some((Kind::AuthoritativeDns, NS2, mode))
}

fn summary(assessment: &Assessment) -> &str {
    &assessment.verdict.faults.first().expect("a fault").summary
}

/// Handed out by name servers whose signer has stopped.
fn over(of: Of<'_>) -> Said {
    Said::well(of).with(|facts| facts.signed = Some(until(BEGIN_S - 60)))
}

#[test]
fn all_is_well() {
    check(&topology(), |_| None, None);
    let unsigned = |ask: Ask<'_>| ask.asks_dns().then(|| Said::unsigned(ask.of));
    check(&topology(), unsigned, None);
}

/// Whatever resolvers say beside SERVFAIL: what is handed out tells that it has expired.
#[test]
fn signatures_that_are_over_are_the_zone_s() {
    let says: [&[u16]; 4] = [&[], &[7], &[9], &[13]];
    for extended in says {
        let told = |ask: Ask<'_>| match ask.of {
            Of::Resolver(_) => Some(Said::servfail(extended, true)),
            Of::NameServer(_) => Some(over(ask.of)),
            Of::Edge(_) => None,
        };
        check(&topology(), told, zone("signatures_expired"));
    }
}

#[test]
fn who_does_not_check_is_spared_and_not_blamed() {
    let told = |checks: usize, said: &'static [u16]| {
        move |ask: Ask<'_>| match ask.of {
            Of::Resolver(place) if place < checks => Some(Said::servfail(said, true)),
            of @ Of::Resolver(_) => Some(Said::unsigned(of)),
            Of::NameServer(_) | Of::Edge(_) => None,
        }
    };
    for checks in [2, 3] {
        check(&topology(), told(checks, &[9]), zone("bogus"));
        check(&topology(), told(checks, &[]), zone("bogus"));
        check(&topology(), told(checks, &[7]), zone("signatures_expired"));
    }
    let assessment = judge(&topology(), 20, told(2, &[6]));
    let text = summary(&assessment);
    assert!(
        text.contains("DS record") && text.ends_with("users are affected."),
        "{text}"
    );
    let cleared = &assessment.verdict.exonerated;
    for place in RESOLVERS {
        assert!(cleared.iter().any(|c| c.component.name == place), "{place}");
    }
}

#[test]
fn a_resolver_that_fails_the_check_alone_is_at_fault_itself() {
    for extended in [&[7][..], &[6], &[]] {
        let told = |ask: Ask<'_>| match ask.of {
            Of::Resolver(0) => Some(Said::servfail(extended, true)),
            Of::Resolver(_) | Of::NameServer(_) | Of::Edge(_) => None,
        };
        let assessment = judge(&topology(), 60, told);
        holds(&assessment, resolver("validation_fails"));
    }
}

/// What others gave from their caches says nothing against the zone.
#[test]
fn a_cache_outlives_what_is_wrong_with_the_zone() {
    let told = |ask: Ask<'_>| match ask.of {
        Of::Resolver(0 | 1) if ask.round > 10 => Some(Said::servfail(&[9], true)),
        of @ Of::Resolver(_) => {
            let left = 300_u32.saturating_sub(u32::try_from(ask.round).expect("small"));
            Some(Said::well(of).with(|facts| facts.ttl = Some(left)))
        }
        Of::NameServer(_) | Of::Edge(_) => None,
    };
    check_after(40, told, zone("bogus"));
}

/// While signatures are wrong, what a resolver had in its cache is one answer, however often it is told. Half a
/// minute after they are right again, and when what it had is over, each answer shows that it answers.
#[test]
fn what_was_wrong_with_the_zone_does_not_hide_resolvers_for_long() {
    let told = |ask: Ask<'_>| match ask.of {
        Of::Resolver(0 | 1) if ask.round <= 5 => Some(Said::servfail(&[9], true)),
        Of::Resolver(_) | Of::NameServer(_) | Of::Edge(_) => None,
    };
    let assessment = judge(&topology(), 120, told);
    holds(&assessment, None);
    let rate = assessment.verdict.detection.rate;
    assert!(rate < 0.07, "{rate}");
}

fn check_after(rounds: u64, told: impl Fn(Ask<'_>) -> Option<Said>, wanted: Wanted<'_>) {
    holds(&judge(&topology(), rounds, told), wanted);
}

#[test]
fn a_resolver_that_fails_at_random_is_not_taken_for_one_that_checks() {
    let told = |ask: Ask<'_>| match ask.of {
        Of::Resolver(0) if ask.round % 3 == 1 => Some(Said::servfail(&[], true)),
        of @ Of::Resolver(0) => Some(Said::unsigned(of)),
        Of::Resolver(_) | Of::NameServer(_) | Of::Edge(_) => None,
    };
    check(&topology(), told, resolver("servfail"));
    let told = |ask: Ask<'_>| match ask.of {
        Of::Resolver(0) => Some(Said::servfail(&[22], true)),
        Of::Resolver(_) | Of::NameServer(_) | Of::Edge(_) => None,
    };
    check(&topology(), told, resolver("servfail"));
}

#[test]
fn signatures_that_nobody_checks_hurt_nobody() {
    let told = |ask: Ask<'_>| match ask.of {
        Of::NameServer(_) => Some(over(ask.of)),
        Of::Resolver(_) => Some(Said::unsigned(ask.of)),
        Of::Edge(_) => None,
    };
    check(&topology(), told, None);
}

#[test]
fn one_server_with_old_signatures_is_at_fault_alone() {
    let told = |ask: Ask<'_>| match ask.of {
        Of::NameServer(1) => Some(over(ask.of)),
        Of::NameServer(_) | Of::Resolver(_) | Of::Edge(_) => None,
    };
    check(&topology(), told, second("signatures_expired"));
}

#[test]
fn resolvers_that_are_led_astray_are_not_at_fault() {
    let told = |ask: Ask<'_>| match ask.of {
        Of::Resolver(_) => Some(Said::servfail(&[], false)),
        Of::NameServer(_) | Of::Edge(_) => None,
    };
    check(&topology(), told, zone("lame"));
    let told = |ask: Ask<'_>| match ask.of {
        Of::Resolver(0) => Some(Said::servfail(&[], false)),
        Of::Resolver(_) | Of::NameServer(_) | Of::Edge(_) => None,
    };
    check(&topology(), told, resolver("servfail"));
}

#[test]
fn a_name_server_that_does_not_speak_for_the_zone_is_lame() {
    let says = |failure, rcode| {
        move |ask: Ask<'_>| match ask.of {
            Of::NameServer(1) => Some(Said::says(failure, rcode)),
            Of::NameServer(_) | Of::Resolver(_) | Of::Edge(_) => None,
        }
    };
    let mut path = topology();
    check(&path, says(Failure::DnsLame, 0), second("lame"));
    check(&path, says(Failure::DnsRefused, 5), second("refuses"));
    check(&path, says(Failure::DnsServfail, 2), second("servfail"));
    // The parent still sends there, and the zone has long left.
    let zone = path.zone.as_mut().expect("a zone");
    zone.at_parent = NAME_SERVERS.map(Into::into).into();
    check(&path, says(Failure::DnsRefused, 5), second("refuses"));
    let zone = path.zone.as_mut().expect("a zone");
    zone.at_zone = [NAME_SERVERS[0].into()].into();
    check(&path, says(Failure::DnsRefused, 5), second("lame"));
    check(&path, says(Failure::DnsServfail, 2), second("lame"));
}

#[test]
fn what_all_name_servers_do_is_said_of_the_zone() {
    let rows = [
        (Failure::DnsLame, 0, "lame"),
        (Failure::DnsTimeout, 0, "no_answer"),
        (Failure::DnsRefused, 5, "refuses"),
    ];
    for (failure, rcode, mode) in rows {
        let told = |ask: Ask<'_>| match ask.of {
            Of::NameServer(_) => Some(Said::says(failure, rcode)),
            Of::Resolver(_) => Some(Said::servfail(&[22], false)),
            Of::Edge(_) => None,
        };
        check(&topology(), told, zone(mode));
    }
}

/// They do not fail at the same instant: no moment between makes two faults of it.
#[test]
fn name_servers_that_fail_one_after_the_other_are_the_zone() {
    for later in [4, 7, 9] {
        let told = |ask: Ask<'_>| match ask.of {
            Of::NameServer(0) if ask.round > 3 => Some(Said::says(Failure::DnsRefused, 5)),
            Of::NameServer(_) if ask.round > later => Some(Said::says(Failure::DnsRefused, 5)),
            Of::Resolver(_) if ask.round > later => Some(Said::servfail(&[22], false)),
            Of::NameServer(_) | Of::Resolver(_) | Of::Edge(_) => None,
        };
        let assessment = judge(&topology(), 30, told);
        holds(&assessment, zone("refuses"));
        assert!(assessment.verdict.faults[0].user_impact);
    }
}

#[test]
fn a_name_that_is_not_there_is_nobody_s_resolver() {
    let rows = [Failure::DnsNxdomain, Failure::DnsNoData];
    for failure in rows {
        let told = |ask: Ask<'_>| match ask.of {
            Of::Edge(_) => None,
            of @ (Of::Resolver(_) | Of::NameServer(_)) => {
                Some(Said::negative(of, failure, Some(soa(7))))
            }
        };
        let assessment = judge(&topology(), 20, told);
        holds(&assessment, zone("name_missing"));
        let fault = &assessment.verdict.faults[0];
        assert!(fault.user_impact);
        assert_eq!(
            fault.summary,
            "Zone shop.example has no such name, or no address for it, as all answers say (is the host name in the service file right?); users are affected."
        );
        assert!(
            fault
                .next_step
                .contains("is the host name in the service file right?")
        );
        assert!(fault.owner.contains("zone"));
    }
}

#[test]
fn a_name_that_is_missing_at_one_resolver_is_in_its_cache() {
    let no: fn(Of<'_>) -> Said = |of| Said::negative(of, Failure::DnsNxdomain, Some(soa(7)));
    let rows: [fn(Of<'_>) -> Said; 5] = [
        no,
        |of| Said::negative(of, Failure::DnsNoData, Some(soa(7))),
        |of| Said::negative(of, Failure::DnsNxdomain, None),
        // The name of the zone itself was missing for a moment.
        |of| {
            let above = localize::dns::Soa {
                zone: "example".into(),
                ..soa(7)
            };
            Said::negative(of, Failure::DnsNxdomain, Some(above))
        },
        // What is kept is that there is no A.
        |of| Said::well(of).with(|facts| facts.addresses = vec![ip("2001:db8::1")]),
    ];
    for says in rows {
        let told = |ask: Ask<'_>| match ask.of {
            Of::Resolver(0) => Some(says(ask.of)),
            Of::Resolver(_) | Of::NameServer(_) | Of::Edge(_) => None,
        };
        check(&topology(), told, resolver("stale_answer"));
    }
    let told = |ask: Ask<'_>| (ask.of == Of::Resolver(0)).then(|| no(ask.of));
    let assessment = judge(&topology(), 20, told);
    assert_eq!(
        summary(&assessment),
        "Resolver 192.0.2.11 answers all questions with the kept word that there is no such name or address, for up to 5 min more, while 192.0.2.12 and 192.0.2.13 are well; its users are affected."
    );
}

/// The zone had no such name for half a minute, and one resolver keeps that.
#[test]
fn a_negative_answer_outlives_its_reason() {
    let told = |ask: Ask<'_>| {
        let no = |of| Said::negative(of, Failure::DnsNxdomain, Some(soa(7)));
        match ask.of {
            Of::NameServer(_) | Of::Resolver(1 | 2) => (ask.round <= 30).then(|| no(ask.of)),
            Of::Resolver(_) => Some(no(ask.of)),
            Of::Edge(_) => None,
        }
    };
    let assessment = judge(&topology(), 70, told);
    holds(&assessment, resolver("stale_answer"));
    let earlier = &assessment.verdict.earlier;
    let was = |mode: &str| {
        let mut earlier = earlier.iter();
        earlier.any(|e| e.component.name == ZONE && e.mode == mode)
    };
    assert!(was("name_missing"), "{earlier:?}");
}

#[test]
fn a_filter_is_told_from_a_cache() {
    let rows: [fn(Of<'_>) -> Said; 5] = [
        |of| Said::negative(of, Failure::DnsNxdomain, None).with(|f| f.extended = vec![15]),
        |of| Said::well(of).with(|f| f.addresses = vec![ip("0.0.0.0")]),
        |of| Said::well(of).with(|f| f.extended = vec![4]),
        |_| Said::says(Failure::DnsRefused, 5).with(|f| f.extended = vec![17]),
        |of| {
            let own = localize::dns::Soa {
                zone: "rpz.filter.test".into(),
                ..soa(1)
            };
            Said::negative(of, Failure::DnsNxdomain, Some(own))
        },
    ];
    for says in rows {
        let told = |ask: Ask<'_>| (ask.of == Of::Resolver(0)).then(|| says(ask.of));
        check(&topology(), told, resolver("filters"));
    }
    // Who may not ask is refused, which is no filter.
    let told = |ask: Ask<'_>| {
        let no = || Said::says(Failure::DnsRefused, 5).with(|f| f.extended = vec![18]);
        (ask.of == Of::Resolver(0) && ask.round > 2).then(no)
    };
    check(&topology(), told, resolver("refuses"));
}

#[test]
fn a_server_that_lags_behind_is_stale() {
    let behind: fn(&mut localize::DnsFacts) = |facts| facts.soa = Some(soa(6));
    let not_there: fn(Of<'_>) -> Said = |of| Said::negative(of, Failure::DnsNxdomain, Some(soa(7)));
    let second_says = |says: fn(Of<'_>) -> Said| {
        move |ask: Ask<'_>| (ask.of == Of::NameServer(1)).then(|| says(ask.of))
    };
    // It has not heard of the name yet.
    let lacks: fn(Of<'_>) -> Said = |of| Said::negative(of, Failure::DnsNxdomain, Some(soa(6)));
    check(&topology(), second_says(lacks), second("stale_answer"));
    // It has the same version, and not the name.
    let told = |ask: Ask<'_>| (ask.of == Of::NameServer(1)).then(|| not_there(ask.of));
    check(&topology(), told, second("name_missing"));
    // The same addresses: nobody is the worse for it.
    let told =
        |ask: Ask<'_>| (ask.of == Of::NameServer(1)).then(|| Said::well(ask.of).with(behind));
    check_after(90, told, None);
    // Other addresses, after a minute.
    let old: fn(Of<'_>) -> Said = |of| {
        Said::well(of).with(|facts| {
            facts.soa = Some(soa(6));
            facts.addresses = vec![ip(EDGES[0])];
        })
    };
    check_after(90, second_says(old), second("stale_answer"));
    // Another provider's copy counts by itself.
    let others: fn(Of<'_>) -> Said = |of| {
        Said::well(of).with(|facts| {
            let primary = "ns.other.test".into();
            facts.soa = Some(localize::dns::Soa { primary, ..soa(6) });
            facts.addresses = vec![ip(EDGES[0])];
        })
    };
    check_after(90, second_says(others), None);
}

#[test]
fn an_address_that_serves_nobody_is_wrong_or_stale() {
    const REMOVED: &str = "198.51.100.99";
    let mut path = topology();
    path.edges.push(at(REMOVED, 443));
    for (serial, mode) in [(7, "wrong_answer"), (6, "stale_answer")] {
        let told = |ask: Ask<'_>| match ask.of {
            Of::NameServer(1) => Some(Said::well(ask.of).with(|facts| {
                facts.addresses.push(ip(REMOVED));
                facts.soa = Some(soa(serial));
            })),
            Of::Edge(REMOVED) => Some(Said::says(Failure::DnsTimeout, 0)),
            Of::Edge(_) | Of::NameServer(_) | Of::Resolver(_) => None,
        };
        check(&path, told, second(mode));
    }
}

fn aaaa(reply: Reply) -> impl FnOnce(&mut localize::DnsFacts) {
    let took = Micros(5_000_000);
    move |facts| facts.aaaa = Some(Again { took, reply })
}

#[test]
fn questions_for_aaaa_that_go_unanswered() {
    let said = |failure| {
        move |ask: Ask<'_>| {
            let says = |of| Said::well(of).with(aaaa(Reply::Failed(failure)));
            (ask.of == Of::Resolver(0)).then(|| says(ask.of))
        }
    };
    check(
        &topology(),
        said(Failure::DnsTimeout),
        resolver("aaaa_fails"),
    );
    check(
        &topology(),
        said(Failure::DnsServfail),
        resolver("aaaa_fails"),
    );
    check(&topology(), said(Failure::DnsNoData), None);
    // Lost now and then, as packets are.
    let told = |ask: Ask<'_>| {
        let lost = || Said::well(ask.of).with(aaaa(Reply::Failed(Failure::DnsTimeout)));
        (ask.of == Of::Resolver(0) && ask.round.is_multiple_of(5)).then(lost)
    };
    check(&topology(), told, None);
}

/// Published IPv6 addresses where nobody listens are that address's trouble, and not DNS's, even where
/// some resolver withholds them.
#[test]
fn an_ipv6_address_that_is_dead_is_not_a_wrong_answer() {
    const DEAD: &str = "2001:db8::99";
    let mut path = topology();
    path.edges.push(at(DEAD, 443));
    for place in [1, 2] {
        path.vantages[place].addresses.push(ip("2001:db8:3::3"));
    }
    let told = |ask: Ask<'_>| match ask.of {
        Of::Edge(DEAD) => Some(Said::says(Failure::DnsTimeout, 0)),
        Of::Edge(_) | Of::Resolver(2) => None,
        of @ (Of::Resolver(_) | Of::NameServer(_)) => {
            Some(Said::well(of).with(aaaa(Reply::Addresses(vec![ip(DEAD)]))))
        }
    };
    let assessment = judge(&path, 20, told);
    let faults = &assessment.verdict.faults;
    let names: Vec<_> = faults.iter().map(|f| f.component.name.as_str()).collect();
    // One vantage point alone has IPv6: its own network may be what keeps it from there.
    let rivals = assessment.verdict.alternatives.iter();
    let candidate = rivals
        .map(|a| a.component.name.as_str())
        .any(|name| name == DEAD);
    let text = describe(&assessment);
    assert!(names.iter().all(|name| *name == DEAD), "{text}");
    assert!(candidate || !names.is_empty(), "{text}");
    // Who has no IPv6 is not sent there, and that is said.
    let not_probed = &assessment.verdict.not_probed;
    let named = |vantage: &str| {
        let mut lines = not_probed.iter().filter(|n| n.vantage == vantage);
        lines.any(|n| n.arm == format!("edge/{DEAD}") && n.because == "no IPv6 here")
    };
    assert!(named("home1") && !named("home3"), "{not_probed:?}");
    // It is given to nobody any more.
    let told = |ask: Ask<'_>| match ask.of {
        Of::Edge(DEAD) => Some(Said::says(Failure::DnsTimeout, 0)),
        Of::Edge(_) | Of::Resolver(_) | Of::NameServer(_) => None,
    };
    check(&path, told, None);
}

#[test]
fn a_network_that_answers_in_their_place_is_told_from_name_servers() {
    let told = |ask: Ask<'_>| match ask.of {
        Of::NameServer(_) if ask.vantage == 0 => Some(Said::says(Failure::DnsLame, 0)),
        Of::NameServer(_) | Of::Resolver(_) | Of::Edge(_) => None,
    };
    let wanted = (Kind::ClientNetwork, "home1", "dns_intercepted");
    check(&topology(), told, Some(wanted));
}
