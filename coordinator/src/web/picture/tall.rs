//! The path for a narrow screen: its columns under each other, and what leads from one to the next as a row
//! of its own between them.

use localize::{Kind, Topology};
use proto::words::counted;

use super::super::known::{Knowledge, Known};
use super::columns::{
    backends, balancers, behind, edges, name_servers, public, resolvers, vantages,
};
use super::shapes::{Heading, Line, Node};
use super::{BOX_HEIGHT, HEADING, Mark, Picture, node, rest, shown};

const WIDTH: u32 = 344;
const GAP: u32 = 8;
const WHOLE: u32 = WIDTH - 2;
const HALF: u32 = (WHOLE - GAP) / 2;
const ROW: u32 = BOX_HEIGHT + GAP;
/// Boxes of a rung; the rest is counted in one more.
const MOST: usize = 5;
/// Where the line goes down that joins the rungs.
const TRUNK: u32 = 20;

pub(super) fn picture(topology: &Topology, known: &Knowledge) -> Picture {
    let mut picture = Picture {
        width: WIDTH,
        ..Picture::default()
    };
    picture.rung("Vantage points", vantages(topology, known));
    picture.rung("Resolvers", resolvers(topology, known));
    picture.rung("Name servers", name_servers(topology, known));
    picture.rung(public(topology), edges(topology, known));
    picture.ways("CDN to balancer", known.of_kinds(&[Kind::CdnOriginPath]));
    picture.rung("Balancer", balancers(topology, known));
    let to_backends = known.of_kinds(&[Kind::LbBackendPath]);
    picture.ways("Balancer to backends", to_backends);
    picture.rung(behind(topology), backends(topology, known));
    picture.ways("Ways back", known.of_kinds(&[Kind::ReturnPath]));
    picture
}

impl Picture {
    /// Parts, two in a row, but each in question in one of its own.
    fn rung(&mut self, heading: &'static str, parts: Vec<Known>) {
        if parts.is_empty() {
            return;
        }
        let (asked, calm): (Vec<Known>, Vec<Known>) = parts
            .into_iter()
            .partition(|part| part.mark.is_in_question());
        let mut top = self.begin(heading);
        for part in &asked {
            self.nodes.push(node(part, 0, top, WHOLE));
            top += ROW;
        }
        let (shown, hidden) = shown(calm, MOST);
        let place = |number: u32| (number % 2 * (HALF + GAP), top + number / 2 * ROW);
        let mut number = 0;
        for part in &shown {
            let (x, y) = place(number);
            self.nodes.push(node(part, x, y, HALF));
            number += 1;
        }
        let (x, y) = place(number);
        if let Some(rest) = rest(&hidden, x, y, HALF) {
            self.nodes.push(rest);
            number += 1;
        }
        self.height = top + number.div_ceil(2) * ROW;
    }

    /// Ways, whose names are long: a row for each in question, and one for the others.
    fn ways(&mut self, heading: &'static str, ways: Vec<Known>) {
        if ways.is_empty() {
            return;
        }
        let mut y = self.begin(heading);
        let (asked, calm): (Vec<Known>, Vec<Known>) =
            ways.into_iter().partition(|way| way.mark.is_in_question());
        for way in asked.iter().take(MOST) {
            self.nodes.push(node(way, 0, y, WHOLE));
            y += ROW;
        }
        let hidden: Vec<Known> = asked.into_iter().skip(MOST).chain(calm).collect();
        if let Some(rest) = rest(&hidden, 0, y, WHOLE) {
            self.nodes.push(Node {
                name: counted(hidden.len() as u64, "way"),
                ..rest
            });
            y += ROW;
        }
        self.height = y;
    }

    /// A heading under what is drawn already, joined to it; where its boxes begin.
    fn begin(&mut self, heading: &'static str) -> u32 {
        let y = self.height;
        if y > 0 {
            self.lines.push(Line {
                path: format!("M{TRUNK} {}V{}", y - GAP, y + HEADING),
                x: TRUNK,
                y,
                mark: Mark::NotKnown,
                short: String::new(),
                title: String::new(),
                anchor: String::new(),
            });
        }
        self.headings.push(Heading {
            x: if y > 0 { TRUNK + 10 } else { 0 },
            y: y + 15,
            text: heading,
        });
        y + HEADING
    }
}
