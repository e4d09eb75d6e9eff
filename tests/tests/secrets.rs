//! A secret that a service file refers to, end to end: the site gets it, and it stands in no file of
//! coordinator and agent, in no log, and in nothing that `meshctl` shows.
//!
//! The programs must be built beside this test, as `make unit` does. Everything is on loopback, without root.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod small;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lab::clock;
use localize::{Case, Firing, Observation, Outcome};
use serde_json::Value;

use small::Mesh;

const SERVICE: &str = "secrets.example";
/// What the site lets in, and nobody else may see.
const SECRET: &str = "Bearer 9c1185a5c5e9fc54612808977ee8f548";
/// The part that would do for anybody.
const TOKEN: &str = "9c1185a5c5e9fc54612808977ee8f548";

/// A site that lets in who has the secret, and that sends it back wherever it can.
fn site() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let let_in = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&let_in);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, count) = (stream.unwrap(), Arc::clone(&count));
            std::thread::spawn(move || answer(stream, &count));
        }
    });
    (address, let_in)
}

fn answer(mut stream: TcpStream, let_in: &AtomicUsize) {
    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let lines = lines.map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let knows = head.contains(&format!("authorization: {SECRET}"));
    let_in.fetch_add(usize::from(knows), Ordering::SeqCst);
    let status = if knows { "200 OK" } else { "401 Who" };
    let body = format!("Welcome {TOKEN}");
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nX-Echo: {SECRET}\r\nX-Session: t={TOKEN}; s\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
}

fn service_file(site: SocketAddr) -> String {
    format!(
        "name = \"{SERVICE}\"\nurl = \"http://{SERVICE}/\"\n\n[cdn]\nprovider = \"none\"\n\n\
         [load_balancer]\nvip = [\"{site}\"]\n\n[request]\nheaders = {{ Authorization = \"env:SHOP_TOKEN\" }}\n\n\
         [expect]\nstatus = [200]\nbody = \"Welcome\"\n\n[schedule]\nevery = \"1s\"\n"
    )
}

fn holds(bytes: &[u8]) -> bool {
    let mut parts = bytes.windows(TOKEN.len());
    parts.any(|part| part == TOKEN.as_bytes())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => files(&path),
            false => vec![path],
        })
        .collect()
}

fn of<'c>(case: &'c Case, agent: &str) -> Vec<&'c Observation> {
    let observations = case.observations.iter();
    let vip = |o: &&Observation| o.vantage().0 == agent && o.arm.label().starts_with("vip/");
    observations.filter(vip).collect()
}

#[test]
fn a_secret_goes_to_the_site_and_nowhere_else() {
    let (site, let_in) = site();
    let mut mesh = Mesh::start("trace");
    mesh.join("home1", &[], Some(("SHOP_TOKEN", SECRET)));
    mesh.join("home2", &[], None);
    let file = mesh.path("service.toml");
    fs::write(&file, service_file(site)).unwrap();
    mesh.meshctl(&["service", "apply", "-f", &file.display().to_string()]);
    let seen = || let_in.load(Ordering::SeqCst) >= 3;
    assert!(
        clock::wait_until(Duration::from_secs(20), seen),
        "the site gets the secret"
    );
    let localized = mesh.said(&["localize", SERVICE, "-o", "json", "--budget", "5s"]);
    let start = localized.iter().position(|byte| *byte == b'{').unwrap();
    let verdict = serde_json::Deserializer::from_slice(&localized[start..]).into_iter::<Value>();
    let verdict = verdict.map(Result::unwrap).next().unwrap();
    let id = verdict["id"].as_str().expect("an id");

    let exported = mesh.path("case.json");
    mesh.meshctl(&["explain", id, "--case", &exported.display().to_string()]);
    let case: Case = serde_json::from_slice(&fs::read(&exported).unwrap()).unwrap();
    let knowing = of(&case, "home1");
    assert!(!knowing.is_empty());
    let passed = |o: &&Observation| o.outcome == Outcome::Passed;
    assert!(knowing.iter().all(passed), "{knowing:?}");
    let lacking = of(&case, "home2");
    assert!(!lacking.is_empty());
    for observation in lacking {
        let Firing::Skipped { why } = &observation.firing else {
            panic!("{observation:?}");
        };
        let expected = "env:SHOP_TOKEN is not set in the agent's environment";
        assert_eq!(why, expected);
    }

    let shown = mesh.meshctl(&["service", "show", SERVICE]);
    assert!(shown.contains("authorization: env:SHOP_TOKEN"), "{shown}");
    let commands: [&[&str]; 9] = [
        &["service", "show", SERVICE, "-o", "json"],
        &["agent", "show", "home1"],
        &["agent", "show", "home2", "-o", "json"],
        &["agent", "list", "-o", "json"],
        &["status", "-o", "json"],
        &["history", SERVICE, "-o", "json"],
        &["verdicts", SERVICE, "-o", "json"],
        &["explain", id],
        &["coverage", SERVICE],
    ];
    for words in commands {
        let said = mesh.said(words);
        assert!(!holds(&said), "{words:?}");
    }
    assert!(!holds(&localized));
    let files = files(&mesh.path(""));
    for named in ["case.json", "home1.log", "coordinator.log", "home1/spool"] {
        let found = files
            .iter()
            .any(|file| file.display().to_string().contains(named));
        assert!(found, "{named} is among what is searched");
    }
    for file in files {
        assert!(!holds(&fs::read(&file).unwrap()), "{}", file.display());
    }
}
