//! The benchmark mesh: what can be at fault, and which arms cross what at which layer.

use localize::Kind;
use localize::score::CountedComponent;

/// Vantage points, each behind an access network of its own.
pub const VANTAGES: u32 = 8;
const RESOLVERS: u32 = 3;
const NAME_SERVERS: u32 = 2;
const EDGES: u32 = 4;
const VIPS: u32 = 2;
const BACKENDS: u32 = 3;
const SOURCES: u32 = 3;

/// One variant of the probe from one vantage point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arm {
    /// Number of the vantage point.
    pub vantage: u32,
    /// The layers in the order in which a probe passes them.
    pub layers: Vec<Crossing>,
}

/// The components that a probe crosses at one layer: one list for each path that it may take.
pub type Crossing = Vec<Vec<u32>>;

/// Components and arms. A component's id is its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mesh {
    /// What can be at fault.
    pub components: Vec<CountedComponent>,
    /// Who probes through what.
    pub arms: Vec<Arm>,
}

/// What is known about the way that a request took behind the balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balancer {
    /// Each arm has its backend and its source address.
    Pinned,
    /// Edges leave both to chance. Straight to the balancer, a third of the arms pins the backend
    /// (a cookie), a third the source address, a third neither.
    Chance,
}

/// The 41 components, by what they are. The numbers are ids.
struct Parts {
    access: Vec<u32>,
    resolver: Vec<u32>,
    name_server: Vec<u32>,
    edge: Vec<u32>,
    origin: Vec<u32>,
    vip: Vec<u32>,
    forward: Vec<u32>,
    host: Vec<u32>,
    application: Vec<u32>,
    back: Vec<u32>,
    source: Vec<u32>,
}

/// The mesh of 41 components and 432 arms in which engines are compared.
#[must_use]
pub fn benchmark(balancer: Balancer) -> Mesh {
    let mut components = Vec::new();
    let parts = Parts::new(&mut components);
    let arms = (0..VANTAGES)
        .flat_map(|vantage| parts.arms(vantage, balancer))
        .collect();
    Mesh { components, arms }
}

impl Mesh {
    /// The same arms, of which only the outcome of the whole probe is seen.
    #[must_use]
    pub fn without_layers(mut self) -> Self {
        for arm in &mut self.arms {
            arm.layers = vec![union(&arm.layers)];
        }
        self
    }
}

fn union(layers: &[Crossing]) -> Crossing {
    let paths = layers.iter().map(Vec::len).max().unwrap_or(0);
    (0..paths)
        .map(|path| {
            let mut crossed: Vec<u32> = layers
                .iter()
                .flat_map(|layer| &layer[path.min(layer.len() - 1)])
                .copied()
                .collect();
            crossed.sort_unstable();
            crossed.dedup();
            crossed
        })
        .collect()
}

impl Parts {
    fn new(all: &mut Vec<CountedComponent>) -> Self {
        let pairs = || (0..VIPS).flat_map(|p| (0..BACKENDS).map(move |b| format!("lb{p}-web{b}")));
        let each =
            |prefix: &'static str, count: u32| (0..count).map(move |i| format!("{prefix}{i}"));
        Self {
            access: add(all, Kind::ClientNetwork, each("access.v", VANTAGES)),
            resolver: add(all, Kind::Resolver, each("resolver", RESOLVERS)),
            name_server: add(all, Kind::AuthoritativeDns, each("ns", NAME_SERVERS)),
            edge: add(all, Kind::Cdn, each("edge", EDGES)),
            origin: add(all, Kind::CdnOriginPath, each("origin.edge", EDGES)),
            vip: add(all, Kind::LoadBalancer, each("lb", VIPS)),
            forward: add(all, Kind::LbBackendPath, pairs()),
            host: add(all, Kind::Backend, each("host.web", BACKENDS)),
            application: add(all, Kind::Backend, each("app.web", BACKENDS)),
            back: add(all, Kind::ReturnPath, each("return.web", BACKENDS)),
            source: add(all, Kind::ReturnPath, each("return.lb-source", SOURCES)),
        }
    }

    fn arms(&self, vantage: u32, balancer: Balancer) -> Vec<Arm> {
        let access = self.access[vantage as usize];
        let names: Vec<u32> = self
            .resolver
            .iter()
            .chain(&self.name_server)
            .copied()
            .collect();
        let mut arms = self.direct(access);
        // Two probes only ask for the address.
        let mut named: Vec<Vec<Crossing>> = vec![Vec::new(); self.name_server.len()];
        for vip in 0..VIPS {
            named.extend(self.balanced(access, vip, balancer));
        }
        for edge in 0..EDGES {
            named.extend(self.edged(access, edge, balancer));
        }
        // Whom an arm asks for the address goes by turns, another one first at each vantage point.
        let turns = names.iter().cycle().skip(3 + vantage as usize);
        for (arm, &name) in named.into_iter().zip(turns) {
            arms.push([vec![vec![access, name]]].into_iter().chain(arm).collect());
        }
        let arm = |layers| Arm { vantage, layers };
        arms.into_iter().map(arm).collect()
    }

    /// Straight to each backend by its address: to the application, and to a port of the host alone.
    fn direct(&self, access: u32) -> Vec<Vec<Crossing>> {
        (0..BACKENDS as usize)
            .flat_map(|b| {
                let connect = vec![vec![access, self.host[b], self.back[b]]];
                let tls = vec![vec![self.host[b], self.back[b]]];
                let http = vec![vec![self.application[b], self.back[b]]];
                [vec![connect.clone()], vec![connect, tls, http]]
            })
            .collect()
    }

    /// To one virtual address of the balancer, which ends TCP and TLS by itself.
    fn balanced(&self, access: u32, vip: u32, balancer: Balancer) -> Vec<Vec<Crossing>> {
        let front = self.vip[vip as usize];
        self.behind(vip, balancer, Pins::Thirds)
            .into_iter()
            .map(|paths| through(access, front, paths))
            .collect()
    }

    /// To one edge for what it holds itself, and through it to each virtual address.
    fn edged(&self, access: u32, edge: u32, balancer: Balancer) -> Vec<Vec<Crossing>> {
        let front = self.edge[edge as usize];
        let mut arms = vec![through(access, front, vec![vec![front]])];
        for vip in 0..VIPS {
            let way = [self.origin[edge as usize], self.vip[vip as usize]];
            for paths in self.behind(vip, balancer, Pins::Edge(edge)) {
                arms.push(through(access, front, prefixed(&way, paths)));
            }
        }
        arms
    }

    /// The ways behind a virtual address, one entry for each arm.
    fn behind(&self, vip: u32, balancer: Balancer, pins: Pins) -> Vec<Crossing> {
        let pairs = |backends: &[u32], sources: &[u32]| -> Crossing {
            backends
                .iter()
                .flat_map(|&b| sources.iter().map(move |&s| (b, s)))
                .map(|(b, s)| self.way(vip, b, s))
                .collect()
        };
        let all = [0, 1, 2];
        match (balancer, pins) {
            (Balancer::Pinned, Pins::Thirds) => all
                .iter()
                .flat_map(|&b| all.map(|s| pairs(&[b], &[s])))
                .collect(),
            (Balancer::Pinned, Pins::Edge(edge)) => all
                .iter()
                .map(|&b| pairs(&[b], &[(edge + vip + b) % SOURCES]))
                .collect(),
            (Balancer::Chance, Pins::Thirds) => {
                let mut arms = vec![pairs(&all, &all); 3];
                arms.extend(all.map(|b| pairs(&[b], &all)));
                arms.extend(all.map(|s| pairs(&all, &[s])));
                arms
            }
            (Balancer::Chance, Pins::Edge(_)) => vec![pairs(&all, &all); 3],
        }
    }

    fn way(&self, vip: u32, backend: u32, source: u32) -> Vec<u32> {
        vec![
            self.forward[(vip * BACKENDS + backend) as usize],
            self.host[backend as usize],
            self.application[backend as usize],
            self.source[source as usize],
        ]
    }
}

/// How arms choose what lies behind the balancer.
#[derive(Clone, Copy)]
enum Pins {
    /// Nine arms: every pair, or thirds of them pinning the one, the other or neither.
    Thirds,
    /// Three arms through this edge: every backend, the source address by turns.
    Edge(u32),
}

/// TCP, TLS and HTTP. Once a connection stands, loss in the access network is made up for by
/// retransmission, and what answers a request is what lies behind the front.
fn through(access: u32, front: u32, behind: Crossing) -> Vec<Crossing> {
    vec![vec![vec![access, front]], vec![vec![front]], behind]
}

fn prefixed(way: &[u32], paths: Crossing) -> Crossing {
    paths
        .into_iter()
        .map(|path| way.iter().copied().chain(path).collect())
        .collect()
}

fn add(
    all: &mut Vec<CountedComponent>,
    kind: Kind,
    names: impl Iterator<Item = String>,
) -> Vec<u32> {
    let start = all.len();
    all.extend(
        names
            .zip((0u32..).skip(start))
            .map(|(name, id)| CountedComponent { id, kind, name }),
    );
    all[start..].iter().map(|component| component.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mesh_has_41_components_and_432_arms() {
        for balancer in [Balancer::Pinned, Balancer::Chance] {
            let mesh = benchmark(balancer);
            assert_eq!(mesh.components.len(), 41);
            assert_eq!(mesh.arms.len(), 432);
        }
    }

    #[test]
    fn every_component_is_crossed_and_no_two_by_the_same_rows() {
        let mesh = benchmark(Balancer::Pinned);
        let rows: Vec<&Crossing> = mesh.arms.iter().flat_map(|arm| &arm.layers).collect();
        let column =
            |id: u32| -> Vec<bool> { rows.iter().map(|row| row[0].contains(&id)).collect() };
        let mut columns: Vec<Vec<bool>> = (0..41).map(column).collect();
        assert!(columns.iter().all(|column| column.contains(&true)));
        columns.sort();
        columns.dedup();
        assert_eq!(columns.len(), 41);
    }

    #[test]
    fn connecting_to_the_balancer_crosses_no_backend() {
        let mesh = benchmark(Balancer::Pinned);
        // The first of vantage point 0 to the first virtual address: DNS, TCP, TLS, HTTP.
        let balanced = &mesh.arms[6 + 2].layers;
        assert_eq!(balanced[0], vec![vec![0, 8]]);
        assert_eq!(balanced[1], vec![vec![0, 21]]);
        assert_eq!(balanced[2], vec![vec![21]]);
        assert_eq!(balanced[3], vec![vec![23, 29, 32, 38]]);
    }

    #[test]
    fn without_layers_a_probe_crosses_the_union() {
        let layers = [vec![vec![0, 4]], vec![vec![0, 7], vec![0, 8]]];
        assert_eq!(union(&layers), vec![vec![0, 4, 7], vec![0, 4, 8]]);
    }
}
