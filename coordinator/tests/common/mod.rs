//! The real binary on a temporary folder, and clients for it.
#![allow(
    dead_code,
    reason = "each test file compiles this module for itself and uses a part of it"
)]

pub mod agent;

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use proto::v1::agent_message::Message as FromAgent;
use proto::v1::agent_service_client::AgentServiceClient;
use proto::v1::coordinator_message::Message as FromCoordinator;
use proto::v1::enrolment_client::EnrolmentClient;
use proto::v1::operator_client::OperatorClient;
use proto::v1::{
    AgentMessage, CoordinatorMessage, CreateTokenRequest, Hello, HostState, JoinRequest,
    JoinResponse, Role,
};
use rcgen::{CertificateParams, KeyPair};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// Long enough for a loaded machine; nothing waits for it when all is well.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A service file of a balancer with two backends, without a schedule.
pub const SHOP: &str = r#"
name = "shop"
url = "http://shop.example/"
[dns]
authoritative = ["192.0.2.53"]
[load_balancer]
vip = ["203.0.113.10:80"]
[[backend]]
name = "web1"
address = "10.0.0.51:80"
[[backend]]
name = "web2"
address = "10.0.0.52:80"
"#;

/// A coordinator under test. Dropping it kills it.
pub struct Coordinator {
    child: Child,
    pub folder: Arc<TempDir>,
    pub address: SocketAddr,
    /// Of the web face, where the configuration asks for one.
    pub web: Option<SocketAddr>,
}

/// A certificate with its key.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub certificate: String,
    pub key: String,
}

pub fn command(folder: &Path, listen: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mesh-coordinator"));
    command.args([
        "run",
        "--log-format",
        "json",
        "--listen",
        listen,
        "--data-dir",
    ]);
    command.arg(folder).env_remove("RUST_LOG");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

impl Coordinator {
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// With the text of a configuration file.
    pub fn start_with(config: &str) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join("coordinator.toml"), config).unwrap();
        Self::start_in(folder)
    }

    pub fn start_in(folder: Arc<TempDir>) -> Self {
        let mut command = command(&folder.path().join("data"), "127.0.0.1:0");
        command
            .arg("--config")
            .arg(folder.path().join("coordinator.toml"));
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut web = None;
        let address = log
            .by_ref()
            .map_while(Result::ok)
            .inspect(|line| eprintln!("{line}"))
            .inspect(|line| web = web.or(page(line)))
            .find_map(|line| bound(&line))
            .expect("it did not start");
        std::thread::spawn(move || {
            log.map_while(Result::ok)
                .for_each(|line| eprintln!("{line}"))
        });
        Self {
            child,
            folder,
            address,
            web,
        }
    }

    /// What the web face answers: the status, the headers in one text, and the body.
    pub async fn http(&self, method: &str, path: &str) -> (u16, String, String) {
        self.http_with(method, path, "").await
    }

    /// The same, of a request with JSON in it.
    pub async fn http_with(&self, method: &str, path: &str, body: &str) -> (u16, String, String) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = TcpStream::connect(self.web.unwrap()).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        tokio::time::timeout(PATIENCE * 5, read)
            .await
            .unwrap()
            .unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_owned(), body.to_owned())
    }

    /// Sends SIGTERM and waits for the end.
    pub async fn terminate(mut self) -> (ExitStatus, Arc<TempDir>) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        // The clients in this process must be able to take leave meanwhile.
        tokio::task::spawn_blocking(move || (self.child.wait().unwrap(), Arc::clone(&self.folder)))
            .await
            .unwrap()
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Memory of the process, in MiB.
    pub fn resident_mib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib >> 10
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn admin(&self) -> toml::Table {
        let text = std::fs::read_to_string(self.data().join("admin.toml")).unwrap();
        text.parse().unwrap()
    }

    pub fn operator_credentials(&self) -> Credentials {
        let admin = self.admin();
        Credentials {
            certificate: admin["certificate"].as_str().unwrap().to_owned(),
            key: admin["key"].as_str().unwrap().to_owned(),
        }
    }

    pub async fn channel(&self, credentials: Option<&Credentials>) -> Channel {
        self.try_channel(credentials).await.unwrap()
    }

    pub async fn try_channel(
        &self,
        credentials: Option<&Credentials>,
    ) -> Result<Channel, tonic::transport::Error> {
        let ca = self.admin()["ca"].as_str().unwrap().to_owned();
        let address = self.address;
        let connector = TlsConnector::from(Arc::new(client_config(&ca, credentials)));
        let connect = tower::service_fn(move |_: tonic::codegen::http::Uri| {
            let connector = connector.clone();
            async move {
                let stream = TcpStream::connect(address).await?;
                let name = "mesh-coordinator"
                    .try_into()
                    .map_err(std::io::Error::other)?;
                Ok::<_, std::io::Error>(TokioIo::new(connector.connect(name, stream).await?))
            }
        });
        Endpoint::from_static("http://mesh-coordinator")
            .connect_with_connector(connect)
            .await
    }

    pub async fn operator(&self) -> OperatorClient<Channel> {
        let credentials = self.operator_credentials();
        OperatorClient::new(self.channel(Some(&credentials)).await)
    }

    /// A token's secret.
    pub async fn invite(&self, name: &str, ttl_seconds: u64) -> String {
        self.invite_as(name, Role::Outside, ttl_seconds).await
    }

    pub async fn invite_as(&self, name: &str, role: Role, ttl_seconds: u64) -> String {
        let request = CreateTokenRequest {
            name: name.to_owned(),
            role: role.into(),
            ttl_seconds,
            ..CreateTokenRequest::default()
        };
        let made = self.operator().await.create_token(request).await.unwrap();
        let token: proto::token::JoinToken = made.into_inner().token.parse().unwrap();
        assert_eq!(token.name, name);
        assert_eq!(token.addresses, [self.address.to_string()]);
        token.secret
    }

    pub async fn join(&self, secret: &str) -> Result<(JoinResponse, Credentials), Status> {
        let key = KeyPair::generate().unwrap();
        // A name that the certificate must not get.
        let wish = CertificateParams::new(vec!["mesh-coordinator".to_owned()]).unwrap();
        let csr = wish.serialize_request(&key).unwrap().pem().unwrap();
        let request = JoinRequest {
            token_secret: secret.to_owned(),
            csr_pem: csr,
            agent_version: "test".to_owned(),
        };
        let mut client = EnrolmentClient::new(self.channel(None).await);
        let joined = client.join(request).await?.into_inner();
        let credentials = Credentials {
            certificate: joined.certificate_pem.clone(),
            key: key.serialize_pem(),
        };
        Ok((joined, credentials))
    }

    pub async fn enrol(&self, name: &str) -> Credentials {
        let secret = self.invite(name, 0).await;
        self.join(&secret).await.unwrap().1
    }

    pub async fn agent(&self, credentials: &Credentials) -> AgentServiceClient<Channel> {
        AgentServiceClient::new(self.channel(Some(credentials)).await)
    }

    pub async fn session(&self, credentials: &Credentials) -> Result<Session, Status> {
        let (sender, messages) = mpsc::channel(64);
        let hello = Hello {
            agent_version: "test".to_owned(),
            host: Some(HostState {
                addresses: vec!["127.0.0.1".to_owned()],
                resolvers: vec!["127.0.0.1:5353".to_owned()],
                ..HostState::default()
            }),
        };
        let session = Session::say_to(&sender, FromAgent::Hello(hello));
        session.await;
        let mut client = self.agent(credentials).await;
        let answer = client.session(ReceiverStream::new(messages)).await?;
        Ok(Session {
            sender,
            incoming: answer.into_inner(),
        })
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An agent's open stream.
pub struct Session {
    sender: mpsc::Sender<AgentMessage>,
    incoming: tonic::Streaming<CoordinatorMessage>,
}

impl Session {
    async fn say_to(sender: &mpsc::Sender<AgentMessage>, message: FromAgent) {
        let message = AgentMessage {
            message: Some(message),
        };
        sender.send(message).await.unwrap();
    }

    pub async fn say(&self, message: FromAgent) {
        Self::say_to(&self.sender, message).await;
    }

    /// The next message; `None` at the end of the stream.
    pub async fn next(&mut self) -> Result<Option<FromCoordinator>, Status> {
        let message = tokio::time::timeout(PATIENCE, self.incoming.message());
        let message = message.await.expect("nothing came")?;
        Ok(message.and_then(|message| message.message))
    }

    /// Skips what is not wanted.
    pub async fn until<T>(&mut self, wanted: impl Fn(FromCoordinator) -> Option<T>) -> T {
        loop {
            let message = self.next().await.unwrap().expect("the stream ended");
            if let Some(found) = wanted(message) {
                return found;
            }
        }
    }

    /// The last word of the coordinator and the end of the stream.
    pub async fn goodbye(&mut self) -> proto::v1::goodbye::Reason {
        let reason = self
            .until(|message| match message {
                FromCoordinator::Goodbye(goodbye) => Some(goodbye.reason()),
                _ => None,
            })
            .await;
        assert!(self.next().await.unwrap().is_none());
        reason
    }
}

pub fn client_config(ca: &str, credentials: Option<&Credentials>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match credentials {
        None => config.with_no_client_auth(),
        Some(Credentials { certificate, key }) => {
            let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            config
                .with_client_auth_cert(vec![certificate], key)
                .unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

fn bound(line: &str) -> Option<SocketAddr> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let fields = line.get("fields")?;
    (fields.get("message")? == "listening").then_some(())?;
    fields.get("address")?.as_str()?.parse().ok()
}

/// Where the page is, if the line of the log says so.
fn page(line: &str) -> Option<SocketAddr> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let page = line.get("fields")?.get("page")?.as_str()?;
    page.strip_prefix("http://")?
        .strip_suffix('/')?
        .parse()
        .ok()
}

/// Runs a coordinator that cannot start: its exit status and what it said.
pub fn refused(mut command: Command) -> (Option<i32>, String) {
    let mut child = command.spawn().unwrap();
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    (child.wait().unwrap().code(), said)
}
