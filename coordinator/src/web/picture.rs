//! The delivery path as a picture: who stands where, what leads from whom to whom, and what is known of
//! each. Pure: from the path and the knowledge of it to numbers for an SVG.
//!
//! It is drawn twice, for a screen that has room for it and for one that has not (`tall`).
//!
//! Vantage points stand at the left. From there the upper lane is the way of a name (resolvers, name
//! servers), the lower one that of a request (edges, balancer, backends), and the lowest that of its
//! answers. Of a long column those in question are shown, and the others counted.

mod columns;
mod shapes;
mod tall;

use std::collections::BTreeSet;

use localize::{CdnProvider, Kind, Topology};
use proto::words::counted;

use self::columns::{
    backends, balancers, behind, between, edges, name_servers, public, resolvers, vantages,
};
use self::shapes::{Heading, Line, Node};
use super::known::{Knowledge, Known, Mark};

/// Boxes of a column; the rest is counted in one more.
const MOST: usize = 8;
/// Sizes in the picture's own units, which are pixels where it has room.
const BOX_WIDTH: u32 = 186;
const BOX_HEIGHT: u32 = 38;
const ROW: u32 = BOX_HEIGHT + 10;
const COLUMN: u32 = BOX_WIDTH + 104;
const HEADING: u32 = 26;
const LANE_GAP: u32 = 22;
/// What a letter of a name takes in the widest of the fonts that a page is shown in.
const LETTER: usize = 8;

/// The path, drawn for screens of both kinds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Drawn {
    pub(super) wide: Picture,
    pub(super) tall: Picture,
}

impl Drawn {
    /// Of a path, with what is known of it.
    pub(super) fn new(topology: &Topology, known: &Knowledge) -> Self {
        Self {
            wide: Picture::new(topology, known),
            tall: tall::picture(topology, known),
        }
    }
}

/// The picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Picture {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) headings: Vec<Heading>,
    pub(super) nodes: Vec<Node>,
    pub(super) lines: Vec<Line>,
}

impl Picture {
    /// For the template.
    pub(super) fn box_height(&self) -> u32 {
        BOX_HEIGHT
    }
}

/// A column before it has a place.
struct Column {
    heading: &'static str,
    parts: Vec<Known>,
}

impl Picture {
    /// Of a path, with what is known of it.
    pub(super) fn new(topology: &Topology, known: &Knowledge) -> Self {
        let mut picture = Self::default();
        let names = [
            column("Resolvers", resolvers(topology, known)),
            column("Name servers", name_servers(topology, known)),
        ];
        let request = [
            column(public(topology), edges(topology, known)),
            column("Balancer", balancers(topology, known)),
            column(behind(topology), backends(topology, known)),
        ]
        .map(|column| Column {
            parts: ends_first(column.parts, known),
            ..column
        });
        let vantages = column("Vantage points", vantages(topology, known));
        let (seats, below) = picture.column(vantages, 0, 0);
        let (asked, names_end) = picture.lane(names, 0);
        let (passed, requests_end) = picture.lane(request, names_end + LANE_GAP);
        picture.fan(&seats, first(&asked));
        picture.fan(&asked[0], &asked[1]);
        picture.fan(&seats, first(&passed));
        picture.joined(topology, known, &passed);
        let end = below.max(requests_end);
        // What is in question lies over the others.
        picture
            .lines
            .sort_by_key(|line| std::cmp::Reverse(line.mark));
        let ways = known.of_kinds(&[Kind::ReturnPath]);
        picture.width = COLUMN * 3 + BOX_WIDTH + 2;
        picture.height = picture.ways_back(ways, end) + 4;
        picture
    }

    /// Columns side by side from the second on, the empty ones left out; what is shown of each, and where
    /// the longest ends.
    fn lane<const N: usize>(&mut self, columns: [Column; N], y: u32) -> ([Vec<Known>; N], u32) {
        let mut end = y;
        let mut place = 0;
        let placed = columns.map(|column| {
            place += u32::from(!column.parts.is_empty());
            let (shown, below) = self.column(column, COLUMN * place, y);
            end = end.max(below);
            shown
        });
        (placed, end)
    }

    /// One column; what is shown of it, and where it ends. Nothing is shown of an empty one.
    fn column(&mut self, column: Column, x: u32, y: u32) -> (Vec<Known>, u32) {
        if column.parts.is_empty() {
            return (Vec::new(), y);
        }
        self.headings.push(Heading {
            x,
            y: y + 15,
            text: column.heading,
        });
        let (shown, hidden) = shown(column.parts, MOST);
        let mut at = y + HEADING;
        for part in &shown {
            self.nodes.push(node(part, x, at, BOX_WIDTH));
            at += ROW;
        }
        if let Some(rest) = rest(&hidden, x, at, BOX_WIDTH) {
            self.nodes.push(rest);
            at += ROW;
        }
        (shown, at)
    }

    /// A trunk from all of one column to all of the next: these lines are no parts by themselves.
    fn fan(&mut self, from: &[Known], to: &[Known]) {
        let (from, to) = (self.placed(from), self.placed(to));
        let (Some(first), Some(target)) = (from.first(), to.first()) else {
            return;
        };
        let trunk = target.x - 40;
        let mut path = String::new();
        let mut heights = Vec::new();
        for node in &from {
            let (x, y) = node.right();
            path += &format!("M{x} {y}H{trunk}");
            heights.push(y);
        }
        for node in &to {
            let (x, y) = node.left();
            path += &format!("M{trunk} {y}H{x}");
            heights.push(y);
        }
        let (top, bottom) = (heights.iter().min(), heights.iter().max());
        if let (Some(top), Some(bottom)) = (top, bottom) {
            path += &format!("M{trunk} {top}V{bottom}");
        }
        self.lines.push(Line {
            path,
            x: trunk,
            y: first.y,
            mark: Mark::NotKnown,
            short: String::new(),
            title: String::new(),
            anchor: String::new(),
        });
    }

    fn placed(&self, parts: &[Known]) -> Vec<Node> {
        let anchors: Vec<String> = parts.iter().map(Known::anchor).collect();
        let of = |node: &&Node| anchors.contains(&node.anchor);
        self.nodes.iter().filter(of).cloned().collect()
    }

    /// From each edge to each virtual address, and from there to each backend: parts by themselves. A
    /// provider is no place that anything leads from.
    fn joined(&mut self, topology: &Topology, known: &Knowledge, passed: &[Vec<Known>; 3]) {
        let [edges, vips, backends] = passed;
        let has_cdn = topology.cdn != CdnProvider::None;
        let ips: Vec<String> = topology
            .edges
            .iter()
            .map(|edge| edge.ip().to_string())
            .collect();
        let is_edge = |part: &&Known| has_cdn && ips.contains(&part.component.name);
        for vip in vips {
            for edge in edges.iter().filter(is_edge) {
                self.join(edge, vip, between(known, edge, vip));
            }
            for backend in backends {
                let (from, to) = (&vip.component.name, &backend.component.name);
                self.join(
                    vip,
                    backend,
                    known.of(Kind::LbBackendPath, &format!("{from}->{to}")),
                );
            }
        }
        if !has_cdn {
            self.fan(edges, vips);
        }
        if vips.is_empty() {
            self.fan(edges, backends);
        }
    }

    fn join(&mut self, from: &Known, to: &Known, of: Known) {
        let (from, to) = (
            self.placed(std::slice::from_ref(from)),
            self.placed(std::slice::from_ref(to)),
        );
        let (Some(from), Some(to)) = (from.first(), to.first()) else {
            return;
        };
        let ((x1, y1), (x2, y2)) = (from.right(), to.left());
        let (third, two) = (x1 + (x2 - x1) / 3, x1 + (x2 - x1) * 2 / 3);
        self.lines.push(Line {
            path: format!("M{x1} {y1}C{two} {y1} {third} {y2} {x2} {y2}"),
            x: x1.midpoint(x2),
            y: y1.midpoint(y2),
            mark: of.mark,
            short: of.short.clone(),
            title: title(&of),
            anchor: of.anchor(),
        });
    }

    /// The ways of answers, in one row under the others; where it ends.
    fn ways_back(&mut self, ways: Vec<Known>, y: u32) -> u32 {
        if ways.is_empty() {
            return y;
        }
        let y = y + LANE_GAP;
        self.headings.push(Heading {
            x: 0,
            y: y + 15,
            text: "Ways back",
        });
        let (asked, calm): (Vec<Known>, Vec<Known>) =
            ways.into_iter().partition(|way| way.mark.is_in_question());
        let mut x = 0;
        for way in asked.iter().take(3) {
            self.nodes.push(node(way, x, y + HEADING, BOX_WIDTH));
            x += COLUMN;
        }
        let hidden: Vec<Known> = asked.into_iter().skip(3).chain(calm).collect();
        let rest = rest(&hidden, x, y + HEADING, BOX_WIDTH);
        self.nodes.extend(rest.map(|rest| Node {
            name: counted(hidden.len() as u64, "way"),
            ..rest
        }));
        y + HEADING + ROW
    }
}

/// The first column of a lane that anybody stands in.
fn first(columns: &[Vec<Known>]) -> &[Known] {
    let filled = columns.iter().find(|column| !column.is_empty());
    filled.map(Vec::as_slice).unwrap_or_default()
}

fn column(heading: &'static str, parts: Vec<Known>) -> Column {
    Column { heading, parts }
}

/// Where a way is in question, its ends before the others, so that there is something to draw it between.
fn ends_first(mut parts: Vec<Known>, known: &Knowledge) -> Vec<Known> {
    let ways = known.of_kinds(&[Kind::CdnOriginPath, Kind::LbBackendPath]);
    let asked = ways.iter().filter(|way| way.mark.is_in_question());
    let ends: BTreeSet<&str> = asked
        .filter_map(|way| way.component.name.split_once("->"))
        .flat_map(|(from, to)| [from, to])
        .collect();
    if parts.len() > MOST {
        parts.sort_by_key(|part| !ends.contains(part.component.name.as_str()));
    }
    parts
}

/// The first of a column, those in question in any case, and the others.
fn shown(parts: Vec<Known>, most: usize) -> (Vec<Known>, Vec<Known>) {
    let asked = parts
        .iter()
        .filter(|part| part.mark.is_in_question())
        .count();
    let mut room = most.saturating_sub(asked);
    let (shown, hidden): (Vec<Known>, Vec<Known>) = parts.into_iter().partition(|part| {
        let fits = part.mark.is_in_question() || room > 0;
        if fits && !part.mark.is_in_question() {
            room -= 1;
        }
        fits
    });
    (shown, hidden)
}

fn node(part: &Known, x: u32, y: u32, width: u32) -> Node {
    Node {
        x,
        y,
        width,
        name: short(&part.component.name, width),
        words: part.words.clone(),
        mark: part.mark,
        title: title(part),
        anchor: part.anchor(),
    }
}

/// One box for all that are not shown.
fn rest(hidden: &[Known], x: u32, y: u32, width: u32) -> Option<Node> {
    let mark = hidden.iter().map(|part| part.mark).min()?;
    let same = hidden.iter().filter(|part| part.mark == mark).count();
    let words = match same == hidden.len() {
        true => format!("all {}", mark.word()),
        false => format!("{same} {}", mark.word()),
    };
    Some(Node {
        x,
        y,
        width,
        name: format!("{} more", hidden.len()),
        title: format!("{} more, {words}", hidden.len()),
        words,
        mark,
        anchor: String::new(),
    })
}

fn title(part: &Known) -> String {
    let Known {
        component,
        words,
        because,
        ..
    } = part;
    let because = match because.is_empty() {
        true => String::new(),
        false => format!(": {because}"),
    };
    format!("{} {}, {words}{because}", part.kind(), component.name)
}

/// A name without its middle where it is too long for a box: addresses differ at their end, hosts at their
/// beginning.
fn short(name: &str, width: u32) -> String {
    let most = (width as usize - 18) / LETTER;
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= most {
        return name.to_owned();
    }
    let end = most / 2 - 1;
    let beginning = letters.iter().take(most - 1 - end);
    let end = letters.iter().skip(letters.len() - end);
    beginning.chain(['…'].iter()).chain(end).collect()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::super::tests::samples;
    use super::*;

    #[test]
    fn the_blamed_segment_is_the_marked_one() {
        let topology = samples::topology(3);
        let rows = [
            (Kind::Backend, "web2"),
            (Kind::LoadBalancer, "203.0.113.10:443"),
            (Kind::Cdn, "192.0.2.1"),
            (Kind::Resolver, "192.0.2.53"),
            (Kind::AuthoritativeDns, "ns1.example"),
            (Kind::ClientNetwork, "home1"),
            (Kind::LbBackendPath, "203.0.113.10:443->web2"),
            (Kind::CdnOriginPath, "192.0.2.1->203.0.113.10:443"),
            (Kind::ReturnPath, "web1->192.0.2.0/24"),
            (Kind::Origin, "shop.example"),
        ];
        for (kind, name) in rows {
            let verdict = samples::blaming(kind, name);
            let known = Knowledge::new(Some(&verdict), &[]);
            let picture = Picture::new(&topology, &known);
            let nodes = picture.nodes.iter().map(|node| (node.mark, &node.title));
            let lines = picture.lines.iter().map(|line| (line.mark, &line.title));
            let blamed: Vec<&String> = nodes
                .chain(lines)
                .filter(|(mark, _)| *mark == Mark::Blamed)
                .map(|(_, title)| title)
                .collect();
            assert_eq!(blamed.len(), 1, "{kind:?} {name}: {blamed:?}");
            assert!(blamed[0].contains(name), "{blamed:?}");
        }
    }

    #[test]
    fn of_many_ways_the_one_in_question_is_seen() {
        let mut topology = samples::topology(200);
        let edges = (1..=40).map(|last| SocketAddr::from(([192, 0, 2, last], 443)));
        topology.edges = edges.collect();
        for (kind, name) in [
            (Kind::LbBackendPath, "203.0.113.10:443->web137"),
            (Kind::CdnOriginPath, "192.0.2.33->203.0.113.10:443"),
        ] {
            let verdict = samples::blaming(kind, name);
            let picture = Picture::new(&topology, &Knowledge::new(Some(&verdict), &[]));
            let blamed = |line: &&Line| line.mark == Mark::Blamed;
            let blamed: Vec<&Line> = picture.lines.iter().filter(blamed).collect();
            assert_eq!(blamed.len(), 1, "{name}");
            assert!(blamed[0].title.contains(name), "{blamed:?}");
        }
    }

    #[test]
    fn a_narrow_screen_is_shown_the_same() {
        let topology = samples::topology(40);
        for (kind, name) in [
            (Kind::Backend, "web37"),
            (Kind::CdnOriginPath, "192.0.2.1->203.0.113.10:443"),
            (Kind::LbBackendPath, "203.0.113.10:443->web37"),
            (Kind::ReturnPath, "web1->192.0.2.0/24"),
        ] {
            let verdict = samples::blaming(kind, name);
            let drawn = Drawn::new(&topology, &Knowledge::new(Some(&verdict), &[]));
            let blamed = |node: &&Node| node.mark == Mark::Blamed;
            let blamed: Vec<&Node> = drawn.tall.nodes.iter().filter(blamed).collect();
            assert_eq!(blamed.len(), 1, "{kind:?} {name}");
            assert!(blamed[0].title.contains(name), "{blamed:?}");
            let fits = |node: &Node| node.x + node.width <= drawn.tall.width;
            assert!(drawn.tall.nodes.iter().all(fits) && drawn.tall.width <= 360);
            assert!(drawn.tall.height < 1000, "{}", drawn.tall.height);
        }
    }

    #[test]
    fn of_a_long_name_both_ends_are_seen() {
        assert_eq!(short("web1", 186), "web1");
        let long = short("2001:db8:85a3:8d3:1319:8a2e:370:7348", 186);
        assert_eq!(long, "2001:db8:85…:370:7348");
        assert_eq!(short("", 186), "");
    }

    #[test]
    fn where_nobody_is_known_between_the_next_is_joined() {
        let mut topology = samples::topology(2);
        topology.edges.clear();
        topology.vips.clear();
        topology.name_servers.clear();
        let picture = Picture::new(&topology, &Knowledge::default());
        let headings: Vec<(&str, u32)> = picture
            .headings
            .iter()
            .map(|heading| (heading.text, heading.x))
            .collect();
        let expected = [
            ("Vantage points", 0),
            ("Resolvers", COLUMN),
            ("Backends", COLUMN),
        ];
        assert_eq!(headings, expected);
        assert_eq!(
            picture.lines.len(),
            2,
            "a trunk to the resolvers, one to the backends"
        );
    }

    #[test]
    fn of_many_backends_the_one_in_question_is_seen() {
        let topology = samples::topology(200);
        let verdict = samples::blaming(Kind::Backend, "web137");
        let picture = Picture::new(&topology, &Knowledge::new(Some(&verdict), &[]));
        let names: Vec<&str> = picture
            .nodes
            .iter()
            .map(|node| node.name.as_str())
            .collect();
        assert!(
            names.contains(&"web137") && names.contains(&"192 more"),
            "{names:?}"
        );
        assert!(picture.height < 1000, "{}", picture.height);
        let overlaps = picture.nodes.iter().enumerate().any(|(index, node)| {
            let others = &picture.nodes[index + 1..];
            others
                .iter()
                .any(|other| (other.x, other.y) == (node.x, node.y))
        });
        assert!(!overlaps, "two boxes in one place");
    }
}
