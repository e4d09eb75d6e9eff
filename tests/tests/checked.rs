//! Service files that hold and others that do not, checked end to end as somebody does who has just written
//! one: exit status, what is said of which line, and that nothing of it is kept.
//!
//! The programs must be built beside this test, as `make unit` does. Everything is on loopback, without root.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod small;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};

use serde_json::Value;

use small::{Mesh, name_server};

const HOLDS: i32 = 0;
const SPEAKS_AGAINST: i32 = 1;
const TROUBLE: i32 = 2;
const UNPROBED: i32 = 3;

/// A site that speaks plain HTTP alone, and has the one page.
fn site() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let lines = lines.map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let status = match head.first() {
                Some(line) if line.starts_with("GET / ") => "200 OK",
                Some(_) => "404 Not Found",
                // What is not even text.
                None => "400 Bad Request",
            };
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        }
    });
    address
}

/// The exit status and the JSON of a check.
fn check(mesh: &Mesh, text: &str) -> (i32, Value) {
    let file = mesh.path("service.toml");
    fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    let words = ["service", "check", "-f", &file, "-o", "json"];
    let output = mesh.meshctl_command(&words).output().unwrap();
    let checked = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code().unwrap(), checked)
}

/// Each finding as grade, line, field and failure.
fn found(checked: &Value) -> Vec<String> {
    let findings = checked["findings"].as_array().unwrap().iter();
    let line = |f: &Value| {
        let [grade, line, field, failure] =
            ["grade", "line", "field", "failure"].map(|key| &f[key]);
        format!("{grade} {line} {field} {failure}").replace('"', "")
    };
    findings.map(line).collect()
}

#[test]
fn what_does_not_hold_of_a_file_is_said_before_it_can_become_evidence() {
    let (site, dns, refusing) = (site(), name_server(true), name_server(false));
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let mut mesh = Mesh::start("warn");
    let holds = format!(
        "name = \"shop\"\nurl = \"http://shop.example:{}/\"\n[dns]\nauthoritative = [\"{dns}\"]\n\
         [cdn]\nprovider = \"none\"\n[load_balancer]\nvip = [\"{site}\"]\n",
        site.port()
    );
    let (status, checked) = check(&mesh, &holds);
    assert_eq!(status, UNPROBED, "{checked:#}");
    mesh.join("dc1", &["--resolver", &dns.to_string()], None);

    let backend = format!("[[backend]]\nname = \"web1\"\naddress = \"{closed}\"\n");
    let rows: [(String, i32, &[&str]); 7] = [
        (holds.clone(), HOLDS, &[]),
        (
            holds.clone() + &backend,
            SPEAKS_AGAINST,
            &["warning 11 backend[0].address connect_refused"],
        ),
        (
            holds.replace(
                &format!("vip = [\"{site}\"]"),
                &format!("vip = [\"{closed}\"]"),
            ),
            SPEAKS_AGAINST,
            &[
                "warning 8 load_balancer.vip[0] connect_refused",
                "warning 8 load_balancer.vip[0] null",
            ],
        ),
        (
            holds.replace("http://", "https://"),
            SPEAKS_AGAINST,
            &["warning 8 load_balancer.vip[0] tls_protocol"],
        ),
        (
            holds.replace(
                &format!("[\"{dns}\"]"),
                &format!("[\"{dns}\", \"{refusing}\"]"),
            ),
            SPEAKS_AGAINST,
            &["warning 4 dns.authoritative[1] dns_refused"],
        ),
        (
            holds.replace("/\"\n[dns]", "/page\"\n[dns]"),
            SPEAKS_AGAINST,
            &["warning 2 url http_status"],
        ),
        (
            holds.replace("/\"\n[dns]", "/page\"\n[dns]") + "[expect]\nstatus = [404]\n",
            HOLDS,
            &[],
        ),
    ];
    for (text, expected, findings) in rows {
        let (status, checked) = check(&mesh, &text);
        let mut found = found(&checked);
        found.sort();
        assert_eq!(found, findings, "{text}\n{checked:#}");
        assert_eq!(status, expected, "{checked:#}");
    }
    assert_eq!(check(&mesh, "name = \"shop\"\nurls = \"\"\n").0, TROUBLE);

    let status: Value = serde_json::from_str(&mesh.meshctl(&["status", "-o", "json"])).unwrap();
    assert_eq!(status["observations_stored"], 0, "{status:#}");
    assert_eq!(status["services"], 0, "{status:#}");

    // `apply` says the same, and applies all the same.
    let file = mesh.path("service.toml");
    fs::write(&file, holds.clone() + &backend).unwrap();
    let file = file.display().to_string();
    let applied = mesh.meshctl(&["service", "apply", "-f", &file, "-o", "json"]);
    let applied: Value = serde_json::from_str(&applied).unwrap();
    assert_eq!(applied["result"], "created", "{applied:#}");
    let said = ["warning 11 backend[0].address connect_refused"];
    assert_eq!(found(&applied["check"]), said);
    let mut by_name = mesh.meshctl_command(&["service", "check", "shop"]);
    let output = by_name.output().unwrap();
    assert_eq!(output.status.code(), Some(SPEAKS_AGAINST));
    let text = String::from_utf8(output.stdout).unwrap();
    let said = format!("WARNING  line 11, backend[0].address = \"{closed}\"");
    assert!(text.contains(&said), "{text}");
}
