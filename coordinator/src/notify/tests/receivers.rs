//! Real receivers on loopback, behind the real notifier on a real store.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use localize::Kind;
use localize::watch::Ending;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::samples::{self, verdict};
use crate::ca::{Authority, Mesh};
use crate::clock;
use crate::config::Lifetimes;
use crate::engine::{self, Fatal, Setup};
use crate::notify::{self, Handle, SilenceWish};
use crate::rights::Call;
use crate::store::{Act, ActFilter, Deed, Notice, Noticed, RaisedRecord, Store, Write};

/// Nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came to a receiver.
#[derive(Clone, Debug)]
struct Came {
    path: String,
    headers: HeaderMap,
    body: Value,
    taken: bool,
}

/// A receiver that refuses the first messages.
#[derive(Clone, Default)]
struct Receiver {
    came: Arc<Mutex<Vec<Came>>>,
    refuses: usize,
}

impl Receiver {
    async fn listen(refuses: usize) -> (Self, SocketAddr) {
        let receiver = Self {
            refuses,
            ..Self::default()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/{*path}", post(take))
            .with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (receiver, address)
    }

    fn all(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }

    /// Waits for so many messages that were taken.
    async fn taken(&self, count: usize) -> Vec<Came> {
        let wait = async {
            loop {
                let taken: Vec<Came> = self.all().into_iter().filter(|one| one.taken).collect();
                if taken.len() >= count {
                    return taken;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let taken = tokio::time::timeout(PATIENCE, wait).await;
        taken.unwrap_or_else(|_| panic!("{:?}", self.all()))
    }
}

async fn take(
    State(receiver): State<Receiver>,
    uri: axum::http::Uri,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let mut came = receiver.came.lock().unwrap();
    let taken = came.len() >= receiver.refuses;
    came.push(Came {
        path: uri.path().to_owned(),
        headers,
        body: serde_json::from_slice(&body).unwrap(),
        taken,
    });
    match taken {
        true => StatusCode::ACCEPTED,
        false => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// A store, and a notifier that can be started again on it.
struct Bench {
    folder: TempDir,
    store: Store,
    text: String,
    stop: CancellationToken,
}

impl Bench {
    fn new(text: String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        Self {
            folder,
            store,
            text,
            stop: CancellationToken::new(),
        }
    }

    fn start(&mut self) -> (Handle, tokio::task::JoinHandle<()>) {
        let folder = tempfile::tempdir_in(self.folder.path()).unwrap();
        let day = Duration::from_secs(86_400);
        let authority = Authority::open(&folder.path().join("ca"), Mesh::Fresh, clock::now_us());
        let setup = Setup {
            authority: Arc::new(authority.unwrap()),
            lifetimes: Lifetimes {
                agent: day,
                server: day,
                operator: day,
                grace: day,
            },
            addresses: vec!["127.0.0.1:7443".to_owned()],
            advertised: Vec::new(),
        };
        self.stop = CancellationToken::new();
        let (store, fatal, stop) = (self.store.clone(), Fatal::default(), self.stop.clone());
        let engine = engine::start(store.clone(), setup, fatal.clone(), stop.clone()).unwrap();
        let settings = samples::settings(&self.text);
        notify::start(engine.handle, store, settings, fatal, stop).unwrap()
    }

    /// What the engine writes down when the watch raises a verdict.
    async fn raised(&self, id: &str) {
        let at_us = clock::now_us();
        let raised = RaisedRecord {
            began_us: at_us - 5_000_000,
            over: None,
            false_alarms_a_day: 1e-4,
        };
        let verdict = verdict(id, "shop", Kind::Backend, "web2");
        let writes = vec![
            Write::Raised {
                verdict: id.to_owned(),
                raised,
            },
            notice(at_us, Noticed::Raised, id),
            Write::Verdict {
                verdict,
                case_json: b"{}".to_vec(),
            },
        ];
        self.store.commit(writes).await.unwrap();
    }

    async fn over(&self, id: &str) {
        let at_us = clock::now_us();
        let over = Write::Over {
            verdict: id.to_owned(),
            at_us,
            ending: Ending::Quiet,
        };
        let writes = vec![over, notice(at_us, Noticed::Over, id)];
        self.store.commit(writes).await.unwrap();
    }
}

fn notice(at_us: u64, what: Noticed, id: &str) -> Write {
    Write::Notice(Notice {
        at_us,
        what,
        verdict: id.to_owned(),
    })
}

#[tokio::test]
async fn a_webhook_that_fails_twice_is_told_once_across_restarts() {
    let (hook, address) = Receiver::listen(2).await;
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    let mut bench = Bench::new(format!(
        "[[notify]]\nname = \"ours\"\nwebhook = {{ url = \"http://{address}/hook\", secret = \"file:{}\" }}",
        secret.path().display()
    ));
    bench.raised("v-1").await;
    let (_, task) = bench.start();
    let told = hook.taken(1).await.remove(0);
    let ids: Vec<_> = hook
        .all()
        .iter()
        .map(|came| came.headers["webhook-id"].clone())
        .collect();
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|id| id == ids[0]), "{ids:?}");
    let signed = told.headers["webhook-signature"].to_str().unwrap();
    assert!(signed.starts_with("v1,") && signed.len() == 47, "{signed}");
    assert_eq!(told.path, "/hook");
    assert_eq!(told.body["event"], "begun");
    assert_eq!(
        told.body["component"],
        json!({"kind": "backend", "name": "web2"})
    );
    assert_eq!(
        told.body["title"],
        "shop: backend web2 http_5xx, 98% sure, users are affected"
    );
    assert_eq!(told.body["link"], "https://mesh.example/verdicts/v-1");
    assert_eq!(told.body["verdict"]["faults"][0]["confidence"], 0.98);
    let text = told.body["text"].as_str().unwrap();
    assert!(
        text.contains("Evidence  dc1 to backend/web2: 4 of 14"),
        "{text}"
    );

    bench.stop.cancel();
    task.await.unwrap();
    bench.over("v-1").await;
    let (handle, task) = bench.start();
    let told = hook.taken(2).await;
    assert_eq!(told[1].body["event"], "over");
    assert!(
        told[1].body["text"]
            .as_str()
            .unwrap()
            .contains("quiet rounds refute")
    );
    assert_eq!(told[1].body["incident"], told[0].body["incident"]);
    assert_eq!(handle.tally().await.unwrap().tellings[0].1.told, 1);
    bench.stop.cancel();
    task.await.unwrap();
    let (_, task) = bench.start();
    tokio::time::sleep(Duration::from_millis(300)).await;
    bench.stop.cancel();
    task.await.unwrap();
    assert_eq!(hook.all().len(), 4, "nothing is told twice");
    assert!(bench.store.incidents().unwrap().is_empty());
    assert!(bench.store.notices().unwrap().is_empty());
}

#[tokio::test]
async fn each_channel_gets_its_own_form() {
    let (hook, address) = Receiver::listen(0).await;
    let (mails, mail_server) = mail_sink().await;
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), format!("http://{address}/slack")).unwrap();
    let file = secret.path().display();
    let mut bench = Bench::new(format!(
        r#"
[[notify]]
name = "chat"
slack = {{ url = "file:{file}" }}
[[notify]]
name = "oncall"
pagerduty = {{ routing_key = "file:{file}", url = "http://{address}/pagerduty" }}
[[notify]]
name = "prometheus"
alertmanager = {{ url = "http://{address}/am/" }}
[[notify]]
name = "mail"
email = {{ server = "{mail_server}", tls = "none", from = "mesh@mesh.example", to = ["Ops <ops@shop.example>", "b@shop.example"] }}
"#
    ));
    bench.raised("v-1").await;
    let (_, _task) = bench.start();
    let told = hook.taken(3).await;
    let of = |path: &str| told.iter().find(|one| one.path == path).unwrap();
    let pagerduty = &of("/pagerduty").body;
    assert_eq!(pagerduty["event_action"], "trigger");
    assert_eq!(pagerduty["payload"]["severity"], "critical");
    assert_eq!(
        pagerduty["payload"]["custom_details"]["Owner"],
        json!(["the team that runs it"])
    );
    let alert = &of("/am/api/v2/alerts").body[0];
    assert_eq!(alert["labels"]["component"], "web2");
    assert_eq!(alert["generatorURL"], "https://mesh.example/verdicts/v-1");
    assert!(
        alert["startsAt"].as_str() < alert["endsAt"].as_str(),
        "{alert}"
    );
    let slack = of("/slack").body.to_string();
    assert!(
        slack.contains("users are affected") && slack.contains(":red_circle:"),
        "{slack}"
    );

    let mail = taken(&mails, 1).await.remove(0);
    for expected in [
        "RCPT TO:<ops@shop.example>",
        "RCPT TO:<b@shop.example>",
        "Subject: [mesh] shop: backend web2 http_5xx, 98% sure, users are affected",
        "Auto-Submitted: auto-generated",
        "-begun@mesh.example>",
        "Page      https://mesh.example/verdicts/v-1",
    ] {
        assert!(mail.contains(expected), "{expected}: {mail}");
    }
    bench.over("v-1").await;
    let told = hook.taken(6).await;
    let ended = told.iter().rev().find(|one| one.path.starts_with("/am"));
    assert!(
        ended.unwrap().body[0]["endsAt"].as_str() <= Some(clock::rfc3339(clock::now_us()).as_str())
    );
    assert_eq!(
        told.iter()
            .rev()
            .find(|one| one.path == "/pagerduty")
            .unwrap()
            .body["event_action"],
        "resolve"
    );
    bench.stop.cancel();
}

fn act() -> Act {
    let deed = Deed::Call(Call::MakeSilence);
    Act::new(clock::now_us(), "admin", deed, "shop".to_owned())
}

#[tokio::test]
async fn a_silence_is_kept_and_a_trial_says_what_came_of_it() {
    let (hook, address) = Receiver::listen(0).await;
    let mut bench = Bench::new(format!(
        "[[notify]]\nname = \"ours\"\nwebhook = {{ url = \"http://{address}/hook\" }}\n[[notify]]\nname = \"lost\"\nwebhook = {{ url = \"http://127.0.0.1:1/\" }}"
    ));
    let (handle, task) = bench.start();
    let wish = SilenceWish {
        service: "shop".to_owned(),
        from_us: 0,
        length: Duration::from_secs(3600),
        because: "moving racks".to_owned(),
        by: "admin".to_owned(),
        must_match: false,
    };
    let nothing = SilenceWish {
        because: " ".to_owned(),
        ..wish.clone()
    };
    assert!(handle.silence(nothing, act()).await.is_err());
    let made = handle.silence(wish, act()).await.unwrap();
    bench.stop.cancel();
    task.await.unwrap();
    bench.raised("v-1").await;
    let (handle, _task) = bench.start();
    assert_eq!(
        handle.silences().await.unwrap(),
        std::slice::from_ref(&made)
    );
    let lost = handle
        .trial("lost".to_owned())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        lost.starts_with("lost was not reached: ") && lost.contains("refused"),
        "{lost}"
    );
    let nobody = handle.trial("nobody".to_owned()).await.unwrap_err();
    let nobody = nobody.to_string();
    assert!(nobody.ends_with("; there is ours, lost"), "{nobody}");
    handle.trial("ours".to_owned()).await.unwrap();
    assert_eq!(hook.taken(1).await[0].body["severity"], "warning");
    handle.unsilence(made.id.clone(), act()).await.unwrap();
    assert!(handle.unsilence(made.id, act()).await.is_err());
    let all = ActFilter {
        since_us: 0,
        operator: None,
        limit: 10,
    };
    let acts = bench.store.acts(&all).unwrap();
    assert_eq!(acts.len(), 2, "of what was done, and no other");
    assert_eq!(hook.taken(2).await[1].body["event"], "begun");
    bench.stop.cancel();
}

/// Waits for so many mails.
async fn taken(mails: &Mutex<Vec<String>>, count: usize) -> Vec<String> {
    let wait = async {
        while mails.lock().unwrap().len() < count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
    mails.lock().unwrap().clone()
}

/// A mail server on loopback that takes everything: what was said to it, mail by mail.
async fn mail_sink() -> (Arc<Mutex<Vec<String>>>, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mails: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&mails);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let said = converse(stream).await.unwrap_or_default();
            kept.lock().unwrap().push(said);
        }
    });
    (mails, address)
}

async fn converse(stream: tokio::net::TcpStream) -> std::io::Result<String> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"220 sink ESMTP\r\n").await?;
    let (mut said, mut in_data) = (String::new(), false);
    while let Some(line) = lines.next_line().await? {
        said.push_str(&line);
        said.push('\n');
        let answer: &[u8] = match line.split(' ').next().unwrap_or_default() {
            "." if in_data => {
                in_data = false;
                b"250 taken\r\n"
            }
            _ if in_data => continue,
            "DATA" => {
                in_data = true;
                b"354 go on\r\n"
            }
            "QUIT" => {
                write.write_all(b"221 bye\r\n").await?;
                break;
            }
            _ => b"250 sink\r\n",
        };
        write.write_all(answer).await?;
    }
    Ok(said)
}
