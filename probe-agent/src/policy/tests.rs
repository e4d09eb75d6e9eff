use super::*;

fn policy(text: &str) -> Policy {
    Policy::parse(text, Path::new(FILE)).unwrap()
}

/// A host with a public address in a public network, as rented machines have, and another at home.
fn context(role: Role) -> Context {
    let mut around = around::in_network("9.8.7.6/24", "9.8.7.1");
    let home = around::in_network("192.168.1.7/24", "192.168.1.1");
    around.own.extend(home.own);
    around.links.extend(home.links);
    around.gateways.extend(home.gateways);
    let resolvers = [
        "192.168.1.1:53",
        "127.0.0.53:53",
        "169.254.169.253:53",
        "168.63.129.16:53",
        "[fd00:ec2::253]:53",
        "127.0.0.1:5353",
    ];
    Context {
        role,
        resolvers: resolvers.map(|text| text.parse().unwrap()).to_vec(),
        around,
    }
}

fn target(text: &str) -> SocketAddr {
    match text.parse() {
        Ok(target) => target,
        Err(_) => SocketAddr::new(text.parse().unwrap(), 443),
    }
}

/// A page of a service whose URL has this port.
const PAGE: Purpose = Purpose::Connection { declared: 8443 };

fn asked(text: &str, role: Role, to: &str, purpose: Purpose) -> Result<(), Refusal> {
    policy(text).allows(&context(role), target(to), purpose, 1)
}

fn allowed(text: &str, role: Role, to: &str) -> bool {
    asked(text, role, to, PAGE).is_ok()
}

/// Public, never and loopback are the same for every role; special space is not.
#[test]
fn every_kind_of_address_by_role() {
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
        (Public, "168.63.129.15"),
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
        (Special, "192.31.196.1"),
        (Special, "192.52.193.1"),
        (Special, "192.88.99.1"),
        (Special, "192.168.1.1"),
        (Special, "192.175.48.1"),
        (Special, "198.18.0.1"),
        (Special, "198.19.255.255"),
        (Special, "198.51.100.1"),
        (Special, "203.0.113.10"),
        (Special, "::ffff:10.0.0.5"),
        (Special, "64:ff9b::a00:5"),
        (Special, "64:ff9b:1::808:808"),
        (Special, "100::1"),
        (Special, "100:0:0:1::1"),
        (Special, "200::1"),
        (Special, "400::1"),
        (Special, "1fff:ffff::1"),
        (Special, "2001:0:101:101::fdfd:fdfd"),
        (Special, "2001:1::1"),
        (Special, "2001:2::1"),
        (Special, "2001:3::1"),
        (Special, "2001:4:112::1"),
        (Special, "2001:10::1"),
        (Special, "2001:2f:ffff::1"),
        (Special, "2001:3f:ffff::1"),
        (Special, "2001:1ff::1"),
        (Special, "2001:db8::1"),
        (Special, "2002:808:808::1"),
        (Special, "2620:4f:8000::1"),
        (Special, "3ffe::1"),
        (Special, "3fff::1"),
        (Special, "4000::1"),
        (Special, "5f00::1"),
        (Special, "8000::1"),
        (Special, "fc00::1"),
        (Special, "fd12:3456::1"),
        (Special, "fe00::1"),
        (Special, "fec0::1"),
        (Loopback, "127.0.0.1"),
        (Loopback, "127.255.255.254"),
        (Loopback, "::1"),
        (Loopback, "::ffff:127.0.0.1"),
        (Loopback, "64:ff9b::7f00:1"),
        (Never, "0.0.0.0"),
        (Never, "0.1.2.3"),
        (Never, "169.254.169.254"),
        (Never, "169.254.170.2"),
        (Never, "169.254.0.1"),
        (Never, "168.63.129.16"),
        (Never, "192.0.0.192"),
        (Never, "100.100.100.200"),
        (Never, "224.0.0.1"),
        (Never, "239.255.255.255"),
        (Never, "240.0.0.1"),
        (Never, "255.255.255.255"),
        (Never, "::"),
        (Never, "::7f00:1"),
        (Never, "::ffff:0:a9fe:a9fe"),
        (Never, "::ffff:169.254.169.254"),
        (Never, "::ffff:0.0.0.0"),
        (Never, "64:ff9b::a9fe:a9fe"),
        (Never, "fe80::1"),
        (Never, "febf::1"),
        (Never, "fd00:42::42"),
        (Never, "fd00:ec2::254"),
        (Never, "fd00:ec2::23"),
        (Never, "fd00:a9fe:a9fe::1"),
        (Never, "fd20:ce::254"),
        (Never, "ff02::1"),
    ];
    for (kind, to) in rows {
        let (special, public) = match kind {
            Public => (true, true),
            Special => (true, false),
            Loopback | Never => (false, false),
        };
        let roles = [
            (Role::Outside, public),
            (Role::BehindCdn, special),
            (Role::Inside, special),
        ];
        for (role, expected) in roles {
            assert_eq!(allowed("", role, to), expected, "{to} for {role:?}");
        }
        let loopback = matches!(kind, Loopback);
        let opened = "allow = ['127.0.0.0/8', '::1']";
        assert_eq!(
            allowed(opened, Role::Outside, to),
            public || loopback,
            "{to}"
        );
    }
}

/// Relays and translators hand packets on to the IPv4 address inside.
#[test]
fn what_is_behind_a_relay_is_judged_as_well() {
    let rows = [
        // 6to4 of loopback, of metadata and of private space.
        ("", "2002:7f00:1::", false),
        ("", "2002:a9fe:a9fe::", false),
        ("", "2002:a00:5::1", true),
        // Teredo of metadata, which is written inverted, and local NAT64 of it.
        ("", "2001:0:101:101::5601:5601", false),
        ("", "64:ff9b:1::a9fe:a9fe", false),
        // Whoever denies an IPv4 prefix means it.
        ("deny = ['8.8.8.0/24']", "2002:808:808::1", false),
        ("deny = ['8.8.8.0/24']", "2002:808:908::1", true),
        ("deny = ['8.8.8.0/24']", "2001:0:101:101::f7f7:f7f7", false),
        ("deny = ['8.8.8.0/24']", "64:ff9b:1::808:808", false),
        ("deny = ['8.8.8.0/24']", "64:ff9b::808:808", false),
        ("deny = ['8.8.8.0/24']", "::ffff:8.8.8.8", false),
        ("deny = ['2002::/16']", "2002:808:808::1", false),
    ];
    for (text, to, expected) in rows {
        assert_eq!(
            allowed(text, Role::Inside, to),
            expected,
            "{to} by {text:?}"
        );
    }
    // Who opens the relays' space opens nothing private behind it.
    let relays = "allow = ['2002::/16']";
    assert!(allowed(relays, Role::Outside, "2002:808:808::1"));
    assert!(!allowed(relays, Role::Outside, "2002:a00:5::1"));
}

#[test]
fn the_hosts_own_resolver_is_asked_as_the_host_asks_it() {
    let question = Purpose::Question;
    let rows = [
        ("192.168.1.1:53", question, true),
        ("192.168.1.1:53", PAGE, false),
        ("192.168.1.1:80", question, false),
        ("192.168.1.2:53", question, false),
        ("127.0.0.53:53", question, true),
        ("127.0.0.53:8080", question, false),
        ("127.0.0.1:53", question, false),
        ("127.0.0.1:5353", question, true),
        // Those of clouds, where nothing else is asked.
        ("169.254.169.253:53", question, true),
        ("169.254.169.253:53", PAGE, false),
        ("169.254.169.253:80", PAGE, false),
        ("169.254.169.254:53", question, false),
        ("168.63.129.16:53", question, true),
        ("168.63.129.16:80", PAGE, false),
        ("[fd00:ec2::253]:53", question, true),
        ("[fd00:ec2::254]:80", PAGE, false),
    ];
    for (to, purpose, expected) in rows {
        let got = asked("", Role::Outside, to, purpose).is_ok();
        assert_eq!(got, expected, "{to} {purpose:?}");
    }
    let closed = "only = ['8.8.8.8']\nports = [443]";
    assert!(asked(closed, Role::Outside, "192.168.1.1:53", question).is_ok());
    let denied = "deny = ['192.168.1.1']";
    assert!(asked(denied, Role::Outside, "192.168.1.1:53", question).is_err());
}

/// A machine at home or in a rack is no scanner of what stands around it.
#[test]
fn an_agent_outside_leaves_alone_what_is_near() {
    let rows = [
        ("9.8.7.6", "an address of this host"),
        ("9.8.7.1", "this host's gateway"),
        ("9.8.7.99", "in a network of this host (9.8.7.0/24)"),
        ("::ffff:9.8.7.99", "in a network of this host (9.8.7.0/24)"),
    ];
    for (to, near) in rows {
        let refusal = asked("", Role::Outside, to, PAGE).unwrap_err().to_string();
        assert!(refusal.contains(near), "{refusal}");
        assert!(allowed("allow = ['9.8.7.0/24']", Role::Outside, to), "{to}");
        assert!(allowed("", Role::Inside, to), "{to}");
    }
    assert!(allowed("", Role::Outside, "9.8.6.99"));
}

#[test]
fn an_agent_outside_asks_where_users_do() {
    let rows = [
        ("8.8.8.8:80", PAGE, true),
        ("8.8.8.8:443", PAGE, true),
        ("8.8.8.8:8443", PAGE, true),
        ("8.8.8.8:8444", PAGE, false),
        ("8.8.8.8:53", PAGE, false),
        ("8.8.8.8:22", PAGE, false),
        ("8.8.8.8:22", Purpose::Connection { declared: 22 }, false),
        (
            "8.8.8.8:6667",
            Purpose::Connection { declared: 6667 },
            false,
        ),
        ("8.8.8.8:53", Purpose::Question, true),
        ("8.8.8.8:5353", Purpose::Question, false),
    ];
    for (to, purpose, expected) in rows {
        let got = asked("", Role::Outside, to, purpose).is_ok();
        assert_eq!(got, expected, "{to} {purpose:?}");
        assert!(asked("", Role::Inside, to, purpose).is_ok(), "{to}");
        let opened = "allow = ['8.8.8.8']";
        assert!(asked(opened, Role::Outside, to, purpose).is_ok(), "{to}");
    }
}

#[test]
fn the_owners_ports_hold_everywhere() {
    let rows = [
        ("8.8.8.8:22", Role::Outside, PAGE, true),
        ("8.8.8.8:443", Role::Outside, PAGE, true),
        ("8.8.8.8:8443", Role::Outside, PAGE, false),
        ("10.0.0.5:8443", Role::Inside, PAGE, false),
        ("10.0.0.5:443", Role::Inside, PAGE, true),
        ("8.8.8.8:53", Role::Outside, Purpose::Question, true),
        ("8.8.8.8:54", Role::Inside, Purpose::Question, false),
    ];
    for (to, role, purpose, expected) in rows {
        let got = asked("ports = [22, 443]", role, to, purpose);
        assert_eq!(got.is_ok(), expected, "{to} {role:?}");
    }
}

#[test]
fn nothing_beside_the_owners_list_is_probed() {
    let text = "only = ['8.8.8.0/24', '10.0.0.0/24']\ndeny = ['8.8.8.9']";
    let rows = [
        ("8.8.8.8", true),
        ("8.8.4.4", false),
        ("8.8.8.9", false),
        // What is listed is opened as well: the owner has said so.
        ("10.0.0.5", true),
        ("10.0.1.5", false),
        ("2606:4700::1111", false),
        ("64:ff9b::808:808", true),
        ("2002:808:808::1", false),
    ];
    for role in [Role::Outside, Role::Inside] {
        for (to, expected) in rows {
            assert_eq!(allowed(text, role, to), expected, "{to} for {role:?}");
        }
    }
    assert!(!allowed("only = []", Role::Inside, "8.8.8.8"));
}

/// Of the owner's role and the token's the narrower one counts.
#[test]
fn the_coordinator_opens_nothing_by_a_role() {
    use Role::{BehindCdn, Inside, Outside};
    let rows = [
        (None, Outside, false),
        (None, BehindCdn, true),
        (None, Inside, true),
        (Some(Outside), Inside, false),
        (Some(Outside), Outside, false),
        (Some(BehindCdn), Inside, true),
        (Some(Inside), Inside, true),
        (Some(Inside), Outside, false),
    ];
    for (own, token, expected) in rows {
        let policy = Policy::default().of_role(own);
        let got = policy.allows(&context(token), target("10.0.0.5"), PAGE, 0);
        assert_eq!(got.is_ok(), expected, "{own:?} of a token for {token:?}");
    }
    let written = policy("role = 'outside'");
    assert_eq!(written.role(), Some(Outside));
    assert_eq!(written.clone().of_role(None).role(), Some(Outside));
    assert_eq!(written.of_role(Some(BehindCdn)).role(), Some(BehindCdn));
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
        assert_eq!(allowed(text, Role::Outside, to), expected, "{to} by {text}");
    }
}

#[test]
fn a_permission_ends_at_its_instant() {
    let text = "[[allow_until]]\nprefix = '10.0.0.0/8'\nuntil = 2024-02-29T12:00:00+02:00";
    let policy = policy(text);
    let end_us = 1_709_200_800_000_000;
    for (now_us, expected) in [(0, true), (end_us - 1, true), (end_us, false)] {
        let context = context(Role::Outside);
        let got = policy.allows(&context, target("10.0.0.5"), PAGE, now_us);
        assert_eq!(got.is_ok(), expected, "at {now_us}");
    }
}

#[test]
fn a_refusal_says_which_rule_and_what_to_write() {
    let rows = [
        (
            "",
            Role::Outside,
            "10.0.0.5",
            "10.0.0.5 is private use space (10.0.0.0/8), which an agent of role outside does not probe; to probe it write allow = [\"10.0.0.5/32\"] into policy.toml",
        ),
        (
            "role = 'outside'",
            Role::Inside,
            "10.0.0.5",
            "10.0.0.5 is private use space (10.0.0.0/8), which an agent of role outside does not probe (so its owner says; its token was for inside); to probe it write allow = [\"10.0.0.5/32\"] into policy.toml",
        ),
        (
            "role = 'inside'",
            Role::Outside,
            "9.8.7.1",
            "9.8.7.1 is this host's gateway, which an agent of role outside does not probe (its owner says inside, its token was for outside); to probe it write allow = [\"9.8.7.1/32\"] into policy.toml",
        ),
        (
            "",
            Role::Outside,
            "127.0.0.1",
            "127.0.0.1 is loopback, which is probed only where the host's owner says so: to probe it write allow = [\"127.0.0.1/32\"] into policy.toml",
        ),
        (
            "",
            Role::Inside,
            "169.254.169.254",
            "169.254.169.254 is link-local and cloud metadata space (169.254.0.0/16), which is never probed; policy.toml cannot change that",
        ),
        (
            "deny = ['8.8.8.8']",
            Role::Inside,
            "8.8.8.8",
            "8.8.8.8 is refused by deny = [\"8.8.8.8/32\"] in policy.toml: remove that prefix to probe it",
        ),
        (
            "only = ['8.8.8.8']",
            Role::Inside,
            "8.8.4.4",
            "8.8.4.4 is not in the list `only` of policy.toml: to probe it write \"8.8.4.4/32\" into that list",
        ),
        (
            "ports = [443]",
            Role::Inside,
            "8.8.4.4:80",
            "port 80 of 8.8.4.4 is not in the list `ports` of policy.toml: to probe it write 80 into that list",
        ),
        (
            "",
            Role::Outside,
            "8.8.4.4:22",
            "an agent of role outside asks public addresses at the ports 80, 443 and the url's own, as a browser does, and name servers at port 53: to probe 8.8.4.4:22 write ports = [53, 80, 443, 22] into policy.toml",
        ),
    ];
    for (text, role, to, expected) in rows {
        let refusal = asked(text, role, to, PAGE).unwrap_err();
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
            "only = ['100.100.100.200']",
            "only: 100.100.100.200/32 is cloud metadata",
        ),
        ("role = 'insider'", "unknown variant `insider`"),
        ("ports = [0]", "ports"),
        ("ports = [70000]", "ports"),
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
            "[limits.public]\nmax_bytes_per_second = 0",
            "max_bytes_per_second",
        ),
        ("[limits.edge]", "unknown field `edge`"),
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
    let text = "[limits]\nmax_concurrent = 3\n[limits.public]\nmax_probes_per_second = 9\n\
                [limits.private]\nmax_bytes_per_second = 7";
    std::fs::write(folder.path().join(FILE), text).unwrap();
    let limits = Policy::load(folder.path()).unwrap().limits();
    let each = |probes, bytes| Each {
        max_probes_per_second: probes,
        max_bytes_per_second: bytes,
    };
    let expected = Limits {
        max_probes_per_second: 200,
        max_concurrent: 3,
        public: each(Some(9), Some(1_000_000)),
        private: each(None, Some(7)),
    };
    assert_eq!(limits, expected);
}

/// The forms of one IPv4 address are one account, and what is not public has another bound.
#[test]
fn whose_account_a_probe_goes_on() {
    let rows = [
        ("8.8.8.8", "8.8.8.8", Whose::Public),
        ("::ffff:8.8.8.8", "8.8.8.8", Whose::Public),
        ("64:ff9b::808:808", "8.8.8.8", Whose::Public),
        ("10.0.0.5", "10.0.0.5", Whose::Private),
        ("127.0.0.1", "127.0.0.1", Whose::Private),
        ("169.254.169.253", "169.254.169.253", Whose::Private),
        ("2606:4700::1111", "2606:4700::1111", Whose::Public),
    ];
    for (target, address, whose) in rows {
        let expected = (address.parse().unwrap(), whose);
        assert_eq!(Policy::account(target.parse().unwrap()), expected);
    }
}
