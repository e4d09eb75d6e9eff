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
