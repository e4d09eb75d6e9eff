use super::*;

fn policy(text: &str) -> Policy {
    Policy::parse(text, Path::new(FILE)).unwrap()
}

fn context(coordinator: &str, role: Role) -> Context {
    Context {
        coordinator: coordinator.parse().unwrap(),
        role,
        resolvers: vec![
            "192.168.1.1".parse().unwrap(),
            "127.0.0.53".parse().unwrap(),
            "169.254.169.253".parse().unwrap(),
        ],
    }
}

fn target(text: &str) -> SocketAddr {
    match text.parse() {
        Ok(target) => target,
        Err(_) => SocketAddr::new(text.parse().unwrap(), 443),
    }
}

fn allowed(text: &str, coordinator: &str, role: Role, to: &str) -> bool {
    policy(text)
        .allows(&context(coordinator, role), target(to), 1)
        .is_ok()
}

/// Public, never and loopback are the same for every role; special space is not.
#[test]
fn every_kind_of_address_by_who_asks() {
    #[derive(Clone, Copy)]
    enum Kind {
        Public,
        Special,
        Loopback,
        Never,
    }
    use Kind::{Loopback, Never, Public, Special};
    let rows = [
        (Public, "8.8.8.8"),
        (Public, "9.255.255.255"),
        (Public, "11.0.0.0"),
        (Public, "100.63.255.255"),
        (Public, "100.128.0.0"),
        (Public, "172.15.255.255"),
        (Public, "172.32.0.0"),
        (Public, "192.0.1.0"),
        (Public, "192.167.255.255"),
        (Public, "192.169.0.0"),
        (Public, "198.17.255.255"),
        (Public, "198.20.0.0"),
        (Public, "223.255.255.255"),
        (Public, "2606:4700::1111"),
        (Public, "2001:200::1"),
        (Public, "::ffff:8.8.8.8"),
        (Public, "64:ff9b::808:808"),
        (Special, "10.0.0.5"),
        (Special, "100.64.0.1"),
        (Special, "172.16.0.1"),
        (Special, "172.31.255.255"),
        (Special, "192.0.0.8"),
        (Special, "192.0.2.1"),
        (Special, "192.88.99.1"),
        (Special, "192.168.1.1"),
        (Special, "198.18.0.1"),
        (Special, "198.19.255.255"),
        (Special, "198.51.100.1"),
        (Special, "203.0.113.10"),
        (Special, "::ffff:10.0.0.5"),
        (Special, "64:ff9b::a00:5"),
        (Special, "64:ff9b:1::1"),
        (Special, "100::1"),
        (Special, "2001::1"),
        (Special, "2001:10::1"),
        (Special, "2001:2f:ffff::1"),
        (Special, "2001:db8::1"),
        (Special, "2002:808:808::1"),
        (Special, "3fff::1"),
        (Special, "5f00::1"),
        (Special, "fc00::1"),
        (Special, "fd12:3456::1"),
        (Special, "fec0::1"),
        (Loopback, "127.0.0.1"),
        (Loopback, "127.255.255.254"),
        (Loopback, "::1"),
        (Loopback, "::ffff:127.0.0.1"),
        (Loopback, "64:ff9b::7f00:1"),
        (Loopback, "2002:7f00:1::"),
        (Never, "0.0.0.0"),
        (Never, "0.1.2.3"),
        (Never, "169.254.169.254"),
        (Never, "169.254.0.1"),
        (Never, "100.100.100.200"),
        (Never, "224.0.0.1"),
        (Never, "239.255.255.255"),
        (Never, "240.0.0.1"),
        (Never, "255.255.255.255"),
        (Never, "::"),
        (Never, "::7f00:1"),
        (Never, "::ffff:169.254.169.254"),
        (Never, "::ffff:0.0.0.0"),
        (Never, "64:ff9b::a9fe:a9fe"),
        (Never, "2002:a9fe:a9fe::"),
        (Never, "fe80::1"),
        (Never, "febf::1"),
        (Never, "fd00:ec2::254"),
        (Never, "ff02::1"),
        // Its own resolver list does not open link-local space.
        (Never, "169.254.169.253:53"),
    ];
    for (kind, to) in rows {
        let (special, loopback) = match kind {
            Public => (true, true),
            Special => (true, false),
            Loopback => (false, true),
            Never => (false, false),
        };
        let public = matches!(kind, Public);
        let askers = [
            ("203.1.1.1", Role::Outside, public),
            ("2606:4700::1", Role::Outside, public),
            ("203.1.1.1", Role::Inside, special),
            ("203.1.1.1", Role::BehindCdn, special),
            ("10.9.9.9", Role::Outside, special),
            ("203.0.113.7", Role::Outside, special),
            ("fd00::9", Role::Inside, special),
            ("127.0.0.1", Role::Outside, special || loopback),
            ("::1", Role::Outside, special || loopback),
            ("::ffff:127.0.0.1", Role::Inside, special || loopback),
        ];
        for (coordinator, role, expected) in askers {
            let got = allowed("", coordinator, role, to);
            assert_eq!(
                got, expected,
                "{to} for {role:?}, coordinator {coordinator}"
            );
        }
    }
}

#[test]
fn the_hosts_own_resolver_is_asked_at_the_dns_port_alone() {
    let rows = [
        ("192.168.1.1:53", true),
        ("192.168.1.1:80", false),
        ("192.168.1.2:53", false),
        ("127.0.0.53:53", true),
        ("127.0.0.53:8080", false),
        ("127.0.0.1:53", false),
    ];
    for (to, expected) in rows {
        assert_eq!(
            allowed("", "203.1.1.1", Role::Outside, to),
            expected,
            "{to}"
        );
    }
}

#[test]
fn the_file_opens_and_closes() {
    let rows = [
        (r#"allow = ["10.0.0.0/8"]"#, "10.1.2.3", true),
        (r#"allow = ["10.1.2.3"]"#, "10.1.2.3", true),
        (r#"allow = ["10.1.2.3"]"#, "::ffff:10.1.2.3", true),
        (r#"allow = ["10.1.2.3"]"#, "10.1.2.4", false),
        (r#"allow = ["fd00::/8"]"#, "fd00::1", true),
        (r#"allow = ["fd00::/8"]"#, "fd00:ec2::254", false),
        (r#"allow = ["0.0.0.0/0"]"#, "10.1.2.3", true),
        (r#"allow = ["0.0.0.0/0"]"#, "169.254.169.254", false),
        (r#"allow = ["0.0.0.0/0"]"#, "127.0.0.1", false),
        (r#"allow = ["127.0.0.0/8"]"#, "127.0.0.1", true),
        (r#"allow = ["::1"]"#, "::1", true),
        (r#"deny = ["8.8.8.0/24"]"#, "8.8.8.8", false),
        (r#"deny = ["8.8.8.0/24"]"#, "::ffff:8.8.8.8", false),
        (r#"deny = ["8.8.8.0/24"]"#, "64:ff9b::808:808", false),
        (r#"deny = ["64:ff9b::/96"]"#, "64:ff9b::808:808", false),
        (r#"deny = ["8.8.8.0/24"]"#, "8.8.4.4", true),
        (
            "allow = ['10.0.0.0/8']\ndeny = ['10.0.0.0/9']",
            "10.1.1.1",
            false,
        ),
        (
            "allow = ['10.0.0.0/8']\ndeny = ['10.0.0.0/9']",
            "10.200.1.1",
            true,
        ),
        ("deny = ['192.168.1.1']", "192.168.1.1:53", false),
    ];
    for (text, to, expected) in rows {
        let got = allowed(text, "203.1.1.1", Role::Outside, to);
        assert_eq!(got, expected, "{to} by {text}");
    }
}

#[test]
fn a_permission_ends_at_its_instant() {
    let text = "[[allow_until]]\nprefix = '10.0.0.0/8'\nuntil = 2024-02-29T12:00:00+02:00";
    let policy = policy(text);
    let end_us = 1_709_200_800_000_000;
    for (now_us, expected) in [(0, true), (end_us - 1, true), (end_us, false)] {
        let context = context("203.1.1.1", Role::Outside);
        let got = policy.allows(&context, target("10.0.0.5"), now_us);
        assert_eq!(got.is_ok(), expected, "at {now_us}");
    }
}

#[test]
fn dates_become_days() {
    let rows = [
        ((1970, 1, 1), 0),
        ((1970, 3, 1), 59),
        ((2000, 2, 29), 11_016),
        ((2000, 3, 1), 11_017),
        ((2024, 12, 31), 20_088),
        ((2100, 3, 1), 47_541),
    ];
    for ((year, month, day), expected) in rows {
        assert_eq!(days_since_epoch(year, month, day), expected);
    }
}

#[test]
fn a_refusal_says_which_rule_and_what_to_write() {
    let rows = [
        (
            "",
            "10.0.0.5",
            "10.0.0.5 is private use space (10.0.0.0/8), which an agent of role outside does not probe for a coordinator with a public address; to probe it write allow = [\"10.0.0.5/32\"] into policy.toml",
        ),
        (
            "",
            "127.0.0.1",
            "127.0.0.1 is loopback, which is probed only when the coordinator is on loopback too; to probe it all the same write allow = [\"127.0.0.1/32\"] into policy.toml",
        ),
        (
            "",
            "169.254.169.254",
            "169.254.169.254 is link-local and cloud metadata space (169.254.0.0/16), which is never probed; policy.toml cannot change that",
        ),
        (
            "deny = ['8.8.8.8']",
            "8.8.8.8",
            "8.8.8.8 is refused by deny = [\"8.8.8.8/32\"] in policy.toml: remove that prefix to probe it",
        ),
    ];
    for (text, to, expected) in rows {
        let context = context("203.1.1.1", Role::Outside);
        let refusal = policy(text).allows(&context, target(to), 0).unwrap_err();
        assert_eq!(refusal.to_string(), expected);
    }
}

#[test]
fn a_bad_file_is_refused_by_name_and_field() {
    let rows = [
        ("allwo = []", "unknown field `allwo`"),
        (
            "allow = ['10.0.0.0/33']",
            "`10.0.0.0/33` is neither an address nor a prefix",
        ),
        ("deny = ['example.com']", "`example.com` is neither"),
        (
            "allow = ['169.254.169.254']",
            "allow: 169.254.169.254/32 is link-local",
        ),
        ("allow = ['224.0.0.0/8']", "allow: 224.0.0.0/8 is multicast"),
        (
            "secrets = ['Bearer abc']",
            "secrets: an entry is env:NAME or",
        ),
        (
            "secrets = ['file:token']",
            "secrets: an entry is env:NAME or",
        ),
        ("[limits]\nmax_concurrent = 0", "max_concurrent"),
        ("[limits]\nmax_probes = 5", "unknown field `max_probes`"),
        (
            "[[allow_until]]\nprefix = '10.0.0.0/8'\nuntil = 2024-02-29",
            "allow_until: 2024-02-29 must be",
        ),
        (
            "[[allow_until]]\nprefix = 'fe80::/10'\nuntil = 2024-02-29T00:00:00Z",
            "allow_until: fe80::/10",
        ),
        (
            "[[allow_until]]\nprefix = '10.0.0.0/8'",
            "missing field `until`",
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (text, expected) in rows {
        std::fs::write(folder.path().join(FILE), text).unwrap();
        let error = Policy::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains(FILE), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn no_file_is_the_rules_and_the_default_limits() {
    let folder = tempfile::tempdir().unwrap();
    let policy = Policy::load(folder.path()).unwrap();
    assert_eq!(policy.limits(), Limits::default());
    std::fs::write(folder.path().join(FILE), "[limits]\nmax_concurrent = 3").unwrap();
    let limits = Policy::load(folder.path()).unwrap().limits();
    assert_eq!(
        (limits.max_probes_per_second, limits.max_concurrent),
        (200, 3)
    );
}

#[test]
fn the_meter_gives_one_second_at_once_and_then_the_rate() {
    let mut meter = Meter::new(Limits {
        max_probes_per_second: 10,
        max_concurrent: 1,
    });
    let start = 1_700_000_000_000_000;
    let mut admitted = |now| (0..100).filter(|_| meter.admit(now)).count();
    let rows = [
        (start, 10),
        (start + 99_999, 0),
        (start + 100_000, 1),
        (start + 350_000, 2),
        (start + 400_000, 1),
        (start, 0),
        (start + 100_000, 1),
        (start + 60_000_000, 10),
    ];
    for (now, expected) in rows {
        assert_eq!(admitted(now), expected, "at {}", now - start);
    }
}
