//! The reliability diagram: what was said against what came true.

use crate::metrics::{BINS, Bin};

const SIZE: f64 = 320.0;
const MARGIN: f64 = 48.0;
/// Says of the page whether it is light or dark; the diagram has no background of its own.
const STYLE: &str = "<style>text{font:12px sans-serif;fill:#333}.axis{stroke:#777;fill:none}\
.ideal{stroke:#999;stroke-dasharray:4 4}.point{fill:#2a7ab0}.line{stroke:#2a7ab0;fill:none}\
@media(prefers-color-scheme:dark){text{fill:#ddd}.point{fill:#6bb7e8}.line{stroke:#6bb7e8}}</style>";

/// A reliability diagram as SVG, readable on light and on dark pages. Each point is a bin, with its
/// count beside it.
#[must_use]
pub fn svg(title: &str, bins: &[Bin; BINS]) -> String {
    let side = SIZE + 2.0 * MARGIN;
    let mut parts = vec![
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" role=\"img\" \
             aria-label=\"{0}\"><title>{0}</title>{STYLE}",
            escaped(title)
        ),
        format!(
            "<rect class=\"axis\" x=\"{MARGIN}\" y=\"{MARGIN}\" width=\"{SIZE}\" height=\"{SIZE}\"/>"
        ),
        line("ideal", (0.0, 0.0), (1.0, 1.0)),
        text((0.5, 1.06), "middle", &escaped(title)),
        text((0.5, -0.12), "middle", "probability said"),
        format!(
            "<text transform=\"rotate(-90 14 {0})\" x=\"14\" y=\"{0}\" text-anchor=\"middle\">share that came true</text>",
            side / 2.0
        ),
    ];
    parts.extend(ticks());
    parts.extend(points(bins));
    parts.push("</svg>\n".to_owned());
    parts.join("\n")
}

fn ticks() -> Vec<String> {
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
        .into_iter()
        .flat_map(|at| {
            let label = format!("{at:.1}");
            [
                line("axis", (at, 0.0), (at, -0.015)),
                text((at, -0.06), "middle", &label),
                line("axis", (0.0, at), (-0.015, at)),
                text((-0.03, at - 0.012), "end", &label),
            ]
        })
        .collect()
}

fn points(bins: &[Bin; BINS]) -> Vec<String> {
    let filled: Vec<&Bin> = bins.iter().filter(|bin| bin.count > 0).collect();
    let mut parts: Vec<String> = filled
        .windows(2)
        .map(|pair| {
            line(
                "line",
                (pair[0].said, pair[0].came),
                (pair[1].said, pair[1].came),
            )
        })
        .collect();
    for bin in filled {
        let (x, y) = place((bin.said, bin.came));
        parts.push(format!(
            "<circle class=\"point\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>"
        ));
        // Beside the line, on the side that has room.
        let (shift, anchor) = if bin.said > 0.5 {
            (-0.025, "end")
        } else {
            (0.025, "start")
        };
        parts.push(text(
            (bin.said + shift, bin.came),
            anchor,
            &bin.count.to_string(),
        ));
    }
    parts
}

fn place((x, y): (f64, f64)) -> (f64, f64) {
    (MARGIN + x * SIZE, MARGIN + (1.0 - y) * SIZE)
}

fn line(class: &str, from: (f64, f64), to: (f64, f64)) -> String {
    let ((x1, y1), (x2, y2)) = (place(from), place(to));
    format!("<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>")
}

fn text(at: (f64, f64), anchor: &str, words: &str) -> String {
    let (x, y) = place(at);
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>")
}

fn escaped(words: &str) -> String {
    words
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filled_bin_is_a_point_with_its_count() {
        let mut bins = [Bin::default(); BINS];
        bins[2] = Bin {
            count: 17,
            said: 0.25,
            came: 0.5,
        };
        bins[9] = Bin {
            count: 230,
            said: 1.0,
            came: 1.0,
        };
        let svg = svg("seeds < 500", &bins);
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("cx=\"128.0\" cy=\"208.0\""));
        assert!(svg.contains(">17</text>") && svg.contains(">230</text>"));
        assert!(svg.contains("seeds &lt; 500"));
        assert!(svg.contains("prefers-color-scheme:dark"));
    }
}
