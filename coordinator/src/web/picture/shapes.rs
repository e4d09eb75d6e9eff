//! What the picture is made of: boxes, lines between them, headings, each in its place.

use super::super::known::Mark;
use super::BOX_HEIGHT;

/// A box.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::web) struct Node {
    pub(in crate::web) x: u32,
    pub(in crate::web) y: u32,
    pub(in crate::web) width: u32,
    /// What stands in it, shortened.
    pub(in crate::web) name: String,
    /// What is known, in words.
    pub(in crate::web) words: String,
    pub(in crate::web) mark: Mark,
    /// The whole, for who cannot see it or points at it.
    pub(in crate::web) title: String,
    /// Where the evidence is on the verdict's page; empty where there is none.
    pub(in crate::web) anchor: String,
}

impl Node {
    /// Where its evidence is, on the page given; empty where there is none.
    pub(in crate::web) fn href(&self, page: &str) -> String {
        href(page, self.mark, &self.anchor)
    }

    /// Middle of the left side and of the right side.
    pub(super) const fn left(&self) -> (u32, u32) {
        (self.x, self.y + BOX_HEIGHT / 2)
    }

    pub(super) const fn right(&self) -> (u32, u32) {
        (self.x + self.width, self.y + BOX_HEIGHT / 2)
    }
}

/// A line between two boxes.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::web) struct Line {
    /// Its course, in the words of SVG.
    pub(in crate::web) path: String,
    /// Its middle.
    pub(in crate::web) x: u32,
    pub(in crate::web) y: u32,
    pub(in crate::web) mark: Mark,
    /// What stands on it beside its sign.
    pub(in crate::web) short: String,
    /// The whole, likewise; empty where the line is no part of the path by itself.
    pub(in crate::web) title: String,
    pub(in crate::web) anchor: String,
}

impl Line {
    /// Where its evidence is, on the page given; empty where there is none.
    pub(in crate::web) fn href(&self, page: &str) -> String {
        href(page, self.mark, &self.anchor)
    }

    /// What stands on it.
    pub(in crate::web) fn label(&self) -> String {
        format!("{} {}", self.mark.sign(), self.short)
            .trim_end()
            .to_owned()
    }

    /// Half the width of the plate under that.
    pub(in crate::web) fn half(&self) -> u32 {
        match u32::try_from(self.short.chars().count()).unwrap_or(0) {
            0 => 8,
            letters => 14 + letters * 3,
        }
    }

    /// Whether a sign stands on it.
    pub(in crate::web) fn is_marked(&self) -> bool {
        self.mark != Mark::NotKnown
    }
}

/// The place of a part on a page, where that says something of it; in the same file where the page is `#`.
fn href(page: &str, mark: Mark, anchor: &str) -> String {
    match page {
        _ if !mark.is_told() || anchor.is_empty() => String::new(),
        "" => String::new(),
        "#" => format!("#{anchor}"),
        page => format!("{page}#{anchor}"),
    }
}

/// A heading over a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::web) struct Heading {
    pub(in crate::web) x: u32,
    pub(in crate::web) y: u32,
    pub(in crate::web) text: &'static str,
}
