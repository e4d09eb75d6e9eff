//! Good files, and one bad file for each message.

mod asked;

use super::*;

const WHOLE: &str = r#"
name = "shop.example"
url  = "https://shop.example/"

[tls]
ca_file = "ca.pem"

[dns]
authoritative = ["192.0.2.53"]
resolvers     = ["192.0.2.1", "[2001:db8::1]:5353", "2001:db8::2", "192.0.2.1:53"]

[cdn]
provider = "auto"

[load_balancer]
vip  = ["203.0.113.10:443", "203.0.113.11"]
mode = "auto"

[[backend]]
name    = "web1"
address = "10.0.0.51:80"
scheme  = "http"
path    = "/"

[[backend]]
name    = "web2"
address = "10.0.0.52"

[schedule]
every   = "10s"
timeout = { connect = "500ms", total = "1m" }
reuse_ports = false
"#;

/// A certificate in form alone: its content is the agents' business.
const PEM: &str = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";

fn address(text: &str) -> SocketAddr {
    text.parse().expect("address")
}

#[test]
fn the_whole_file() {
    let file = ServiceFile::parse(WHOLE, Some(PEM)).expect("parses");
    assert_eq!(file.name, ServiceName("shop.example".into()));
    assert_eq!(
        file.url,
        ServiceUrl {
            text: "https://shop.example/".into(),
            scheme: Scheme::Https,
            host: "shop.example".into(),
            port: 443,
            authority: "shop.example".into(),
            path: "/".into(),
        }
    );
    assert_eq!(file.ca_pem.as_deref(), Some(PEM));
    assert_eq!(file.name_servers[0].name, "192.0.2.53");
    assert_eq!(file.name_servers[0].server, address("192.0.2.53:53"));
    let resolvers = ["192.0.2.1:53", "[2001:db8::1]:5353", "[2001:db8::2]:53"];
    assert_eq!(file.resolvers, resolvers.map(address));
    assert_eq!(file.cdn, CdnProvider::Auto(None));
    assert_eq!(
        file.vips,
        ["203.0.113.10:443", "203.0.113.11:443"].map(address)
    );
    assert_eq!(file.vip_mode, VipMode::Auto);
    let backends: Vec<_> = file
        .backends
        .iter()
        .map(|b| (b.scheme, b.address))
        .collect();
    let expected = [
        (Scheme::Http, address("10.0.0.51:80")),
        (Scheme::Https, address("10.0.0.52:443")),
    ];
    assert_eq!(backends, expected);
    assert_eq!(file.every, Some(Duration::from_secs(10)));
    assert_eq!(
        file.timeouts,
        Timeouts {
            connect: Duration::from_millis(500),
            total: Duration::from_secs(60),
            ..Timeouts::default()
        }
    );
    assert_eq!(file.port_reuse, Extra::LeftOut);
}

#[test]
fn name_and_url_are_enough() {
    let text = "name = \"shop\"\nurl = \"http://Shop.Example:8080/a/b?c=d\"\n";
    let file = ServiceFile::parse(text, None).expect("parses");
    assert_eq!(file.url.authority, "shop.example:8080");
    assert_eq!((file.url.port, file.url.path.as_str()), (8080, "/a/b?c=d"));
    assert!(file.backends.is_empty() && file.vips.is_empty());
    assert_eq!((file.every, file.timeouts), (None, Timeouts::default()));
    assert_eq!(file.port_reuse, Extra::Probed);
    assert_eq!(file.large_path, None);
}

#[test]
fn something_large_may_be_named() {
    let text = WHOLE.replacen("url ", "large_path = \"/static/app.js?v=2\"\nurl ", 1);
    let file = ServiceFile::parse(&text, Some(PEM)).expect("parses");
    assert_eq!(file.large_path.as_deref(), Some("/static/app.js?v=2"));
}

#[test]
fn the_scheme_of_a_backend_follows_its_port() {
    let rows = [
        ("10.0.0.1:80", Scheme::Http),
        ("10.0.0.1:8080", Scheme::Http),
        ("10.0.0.1:443", Scheme::Https),
        ("[2001:db8::1]:8443", Scheme::Https),
        ("10.0.0.1", Scheme::Https),
        ("[2001:db8::1]", Scheme::Https),
    ];
    for (address, scheme) in rows {
        let text = format!(
            "name = \"a\"\nurl = \"https://a.example/x\"\n[[backend]]\nname = \"b\"\naddress = \"{address}\"\n"
        );
        let file = ServiceFile::parse(&text, None).expect("parses");
        assert_eq!(file.backends[0].scheme, scheme, "{address}");
        assert_eq!(file.backends[0].path, "/x", "the url's path");
    }
}

/// A good file with one line replaced, or one appended.
fn with(old: &str, new: &str) -> String {
    assert!(WHOLE.contains(old), "{old}");
    WHOLE.replacen(old, new, 1)
}

#[test]
fn every_message_has_its_bad_file() {
    let reuse = "reuse_ports = false";
    let name = r#"name = "shop.example""#;
    let url = r#"url  = "https://shop.example/""#;
    let vip = r#"vip  = ["203.0.113.10:443", "203.0.113.11"]"#;
    let rows: &[(&str, &str, &[&str])] = &[
        (
            name,
            "name = \"shop.example\"\nlarge_path = \"https://shop.example/app.js\"",
            &[
                "line 3, large_path",
                "begins with '/'",
                "\"/static/app.js\"",
            ],
        ),
        (name, "", &["missing field `name`"]),
        (
            reuse,
            "reuse_ports = \"no\"",
            &["line 32", "reuse_ports", "boolean"],
        ),
        (name, "name = 7", &["line 2", "name = 7", "expected"]),
        (
            name,
            "naem = \"x\"",
            &["line 2", "naem", "unknown field", "`name`"],
        ),
        (
            name,
            "name = \"a b\"",
            &["line 2, name = \"a b\"", "letters", "\"shop.example\""],
        ),
        (name, "name = \"\"", &["line 2, name = \"\"", "1 to 64"]),
        (name, "name = \"-x\"", &["begins with a letter or digit"]),
        (
            url,
            "url = \"shop.example\"",
            &["line 3, url", "not a URL", "\"https://shop.example/\""],
        ),
        (
            url,
            "url = \"ftp://shop.example/\"",
            &["line 3, url", "http or https"],
        ),
        (
            url,
            "url = \"https://192.0.2.1/\"",
            &["must be a name", "vip"],
        ),
        (url, "url = \"https://[2001:db8::1]/\"", &["must be a name"]),
        (
            url,
            "url = \"https://me:pw@shop.example/\"",
            &["no user name, password or fragment"],
        ),
        (url, "url = \"https://shop.example/#top\"", &["fragment"]),
        (url, "url = \"https://shop.example:0/\"", &["port 0"]),
        (
            "192.0.2.53",
            "ns1.shop.example",
            &["line 9, dns.authoritative", "not a host name"],
        ),
        (
            "192.0.2.1\"",
            "192.0.2.300\"",
            &["line 10, dns.resolvers", "IP address", "\"192.0.2.1\""],
        ),
        (
            "\"auto\"\n\n[load",
            "\"Cloud Flare\"\n\n[load",
            &["line 13, cdn.provider", "auto, none"],
        ),
        (
            vip,
            "vip = [\"lb.example:443\"]",
            &["line 16, load_balancer.vip", "not a host name"],
        ),
        (
            vip,
            "vip = [\"0.0.0.0:443\"]",
            &["line 16", "unspecified address"],
        ),
        (
            vip,
            "vip = \"203.0.113.10:443\"",
            &["line 16", "expected a sequence"],
        ),
        (
            "mode = \"auto\"",
            "mode = \"l8\"",
            &["line 17", "unknown variant `l8`", "`dsr`"],
        ),
        (
            "\"web1\"",
            "\"lb\"",
            &[
                "line 20, backend.name = \"lb\"",
                "balancer itself",
                "\"web1\"",
            ],
        ),
        (
            "\"web2\"",
            "\"web1\"",
            &["line 26, backend.name", "earlier backend"],
        ),
        (
            "\"web2\"",
            "\"web/2\"",
            &["line 26, backend.name", "letters"],
        ),
        (
            "10.0.0.51:80",
            "web1.internal:80",
            &["line 21, backend.address", "not a host name"],
        ),
        (
            "10.0.0.51:80",
            "10.0.0.51:0",
            &["line 21, backend.address", "port 0"],
        ),
        (
            "10.0.0.51:80\"\nscheme  = \"http\"",
            "10.0.0.51\"\nscheme  = \"tcp\"",
            &["tcp has no port"],
        ),
        (
            "scheme  = \"http\"",
            "scheme  = \"ftp\"",
            &["line 22", "unknown variant `ftp`", "`tcp`"],
        ),
        (
            "path    = \"/\"",
            "path    = \"health\"",
            &["line 23, backend.path", "begins with '/'"],
        ),
        (
            "path    = \"/\"",
            "path    = \"/a b\"",
            &["line 23, backend.path", "no spaces"],
        ),
        (
            "path    = \"/\"",
            "weight  = 3",
            &["line 23", "unknown field `weight`"],
        ),
        (
            "\"10s\"",
            "\"10\"",
            &["line 30, schedule.every", "ms, s, m or h", "\"10s\""],
        ),
        (
            "\"10s\"",
            "\"ten seconds\"",
            &["line 30, schedule.every", "whole number"],
        ),
        (
            "\"10s\"",
            "\"500ms\"",
            &["line 30, schedule.every", "1s to 1h"],
        ),
        (
            "\"10s\"",
            "\"2h\"",
            &["line 30, schedule.every", "1s to 1h"],
        ),
        ("\"10s\"", "\"99999999999999999999h\"", &["whole number"]),
        (
            "\"500ms\"",
            "\"10ms\"",
            &["line 31, schedule.timeout.connect", "50ms and 60s"],
        ),
        (
            "\"1m\"",
            "\"2m\"",
            &["line 31, schedule.timeout.total", "50ms and 60s"],
        ),
        ("total =", "totl =", &["line 31", "unknown field `totl`"]),
        (
            "[schedule]",
            "[shedule]",
            &["line 29", "unknown field `shedule`"],
        ),
        ("[cdn]", "[cdn", &["line 12"]),
    ];
    for (old, new, needles) in rows {
        let error = ServiceFile::parse(&with(old, new), Some(PEM));
        let message = error.expect_err(new).to_string();
        for needle in *needles {
            assert!(
                message.contains(needle),
                "{new}: {needle:?} is not in {message}"
            );
        }
    }
}

#[test]
fn the_text_of_the_anchors_must_come_along() {
    let rows = [
        (
            None,
            "line 6, tls.ca_file = \"ca.pem\": the text of that file was not sent along",
        ),
        (Some(""), "tls.ca_file: its text holds no PEM certificate"),
        (
            Some("-----BEGIN CERTIFICATE-----\n%%"),
            "tls.ca_file: its text holds no PEM certificate",
        ),
    ];
    for (pem, expected) in rows {
        let message = ServiceFile::parse(WHOLE, pem)
            .expect_err(expected)
            .to_string();
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn lists_are_bounded() {
    let head = "name = \"a\"\nurl = \"https://a.example/\"\n";
    let addresses: Vec<String> = (1..=17).map(|n| format!("\"192.0.2.{n}\"")).collect();
    let resolvers = format!("{head}[dns]\nresolvers = [{}]\n", addresses.join(", "));
    let backends: String = (0..65)
        .map(|n| {
            format!(
                "[[backend]]\nname = \"b{n}\"\naddress = \"10.0.0.1:{}\"\n",
                n + 1
            )
        })
        .collect();
    let rows = [
        (
            resolvers,
            "line 4, dns.resolvers: 17 entries, at most 16 are allowed",
        ),
        (
            format!("{head}{backends}"),
            "backend: 65 entries, at most 64 are allowed",
        ),
        (
            format!("{head}# {}", "x".repeat(70_000)),
            "at most 65536 are read",
        ),
    ];
    for (text, expected) in rows {
        let message = ServiceFile::parse(&text, None)
            .expect_err(expected)
            .to_string();
        assert!(message.contains(expected), "{message}");
    }
}

/// The documentation names fields that there are, and shows a file that is one.
#[test]
fn the_reference_is_true() {
    let page = include_str!("../../../docs/service-file.md");
    let shown = page.split("```toml\n").nth(1).unwrap();
    ServiceFile::parse(shown.split("```").next().unwrap(), None).unwrap();
    let raw = include_str!("raw.rs");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let mut named = 0;
    for row in rows {
        let fields = row.split(" | ").next().unwrap().split(", ");
        for field in fields.map(|field| field.trim_matches('`')) {
            let last = field.rsplit('.').next().unwrap();
            assert!(raw.contains(&format!("pub {last}: ")), "{field}");
            named += 1;
        }
    }
    let there = raw.matches("pub ").count();
    assert!(named > 20 && there > named, "{named} of {there}");
}
