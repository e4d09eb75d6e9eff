//! DNS as it is: BIND serves a zone, unbound resolves and validates it. Where they are not installed,
//! the tests say so and pass; `tests/packages.sh` installs them.

#![allow(
    clippy::disallowed_methods,
    reason = "a test waits for real daemons, and signs a zone for the present"
)]

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use localize::dns::Reply as Came;
use localize::{Failure, Layer, Outcome, Target};
use proto::v1;
use tempfile::TempDir;

use super::super::Findings;
use super::{failed, probe, spec};

const ZONE: &str = "$TTL 5\n@ IN SOA ns1 hostmaster 7 3600 600 86400 30\n@ IN NS ns1\n\
                    ns1 IN A 127.0.0.1\n@ IN A 192.0.2.1\n@ IN AAAA 2001:db8::1\n\
                    www IN CNAME cdn.other.test.\nfour IN A 192.0.2.4\n";

/// How the zone is signed, and what the resolver trusts.
#[derive(Clone, Copy, PartialEq)]
enum Signed {
    Well,
    Expired,
    /// With a key that the trust anchor does not fit, as when the DS is of another one.
    WithAnotherKey,
}

/// A daemon that ends with the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Zone {
    name_server: SocketAddr,
    resolver: SocketAddr,
    _daemons: [Daemon; 2],
    _folder: TempDir,
}

fn free_port() -> SocketAddr {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

fn run(folder: &Path, program: &str, words: &[&str]) -> String {
    let mut command = Command::new(program);
    let output = command.current_dir(folder).args(words).output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn start(folder: &Path, program: &str, words: &[&str]) -> Daemon {
    let mut command = Command::new(program);
    command.current_dir(folder).args(words);
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    Daemon(quiet.spawn().unwrap())
}

/// Makes two keys and signs the zone; the anchor is what the resolver believes.
fn sign(folder: &Path, signed: Signed) {
    let key = |ksk: &[&str]| {
        let words = [&["-q", "-a", "ECDSAP256SHA256"], ksk, &["shop.example"]].concat();
        run(folder, "dnssec-keygen", &words).trim().to_owned()
    };
    let (zsk, ksk, other) = (key(&[]), key(&["-f", "KSK"]), key(&["-f", "KSK"]));
    let trusted = match signed {
        Signed::WithAnotherKey => &other,
        Signed::Well | Signed::Expired => &ksk,
    };
    fs::copy(folder.join(format!("{trusted}.key")), folder.join("anchor")).unwrap();
    fs::write(folder.join("zone"), keys(folder, &[&zsk, &ksk])).unwrap();
    let times: &[&str] = match signed {
        Signed::Expired => &["-P", "-s", "20200101000000", "-e", "20200201000000"],
        Signed::Well | Signed::WithAnotherKey => &["-P"],
    };
    let place = ["-z", "-o", "shop.example", "-f", "signed", "zone"];
    let words = [times, &place, &[&ksk, &zsk]].concat();
    run(folder, "dnssec-signzone", &words);
}

fn keys(folder: &Path, names: &[&str]) -> String {
    let key = |name: &&str| fs::read_to_string(folder.join(format!("{name}.key"))).unwrap();
    ZONE.to_owned() + &names.iter().map(key).collect::<String>()
}

/// Starts both daemons; `None` where they are not installed.
fn path(signed: Signed) -> Option<Zone> {
    for program in ["named", "unbound", "dnssec-signzone"] {
        let folders = ["/usr/sbin", "/usr/bin"].iter();
        if !folders.map(Path::new).any(|f| f.join(program).exists()) {
            eprintln!("skipped: {program} is not installed; tests/packages.sh installs it");
            return None;
        }
    }
    let folder = TempDir::new().unwrap();
    sign(folder.path(), signed);
    let (name_server, resolver) = (free_port(), free_port());
    let here = folder.path().display();
    let named = format!(
        "options {{ directory \"{here}\"; listen-on port {} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};\n\
         recursion no; pid-file none; session-keyfile none; dnssec-validation no;\n\
         minimal-responses yes; managed-keys-directory \"{here}\"; }};\ncontrols {{ }};\n\
         zone \"shop.example\" {{ type primary; file \"signed\"; }};\n",
        name_server.port()
    );
    let unbound = format!(
        "server:\n directory: \"{here}\"\n chroot: \"\"\n username: \"\"\n pidfile: \"\"\n use-syslog: no\n\
         \x20do-daemonize: no\n interface: 127.0.0.1\n port: {}\n do-ip6: no\n ede: yes\n\
         \x20do-not-query-localhost: no\n module-config: \"validator iterator\"\n\
         \x20trust-anchor-file: \"{here}/anchor\"\n\
         stub-zone:\n name: \"shop.example\"\n stub-addr: 127.0.0.1@{}\n\
         remote-control:\n control-enable: no\n",
        resolver.port(),
        name_server.port()
    );
    fs::write(folder.path().join("named.conf"), named).unwrap();
    fs::write(folder.path().join("unbound.conf"), unbound).unwrap();
    let words = ["-g", "-n", "1", "-c", "named.conf"];
    let daemons = [
        start(folder.path(), "named", &words),
        start(folder.path(), "unbound", &["-d", "-c", "unbound.conf"]),
    ];
    // Both listen on TCP as well, which can be seen without asking.
    let patience = Instant::now() + Duration::from_secs(10);
    for address in [name_server, resolver] {
        while std::net::TcpStream::connect(address).is_err() {
            assert!(Instant::now() < patience, "{address} does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Some(Zone {
        name_server,
        resolver,
        _daemons: daemons,
        _folder: folder,
    })
}

fn asking(host: &str) -> v1::ServiceSpec {
    v1::ServiceSpec {
        host: host.to_owned(),
        authority: String::new(),
        dns_timeout_ms: 3_000,
        total_timeout_ms: 6_000,
        ..spec("http")
    }
}

impl Zone {
    async fn name_server(&self, host: &str) -> Findings {
        let name = "ns1.shop.example".to_owned();
        let server = self.name_server;
        probe(asking(host), Target::NameServer { name, server }).await
    }

    async fn resolver(&self, host: &str) -> Findings {
        let server = self.resolver;
        probe(asking(host), Target::Resolver { server }).await
    }
}

fn seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

fn addresses(text: &str) -> Came {
    Came::Addresses(vec![text.parse::<IpAddr>().unwrap()])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_is_signed_well_shows_it() {
    let Some(path) = path(Signed::Well) else {
        return;
    };
    let facts = path.resolver("shop.example").await.facts.dns.unwrap();
    assert!(facts.authentic, "{facts:?}");
    assert_eq!(facts.aaaa.unwrap().reply, addresses("2001:db8::1"));

    let facts = path.name_server("shop.example").await.facts.dns.unwrap();
    let soa = facts.soa.unwrap();
    assert_eq!((soa.zone.as_str(), soa.serial), ("shop.example", 7));
    assert_eq!(soa.primary, "ns1.shop.example");
    let signed = facts.signed.unwrap();
    assert!(!signed.is_over(seconds()) && !signed.is_ahead(seconds()));

    // An alias out of the zone hides its start of authority.
    let facts = path
        .name_server("www.shop.example")
        .await
        .facts
        .dns
        .unwrap();
    assert_eq!(facts.soa.unwrap().serial, 7);
    // A name without AAAA is no failure.
    let facts = path.resolver("four.shop.example").await.facts.dns.unwrap();
    assert_eq!(facts.aaaa.unwrap().reply, Came::Failed(Failure::DnsNoData));
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_that_are_over_fail_where_they_are_checked_and_are_seen_at_the_name_server() {
    let Some(path) = path(Signed::Expired) else {
        return;
    };
    let findings = path.resolver("shop.example").await;
    assert_eq!(failed(&findings), (Layer::Dns, Failure::DnsServfail));
    let facts = findings.facts.dns.unwrap();
    assert_eq!(facts.unchecked.unwrap().reply, addresses("192.0.2.1"));
    assert!(!facts.extended.is_empty(), "{:?}", facts.extended);
    let findings = path.name_server("shop.example").await;
    assert_eq!(findings.outcome, Outcome::Passed);
    assert!(
        findings
            .facts
            .dns
            .unwrap()
            .signed
            .unwrap()
            .is_over(seconds())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_nobody_vouches_for_fails_where_it_is_checked_alone() {
    let Some(path) = path(Signed::WithAnotherKey) else {
        return;
    };
    let findings = path.resolver("shop.example").await;
    assert_eq!(failed(&findings), (Layer::Dns, Failure::DnsServfail));
    let facts = findings.facts.dns.unwrap();
    assert_eq!(facts.unchecked.unwrap().reply, addresses("192.0.2.1"));
    assert!(!facts.extended.is_empty(), "{:?}", facts.extended);
    let signed = path
        .name_server("shop.example")
        .await
        .facts
        .dns
        .unwrap()
        .signed;
    assert!(!signed.unwrap().is_over(seconds()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_not_there_comes_with_how_long_that_is_kept() {
    let Some(path) = path(Signed::Well) else {
        return;
    };
    let rows = [
        path.resolver("wrong.shop.example").await,
        path.name_server("wrong.shop.example").await,
    ];
    for findings in rows {
        assert_eq!(failed(&findings), (Layer::Dns, Failure::DnsNxdomain));
        let soa = findings.facts.dns.unwrap().soa.unwrap();
        assert_eq!(soa.zone, "shop.example");
        assert!(soa.negative_ttl <= 30, "{soa:?}");
    }
    // Another zone is not served here.
    let findings = path.name_server("shop.test").await;
    assert_eq!(failed(&findings), (Layer::Dns, Failure::DnsRefused));
}
