//! Who stands at which loopback address.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The service's name, which is also its host name.
pub const SERVICE: &str = "shop.example";

/// The addresses of a mesh and its delivery path. Every part has an address of its own in
/// 127.0.0.0/8, which Linux gives to every process, and all share one port, so that one free number
/// is all that has to be found.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The coordinator.
    pub coordinator: SocketAddr,
    /// The recursive resolvers.
    pub resolvers: [SocketAddr; 2],
    /// The authoritative name servers.
    pub name_servers: [SocketAddr; 2],
    /// The edges that are in use.
    pub edges: [SocketAddr; 2],
    /// An edge that was taken out of use; nobody listens there.
    pub removed_edge: SocketAddr,
    /// The balancer.
    pub vip: SocketAddr,
    /// The backends.
    pub backends: [SocketAddr; 3],
}

/// The names of the backends, in order.
pub const BACKENDS: [&str; 3] = ["web1", "web2", "web3"];

/// An agent of the demonstration.
#[derive(Clone, Copy, Debug)]
pub struct AgentPlan {
    /// Its name.
    pub name: &'static str,
    /// Its role, as `meshctl agent token` takes it.
    pub role: &'static str,
    /// The address that its probes leave from.
    pub source: Ipv4Addr,
    /// Which resolver its host uses.
    pub resolver: usize,
}

/// The agents.
pub const AGENTS: [AgentPlan; 4] = [
    AgentPlan {
        name: "home1",
        role: "outside",
        source: Ipv4Addr::new(127, 10, 0, 1),
        resolver: 0,
    },
    AgentPlan {
        name: "home2",
        role: "outside",
        source: Ipv4Addr::new(127, 10, 0, 2),
        resolver: 1,
    },
    AgentPlan {
        name: "cdn1",
        role: "behind-cdn",
        source: Ipv4Addr::new(127, 20, 0, 1),
        resolver: 1,
    },
    AgentPlan {
        name: "dc1",
        role: "inside",
        source: Ipv4Addr::new(127, 30, 0, 1),
        resolver: 1,
    },
];

impl Plan {
    /// Everybody at this port.
    pub fn at(port: u16) -> Self {
        let at = |b, c, d| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, b, c, d)), port);
        Self {
            coordinator: at(0, 0, 1),
            resolvers: [at(53, 1, 1), at(53, 1, 2)],
            name_servers: [at(53, 2, 1), at(53, 2, 2)],
            edges: [at(80, 1, 1), at(80, 1, 2)],
            removed_edge: at(80, 1, 99),
            vip: at(80, 2, 1),
            backends: [at(80, 3, 1), at(80, 3, 2), at(80, 3, 3)],
        }
    }

    /// The service file, with the authority's file beside it.
    pub fn service_file(&self, ca_file: &str) -> String {
        let mut text = format!(
            "name = \"{SERVICE}\"\nurl = \"https://{SERVICE}:{}/\"\n\n\
             [tls]\nca_file = \"{ca_file}\"\n\n\
             [dns]\nauthoritative = [\"{}\", \"{}\"]\n\n\
             [load_balancer]\nvip = [\"{}\"]\nmode = \"l7\"\n\n\
             [schedule]\nevery = \"2s\"\ntimeout = {{ connect = \"2s\", total = \"4s\" }}\n",
            self.vip.port(),
            self.name_servers[0],
            self.name_servers[1],
            self.vip
        );
        for (name, address) in BACKENDS.iter().zip(&self.backends) {
            text += &format!("\n[[backend]]\nname = \"{name}\"\naddress = \"{address}\"\n");
        }
        text
    }
}
