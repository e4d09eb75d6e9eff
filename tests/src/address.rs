//! Every address of the lab, in one place.
//!
//! The public side uses the documentation and benchmark ranges (RFC 5737, RFC 2544), the data
//! centre 10.0.0.0/8.

/// The public side, which agents outside are allowed: to them it is no public space.
pub const PUBLIC_SIDE: [&str; 4] = [
    "192.0.2.0/24",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "2001:db8::/32",
];
/// The service's name.
pub const SERVICE: &str = "shop.example";
/// The zone's name servers, `ns1` and `ns2`.
pub const NAME_SERVERS: [&str; 2] = ["192.0.2.53", "192.0.2.69"];
/// The CDN's edges, `edge1` and `edge2`.
pub const EDGES: [&str; 2] = ["198.51.100.11", "198.51.100.22"];
/// An edge that the CDN has given up; the backbone drops what is sent there.
pub const REMOVED_EDGE: &str = "198.51.100.99";
/// An IPv6 address of an edge; the backbone drops what is sent there (RFC 3849).
pub const IPV6_EDGE: &str = "2001:db8:51::11";
/// The agent behind the CDN.
pub const CDN1: &str = "198.51.100.35";
/// The home networks' clients.
pub const HOMES: [&str; 2] = ["198.18.1.10", "198.18.2.10"];
/// The home networks' resolvers, on the home routers.
pub const RESOLVERS: [&str; 2] = ["198.18.1.1", "198.18.2.1"];
/// The coordinators' host.
pub const COORDINATOR: &str = "192.0.2.200";
/// The balancer's virtual address.
pub const VIP: &str = "203.0.113.10";
/// The balancer's two addresses in the data centre. Its health checks and connections leave from
/// both, as those of balancers with several mapped addresses do.
pub const BALANCER: [&str; 2] = ["10.0.0.10", "10.0.9.10"];
/// The network of the balancer's second address.
pub const BALANCER_SECOND_NETWORK: &str = "10.0.9.0/24";
/// The agent in the data centre.
pub const DC1: &str = "10.0.5.5";
/// The network of the agent in the data centre.
pub const DC1_NETWORK: &str = "10.0.5.0/24";
/// The backends' service addresses, `web1` to `web3`.
pub const BACKENDS: [&str; 3] = ["10.0.1.51", "10.0.2.52", "10.0.3.53"];
/// The backends' addresses on their second interfaces.
pub const BACKENDS_SECOND: [&str; 3] = ["10.1.1.51", "10.1.2.52", "10.1.3.53"];
/// The router's end of the backends' second interfaces.
pub const BACKENDS_SECOND_ROUTER: [&str; 3] = ["10.1.1.1", "10.1.2.1", "10.1.3.1"];
/// Names of the backends.
pub const BACKEND_NAMES: [&str; 3] = ["web1", "web2", "web3"];
/// First port of the coordinators; each mesh has its own.
pub const COORDINATOR_PORTS: [u16; 3] = [7443, 7444, 7445];

/// A domain with an address for every name below it, and that address, at which nobody is.
pub const WILDCARD: &str = "corp.example";
/// See [`WILDCARD`].
pub const NOBODY: &str = "198.51.100.77";
