//! Sites whose good answer is not 200, end to end and with default options: what the service file expects is
//! well, and what nobody has said to be well is a question.
//!
//! The programs must be built beside this test, as `make unit` does. Everything is on loopback, without root.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod small;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::Value;

use small::{Mesh, name_server};

/// A site with its one answer.
#[derive(Clone, Copy)]
struct Site {
    /// Status line and headers.
    head: &'static str,
    body: &'static str,
    /// How late the answer is.
    after: Duration,
}

const AT_ONCE: Duration = Duration::ZERO;

impl Site {
    fn serve(self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                std::thread::spawn(move || self.answer(stream));
            }
        });
        address
    }

    fn answer(&self, mut stream: TcpStream) {
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let head = lines.map_while(Result::ok);
        head.take_while(|line| !line.is_empty()).for_each(drop);
        std::thread::sleep(self.after);
        let _ = write!(
            stream,
            "HTTP/1.1 {}\r\nContent-Length: {}\r\n\r\n{}",
            self.head,
            self.body.len(),
            self.body
        );
    }
}

fn apply(mesh: &Mesh, name: &str, site: SocketAddr, dns: SocketAddr, expect: &str) {
    let text = format!(
        "name = \"{name}\"\nurl = \"http://{name}.example:{}/\"\n\n[dns]\nauthoritative = [\"{dns}\"]\n\n\
         [cdn]\nprovider = \"none\"\n\n{expect}\n",
        site.port()
    );
    let file = mesh.path(&format!("{name}.toml"));
    fs::write(&file, text).unwrap();
    // What a check would say is not asked here, and takes its time.
    let file = file.display().to_string();
    mesh.meshctl(&["service", "apply", "-f", &file, "--no-check"]);
}

/// The exit status of `localize` with nothing but the name, and the verdict.
fn localize(mesh: &Mesh, name: &str) -> (i32, Value) {
    let mut command = mesh.meshctl_command(&["localize", name, "-o", "json"]);
    let output = command.output().unwrap();
    let verdict = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.code().unwrap(), verdict)
}

const HEALTHY: i32 = 0;
const FAULT: i32 = 1;
const INCONCLUSIVE: i32 = 3;

fn site(head: &'static str, body: &'static str) -> Site {
    let after = AT_ONCE;
    Site { head, body, after }
}

#[test]
fn well_is_what_the_service_file_says() {
    const GONE: &str = "404 Not Found";
    const LOGIN: &str = "401 Unauthorized\r\nWWW-Authenticate: Basic";
    const ELSEWHERE: &str = "301 Moved\r\nLocation: https://other.example/";
    const DOWN: &str = "503 Busy";
    let slow = || Site {
        after: Duration::from_millis(400),
        ..site("200 OK", "Welcome")
    };
    let rows = [
        (
            "gone",
            site(GONE, "Gone"),
            "[expect]\nstatus = [404]",
            HEALTHY,
        ),
        (
            "login",
            site(LOGIN, ""),
            "[expect]\nstatus = [401]",
            HEALTHY,
        ),
        (
            "moved",
            site(ELSEWHERE, ""),
            "[expect]\nstatus = [301]",
            HEALTHY,
        ),
        (
            "down",
            site(DOWN, ""),
            "[expect]\nstatus = [\"5xx\"]",
            HEALTHY,
        ),
        (
            "welcome",
            site("200 OK", "Welcome"),
            "[expect]\nstatus = [\"2xx\"]\nbody = \"/(?i)welcome/\"\nmax_ttfb = \"5s\"",
            HEALTHY,
        ),
        ("gone-open", site(GONE, "Gone"), "", INCONCLUSIVE),
        ("login-open", site(LOGIN, ""), "", INCONCLUSIVE),
        ("moved-open", site(ELSEWHERE, ""), "", INCONCLUSIVE),
        (
            "gone-bad",
            site(GONE, "Gone"),
            "[expect]\nstatus = [200]",
            FAULT,
        ),
        (
            "body-bad",
            site("200 OK", "It works!"),
            "[expect]\nbody = \"Welcome\"",
            FAULT,
        ),
        ("late-bad", slow(), "[expect]\nmax_ttfb = \"100ms\"", FAULT),
    ];
    let dns = name_server(true);
    let mut mesh = Mesh::start("warn");
    mesh.join("home1", &["--resolver", &dns.to_string()], None);
    let mut wrong = Vec::new();
    let mut asked = Vec::new();
    let mut addresses = BTreeMap::new();
    for (name, site, expect, status) in rows {
        let address = *addresses.entry(name).or_insert(site.serve());
        apply(&mesh, name, address, dns, expect);
        asked.push((name, status));
    }
    let gone = addresses["gone-open"];
    let mesh = &mesh;
    // A coordinator localises a few services at once.
    for asked in asked.chunks(4) {
        std::thread::scope(|scope| {
            let ask = |&(name, status)| (name, status, scope.spawn(move || localize(mesh, name)));
            let asked: Vec<_> = asked.iter().map(ask).collect();
            for (name, status, answer) in asked {
                let (ended, verdict) = answer.join().unwrap();
                let faults = verdict["faults"].as_array().unwrap().len();
                let questions = verdict["ask"].to_string();
                let is_asked = status != INCONCLUSIVE || questions.contains("[expect]");
                if ended != status || faults != usize::from(status == FAULT) || !is_asked {
                    wrong.push(format!("{name}: {ended} instead of {status}: {verdict:#}"));
                }
            }
        });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // Who does what is asked of them is not told of what was before.
    let said = "[expect]\nstatus = [404]";
    apply(mesh, "gone-open", gone, dns, said);
    let (ended, verdict) = localize(mesh, "gone-open");
    assert_eq!(ended, HEALTHY, "{verdict:#}");
    assert_eq!(verdict["earlier"], serde_json::json!([]), "{verdict:#}");
}
