//! The delivery path: every server of the plan, and the switch that breaks one of them.

use std::io;
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::backend;
use super::balancer::Balancer;
use super::certificates::Certificates;
use super::dns::{NameServer, Resolver};
use super::edge::Edge;
use super::fault::Fault;
use super::plan::Plan;
use super::serve;

/// The running servers; dropping it takes them down.
pub struct Path {
    fault: watch::Sender<Fault>,
    _servers: JoinSet<()>,
}

impl Path {
    /// Starts every server, or none where an address of the plan is taken.
    pub async fn start(plan: &Plan, certificates: &Certificates) -> io::Result<Self> {
        let (fault, faults) = watch::channel(Fault::None);
        let mut servers = JoinSet::new();
        for (index, &address) in plan.name_servers.iter().enumerate() {
            let server = NameServer {
                index,
                edges: plan.edges,
                removed_edge: plan.removed_edge,
            };
            servers.spawn(server.run(UdpSocket::bind(address).await?, faults.clone()));
        }
        for (index, &address) in plan.resolvers.iter().enumerate() {
            let resolver = Resolver::new(index, address.ip(), plan.name_servers);
            servers.spawn(resolver.run(UdpSocket::bind(address).await?, faults.clone()));
        }
        for (index, &address) in plan.backends.iter().enumerate() {
            servers.spawn(backend::run(index, serve::bind(address)?, faults.clone()));
        }
        let balancer = Balancer::new(plan.vip, &plan.backends, certificates.identities.clone());
        servers.spawn(balancer.run(serve::bind(plan.vip)?, faults.clone()));
        for (index, &address) in plan.edges.iter().enumerate() {
            let edge = Arc::new(Edge {
                index,
                address,
                vip: plan.vip,
                identities: certificates.identities.clone(),
                client: Arc::clone(&certificates.client),
            });
            servers.spawn(edge.run(serve::bind(address)?, faults.clone()));
        }
        Ok(Self {
            fault,
            _servers: servers,
        })
    }

    /// Breaks this, and mends what was broken before.
    pub fn switch(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use hickory_proto::op::{Message, Query, ResponseCode};
    use hickory_proto::rr::{Name, RecordType};
    use http_body_util::{BodyExt, Empty};
    use hyper::body::Bytes;
    use hyper_util::rt::TokioIo;
    use rustls::pki_types::ServerName;
    use tokio::net::TcpStream;
    use tokio::time::{Duration, timeout};
    use tokio_rustls::TlsConnector;

    use super::super::certificates;
    use super::super::plan::SERVICE;
    use super::*;

    /// Longer than any answer takes, shorter than a stall.
    const PATIENCE: Duration = Duration::from_secs(4);

    async fn start() -> (Plan, Certificates, Path) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let certificates = certificates::make().unwrap();
        loop {
            let plan = Plan::at(rand::random_range(20_000..32_000));
            if let Ok(path) = Path::start(&plan, &certificates).await {
                return (plan, certificates, path);
            }
        }
    }

    /// What a client sees: the status and the server's name, or at which layer it failed.
    async fn get(address: SocketAddr, certificates: &Certificates) -> String {
        let Ok(tcp) = TcpStream::connect(address).await else {
            return "tcp".to_owned();
        };
        let tls = TlsConnector::from(Arc::clone(&certificates.client));
        let name = ServerName::try_from(SERVICE).unwrap();
        let Ok(stream) = tls.connect(name, tcp).await else {
            return "tls".to_owned();
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let request = hyper::Request::get("/").header("host", SERVICE);
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        match timeout(PATIENCE, sender.send_request(request)).await {
            Err(_) => "stalled".to_owned(),
            Ok(Err(_)) => "http".to_owned(),
            Ok(Ok(answer)) => {
                let status = answer.status().as_u16();
                match answer.into_body().collect().await {
                    Ok(_) => status.to_string(),
                    Err(_) => "body".to_owned(),
                }
            }
        }
    }

    #[tokio::test]
    async fn edges_and_balancer_answer_as_the_fault_says() {
        let (plan, certificates, path) = start().await;
        let rows = [
            (Fault::None, ["200", "200", "200"]),
            (Fault::Edge500, ["500", "200", "200"]),
            (Fault::EdgeStalls, ["200", "stalled", "200"]),
            (Fault::EdgeCertExpired, ["tls", "200", "200"]),
            (Fault::EdgeCannotReachVip, ["522", "200", "200"]),
            (Fault::BalancerDead, ["521", "521", "tcp"]),
            (Fault::Balancer503, ["503", "503", "503"]),
            (Fault::BalancerCertExpired, ["526", "526", "tls"]),
            (Fault::None, ["200", "200", "200"]),
        ];
        for (fault, expected) in rows {
            path.switch(fault);
            tokio::time::sleep(Duration::from_millis(200)).await;
            let seen = [
                get(plan.edges[0], &certificates).await,
                get(plan.edges[1], &certificates).await,
                get(plan.vip, &certificates).await,
            ];
            assert_eq!(seen, expected, "{}", fault.name());
        }
    }

    #[tokio::test]
    async fn a_backends_fault_shows_in_its_share_of_the_answers() {
        let (plan, certificates, path) = start().await;
        let rows = [
            (Fault::Backend500, "500", 2),
            (Fault::BackendResets, "502", 2),
            (Fault::BackendTruncates, "body", 2),
            (Fault::BackendClosed, "200", 6),
            (Fault::BackendSlow, "200", 6),
            (Fault::BackendSlow300Ms, "200", 6),
        ];
        for (fault, symptom, expected) in rows {
            path.switch(fault);
            tokio::time::sleep(Duration::from_millis(200)).await;
            let mut count = 0;
            for _ in 0..6 {
                count += usize::from(get(plan.vip, &certificates).await == symptom);
            }
            assert_eq!(count, expected, "{}", fault.name());
        }
    }

    async fn ask(server: SocketAddr) -> Option<(ResponseCode, Vec<String>)> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(server).await.unwrap();
        let mut question = Message::query();
        let name = Name::from_ascii(SERVICE).unwrap();
        question.add_query(Query::query(name, RecordType::A));
        socket.send(&question.to_vec().unwrap()).await.unwrap();
        let mut buffer = [0; 1232];
        let patience = Duration::from_millis(500);
        let length = timeout(patience, socket.recv(&mut buffer))
            .await
            .ok()?
            .unwrap();
        let answer = Message::from_vec(&buffer[..length]).unwrap();
        let mut addresses: Vec<String> =
            answer.answers.iter().map(|r| r.data.to_string()).collect();
        addresses.sort();
        Some((answer.metadata.response_code, addresses))
    }

    #[tokio::test]
    async fn names_are_answered_as_the_fault_says() {
        let (plan, _, path) = start().await;
        let edges = plan.edges.map(|edge| edge.ip().to_string()).to_vec();
        let good = || Some((ResponseCode::NoError, edges.clone()));
        assert_eq!(ask(plan.name_servers[0]).await, good());
        assert_eq!(ask(plan.resolvers[0]).await, good());
        path.switch(Fault::ResolverDead);
        assert_eq!(ask(plan.resolvers[0]).await, None);
        assert_eq!(ask(plan.resolvers[1]).await, good());
        path.switch(Fault::NameserverRefusing);
        let refused = Some((ResponseCode::Refused, Vec::new()));
        assert_eq!(ask(plan.name_servers[0]).await, refused);
        assert_eq!(ask(plan.resolvers[1]).await, good());
        path.switch(Fault::NameserverStale);
        let (_, addresses) = ask(plan.name_servers[1]).await.unwrap();
        assert!(addresses.contains(&plan.removed_edge.ip().to_string()));
    }
}
