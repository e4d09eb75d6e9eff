//! The coordinator under load, its operator, and its agents' ways in.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures::stream::{FuturesUnordered, StreamExt as _};
use proto::context::Context;
use proto::token::JoinToken;
use proto::v1::enrolment_client::EnrolmentClient;
use proto::v1::operator_client::OperatorClient;
use proto::v1::{ApplyServiceRequest, CreateTokenRequest, JoinRequest, Role};
use rcgen::{CertificateParams, KeyPair};
use tonic::transport::Channel;

use crate::agent::Member;
use crate::link::{Coordinator, Credentials};

/// A start takes a second; a loaded host may take longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Agents that join at once. The coordinator has 64 places for strangers, eight for each address.
const JOINING: usize = 32;
/// Joins at once from one address.
const FROM_ONE: usize = 4;

/// What the load looks like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub agents: usize,
    pub services: usize,
    /// Arms of one service for each agent.
    pub arms: usize,
    pub every: Duration,
    /// Share of the probes that fail.
    pub failing: f64,
}

impl Shape {
    pub fn service(number: usize) -> String {
        format!("load{number}.example")
    }

    /// One VIP, and backends for the other arms.
    fn service_file(&self, number: usize) -> String {
        let name = Self::service(number);
        let mut text = format!(
            "name = \"{name}\"\nurl = \"http://{name}/\"\n[cdn]\nprovider = \"none\"\n\
             [load_balancer]\nvip = [\"127.1.{number}.1:80\"]\n\
             [schedule]\nevery = \"{}s\"\nreuse_ports = false\n",
            self.every.as_secs()
        );
        for backend in 1..self.arms {
            text.push_str(&format!(
                "[[backend]]\nname = \"web{backend}\"\naddress = \"127.2.{number}.{backend}:80\"\n"
            ));
        }
        text
    }
}

/// A running coordinator, killed when this value goes.
#[derive(Debug)]
pub struct Mesh {
    child: Child,
    folder: PathBuf,
    pub coordinator: Coordinator,
    operator: OperatorClient<Channel>,
}

impl Drop for Mesh {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program of this workspace, which stands beside this one.
pub fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = own.with_file_name(name);
    ensure!(
        path.exists(),
        "{} is missing: build it as this one",
        path.display()
    );
    Ok(path)
}

impl Mesh {
    /// Starts a coordinator in a fresh folder.
    pub async fn start(folder: &Path) -> Result<Self> {
        let data = folder.join("coordinator");
        let log = File::create(folder.join("coordinator.log"))?;
        let mut child = Command::new(program("mesh-coordinator")?)
            .args(["run", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(&data)
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start the coordinator")?;
        let reached = reach(&data).await;
        if reached.is_err() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let (coordinator, operator) = reached?;
        Ok(Self {
            child,
            folder: folder.to_owned(),
            coordinator,
            operator,
        })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The folder with the coordinator's store.
    pub fn store(&self) -> PathBuf {
        self.folder.join("coordinator").join("store")
    }

    /// The operator's context file.
    pub fn context(&self) -> PathBuf {
        self.folder.join("coordinator").join("admin.toml")
    }

    /// Makes agents, each by a token of its own.
    pub async fn enrol(&self, agents: usize) -> Result<Vec<Member>> {
        let mut joining = FuturesUnordered::new();
        let mut members = Vec::with_capacity(agents);
        for number in 0..agents {
            if joining.len() >= JOINING {
                members.extend(joining.next().await.transpose()?);
            }
            joining.push(self.join(number));
        }
        while let Some(member) = joining.next().await {
            members.push(member?);
        }
        Ok(members)
    }

    async fn join(&self, number: usize) -> Result<Member> {
        let name = format!("a{number}");
        let mut operator = self.operator.clone();
        let token = operator.create_token(CreateTokenRequest {
            name: name.clone(),
            role: Role::Inside.into(),
            ..CreateTokenRequest::default()
        });
        let token: JoinToken = token.await?.into_inner().token.parse()?;
        let key = KeyPair::generate()?;
        let csr = CertificateParams::new(vec![name.clone()])?.serialize_request(&key)?;
        let host = u8::try_from(number % JOINING / FROM_ONE)? + 2;
        let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, host));
        let mut client = EnrolmentClient::new(self.coordinator.dial(from, None).await?);
        let joined = client.join(JoinRequest {
            token_secret: token.secret,
            csr_pem: csr.pem()?,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        });
        let joined = joined.await?.into_inner();
        Ok(Member {
            name,
            credentials: Credentials {
                certificate: joined.certificate_pem,
                key: key.serialize_pem(),
            },
        })
    }

    /// Applies the services, whose rounds begin at once.
    pub async fn apply(&self, shape: &Shape) -> Result<()> {
        for number in 0..shape.services {
            let request = ApplyServiceRequest {
                toml: shape.service_file(number),
                ca_pem: None,
            };
            self.operator.clone().apply_service(request).await?;
        }
        Ok(())
    }
}

/// Waits for the operator's context, and connects with it.
async fn reach(data: &Path) -> Result<(Coordinator, OperatorClient<Channel>)> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match connect(data).await {
            Ok(connected) => return Ok(connected),
            Err(error) if Instant::now() > deadline => {
                return Err(error.context("the coordinator does not answer"));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn connect(data: &Path) -> Result<(Coordinator, OperatorClient<Channel>)> {
    let context = Context::from_toml(&std::fs::read_to_string(data.join("admin.toml"))?)?;
    let Some(address) = context.addresses.first() else {
        bail!("a context without an address");
    };
    let coordinator = Coordinator::new(address.parse()?, &context.ca)?;
    let credentials = Credentials {
        certificate: context.certificate,
        key: context.key,
    };
    let channel = coordinator
        .dial(coordinator.address.ip(), Some(&credentials))
        .await?;
    Ok((coordinator, OperatorClient::new(channel)))
}
