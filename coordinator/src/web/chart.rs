//! One arm over time as a picture: bands of its times, a strip of its failures, verdicts as marks. Pure.

use proto::words::{micros, percent};

use super::time;
use crate::grpc::view::failure_word;
use crate::store::{Course, Stretch};

/// Sizes in the picture's own units: its width is stretched to that of the page, its height is not.
pub(super) const WIDTH: f64 = 900.0;
pub(super) const HEIGHT: f64 = 118.0;
/// Where times are drawn, and where failures.
const TOP: f64 = 8.0;
const FLOOR: f64 = 78.0;
const STRIP_TOP: f64 = 84.0;
const STRIP_FLOOR: f64 = 102.0;
/// Ticks of the axis of time.
const TICKS: u64 = 6;

/// A stretch of time in steps, in microseconds of mesh time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from_us: u64,
    pub(super) to_us: u64,
    pub(super) step_us: u64,
}

impl Span {
    /// As long, so much earlier.
    pub(super) const fn earlier(self, by_us: u64) -> Self {
        Self {
            from_us: self.from_us.saturating_sub(by_us),
            to_us: self.to_us.saturating_sub(by_us),
            step_us: self.step_us,
        }
    }

    fn x(self, at_us: u64) -> f64 {
        let since = at_us.saturating_sub(self.from_us) as f64;
        round(since / (self.to_us - self.from_us).max(1) as f64 * WIDTH)
    }

    fn percent(self, at_us: u64) -> f64 {
        round(self.x(at_us) / WIDTH * 100.0)
    }
}

/// A verdict within the stretch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) at_us: u64,
    pub(super) verdict: String,
    pub(super) words: String,
}

/// A mark in its place, in hundredths of the width.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Placed {
    pub(super) at: f64,
    pub(super) verdict: String,
    pub(super) words: String,
}

/// A bar of the strip.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bar {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) failing: bool,
    pub(super) title: String,
}

/// A word at an axis: of times by its height, of instants in hundredths of the width.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) at: f64,
    pub(super) text: String,
}

/// One arm over time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chart {
    pub(super) arm: String,
    /// In words, for who does not see the picture.
    pub(super) words: String,
    /// Courses of the bands from the 10th to the 90th and from the 25th to the 75th percentile, and of the
    /// median, in the words of SVG.
    pub(super) outer: String,
    pub(super) inner: String,
    pub(super) median: String,
    /// The median of the stretch beside; empty without one.
    pub(super) beside: String,
    pub(super) bars: Vec<Bar>,
    pub(super) levels: Vec<Tick>,
    pub(super) hours: Vec<Tick>,
    pub(super) marks: Vec<Placed>,
    pub(super) failed: u64,
    pub(super) probes: u64,
}

impl Chart {
    /// Of a course, beside the same arm so much earlier.
    pub(super) fn new(
        course: &Course,
        beside: Option<(&Course, u64)>,
        span: Span,
        marks: &[Mark],
    ) -> Self {
        let before = beside
            .map(|(before, _)| before.stretches.as_slice())
            .unwrap_or_default();
        let top_us = top(course.stretches.iter().chain(before));
        let scale = Scale { span, top_us };
        let back_us = beside.map_or(0, |(_, back_us)| back_us);
        let (failed, passed) = course
            .stretches
            .iter()
            .fold((0, 0), |(failed, passed), stretch| {
                (failed + stretch.failures(), passed + stretch.passed)
            });
        Self {
            arm: course.arm.clone(),
            words: words(course, failed, failed + passed),
            outer: scale.band(&course.stretches, 0, 4),
            inner: scale.band(&course.stretches, 1, 3),
            median: scale.line(&course.stretches, 0),
            beside: scale.line(before, back_us),
            bars: course
                .stretches
                .iter()
                .map(|stretch| scale.bar(stretch))
                .collect(),
            levels: scale.levels(),
            hours: hours(span),
            marks: marks.iter().map(|mark| placed(mark, span)).collect(),
            failed,
            probes: failed + passed,
        }
    }

    pub(super) fn width(&self) -> f64 {
        WIDTH
    }

    pub(super) fn height(&self) -> f64 {
        HEIGHT
    }

    pub(super) fn floor(&self) -> f64 {
        FLOOR
    }

    /// Share of the probes that failed, in words.
    pub(super) fn share(&self) -> String {
        match self.failed {
            0 => "none failed at this layer".to_owned(),
            failed => {
                let share = failed as f64 / self.probes.max(1) as f64;
                format!("{failed} of {} failed ({})", self.probes, percent(share))
            }
        }
    }
}

/// Where times and instants are in the picture.
#[derive(Clone, Copy)]
struct Scale {
    span: Span,
    top_us: f64,
}

impl Scale {
    fn y(self, us: u64) -> f64 {
        let share = (us as f64 / self.top_us).min(1.0);
        round(FLOOR - share * (FLOOR - TOP))
    }

    fn middle(self, stretch: &Stretch, later_us: u64) -> f64 {
        self.span
            .x(stretch.at_us + later_us + self.span.step_us / 2)
    }

    /// Between two quantiles; a gap in time is a gap in the band.
    fn band(self, stretches: &[Stretch], low: usize, high: usize) -> String {
        let mut path = String::new();
        for run in self.runs(stretches) {
            let at = |stretch: &&Stretch, quantile: usize| {
                (
                    self.middle(stretch, 0),
                    self.y(stretch.times.get(quantile).map_or(0, |t| t.0)),
                )
            };
            let upper = run.iter().map(|stretch| at(stretch, high));
            let lower = run.iter().rev().map(|stretch| at(stretch, low));
            for (index, (x, y)) in upper.chain(lower).enumerate() {
                path += &format!("{}{x} {y}", if index == 0 { "M" } else { "L" });
            }
            path.push('Z');
        }
        path
    }

    /// The median, drawn so much later than it was.
    fn line(self, stretches: &[Stretch], later_us: u64) -> String {
        let mut path = String::new();
        for run in self.runs(stretches) {
            for (index, stretch) in run.iter().enumerate() {
                let (x, y) = (self.middle(stretch, later_us), self.y(stretch.times[2].0));
                path += &format!("{}{x} {y}", if index == 0 { "M" } else { "L" });
            }
            if let [only] = run.as_slice() {
                // A line of one point is seen as a dot.
                let (x, y) = (self.middle(only, later_us), self.y(only.times[2].0));
                path += &format!("L{} {y}", x + 1.5);
            }
        }
        path
    }

    /// Those in which something passed, without a gap between.
    fn runs(self, stretches: &[Stretch]) -> Vec<Vec<&Stretch>> {
        let mut runs: Vec<Vec<&Stretch>> = Vec::new();
        for stretch in stretches.iter().filter(|stretch| stretch.passed > 0) {
            let goes_on = |run: &&mut Vec<&Stretch>| {
                let last = run.last().map_or(0, |last| last.at_us);
                stretch.at_us <= last + 2 * self.span.step_us
            };
            match runs.last_mut().filter(goes_on) {
                Some(run) => run.push(stretch),
                None => runs.push(vec![stretch]),
            }
        }
        runs
    }

    /// Small shares are seen too: the height grows with the root of the share.
    fn bar(self, stretch: &Stretch) -> Bar {
        let failed = stretch.failures();
        let all = failed + stretch.passed;
        let share = failed as f64 / all.max(1) as f64;
        let full = STRIP_FLOOR - STRIP_TOP;
        let height = match failed {
            0 => 1.5,
            _ => round((share.sqrt() * full).max(4.0)),
        };
        let width = self.span.step_us as f64 / (self.span.to_us - self.span.from_us).max(1) as f64;
        Bar {
            x: self.span.x(stretch.at_us),
            y: round(STRIP_FLOOR - height),
            width: round((width * WIDTH - 1.0).max(0.5)),
            height,
            failing: failed > 0,
            title: title(stretch, failed, all),
        }
    }

    fn levels(self) -> Vec<Tick> {
        [1.0, 0.5]
            .map(|share| {
                let us = self.top_us * share;
                // Positive, and far below what a u64 holds.
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let text = micros(us as u64);
                Tick {
                    at: round(FLOOR - share * (FLOOR - TOP)),
                    text,
                }
            })
            .to_vec()
    }
}

/// The least of 1, 2, 5, 10 ... that no 90th percentile exceeds, in microseconds.
fn top<'a>(stretches: impl Iterator<Item = &'a Stretch>) -> f64 {
    let highest = stretches
        .map(|stretch| stretch.times[4].0)
        .max()
        .unwrap_or(0) as f64;
    let mut top = 100.0;
    for factor in [2.0, 2.5, 2.0].into_iter().cycle() {
        if top >= highest || top >= 1e9 {
            break;
        }
        top *= factor;
    }
    top
}

fn title(stretch: &Stretch, failed: u64, all: u64) -> String {
    let mut failures = stretch.failed.clone();
    failures.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let kinds = failures.iter().take(3);
    let kinds: Vec<String> = kinds
        .map(|(failure, count)| format!("{count} {}", failure_word(*failure)))
        .collect();
    let at = time::clock(stretch.at_us, 0);
    let median = match stretch.passed {
        0 => String::new(),
        _ => format!(", median {}", micros(stretch.times[2].0)),
    };
    match failed {
        0 => format!("{at} UTC: {all} probes passed{median}"),
        _ => format!(
            "{at} UTC: {failed} of {all} failed ({}){median}",
            kinds.join(", ")
        ),
    }
}

fn words(course: &Course, failed: u64, all: u64) -> String {
    let medians = course.stretches.iter().filter(|stretch| stretch.passed > 0);
    let medians: Vec<u64> = medians.map(|stretch| stretch.times[2].0).collect();
    let (low, high) = (medians.iter().min(), medians.iter().max());
    let times = match (low, high) {
        (Some(low), Some(high)) => format!("medians from {} to {}", micros(*low), micros(*high)),
        _ => "nothing passed".to_owned(),
    };
    format!("{}: {all} probes, {failed} failed, {times}", course.arm)
}

fn hours(span: Span) -> Vec<Tick> {
    let length_us = span.to_us - span.from_us;
    let ticks = (0..TICKS).map(|tick| span.from_us + length_us * tick / TICKS);
    ticks
        .map(|at_us| {
            let text = time::clock(at_us, 0);
            // Days where the stretch is long, else minutes.
            let text = match length_us > 48 * 3_600_000_000 {
                true => text.get(5..10),
                false => text.get(11..16),
            };
            Tick {
                at: span.percent(at_us),
                text: text.unwrap_or_default().to_owned(),
            }
        })
        .collect()
}

fn placed(mark: &Mark, span: Span) -> Placed {
    Placed {
        at: span.percent(mark.at_us),
        verdict: mark.verdict.clone(),
        words: mark.words.clone(),
    }
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use localize::{Failure, Micros};

    use super::*;

    const STEP: u64 = 60_000_000;

    fn stretch(number: u64, passed: u64, failed: u64, median: u64) -> Stretch {
        Stretch {
            at_us: number * STEP,
            passed,
            failed: match failed {
                0 => Vec::new(),
                _ => vec![(Failure::ConnectTimeout, failed)],
            },
            times: [1, 2, 4, 6, 8].map(|quarter| Micros(median * quarter / 4)),
        }
    }

    fn chart(stretches: Vec<Stretch>) -> Chart {
        let course = Course {
            arm: "edge/192.0.2.1".to_owned(),
            stretches,
        };
        let span = Span {
            from_us: 0,
            to_us: 10 * STEP,
            step_us: STEP,
        };
        Chart::new(&course, None, span, &[])
    }

    #[test]
    fn a_gap_in_time_is_a_gap_in_the_picture() {
        let pieces = |chart: &Chart| chart.median.matches('M').count();
        let whole = chart(vec![stretch(1, 5, 0, 900), stretch(2, 5, 0, 900)]);
        assert_eq!(pieces(&whole), 1);
        let parted = chart(vec![stretch(1, 5, 0, 900), stretch(5, 5, 0, 900)]);
        assert_eq!(pieces(&parted), 2);
        let nothing = chart(vec![stretch(1, 0, 5, 0)]);
        assert_eq!((pieces(&nothing), nothing.bars[0].failing), (0, true));
    }

    #[test]
    fn what_failed_is_said_of_each_step() {
        let failing = chart(vec![stretch(1, 3, 1, 900), stretch(2, 4, 0, 900)]);
        let bar = &failing.bars[0];
        assert!(
            bar.failing
                && bar
                    .title
                    .ends_with("1 of 4 failed (1 connect_timeout), median 900 µs"),
            "{}",
            bar.title
        );
        assert!(!failing.bars[1].failing);
        assert_eq!(failing.share(), "1 of 8 failed (12%)");
        assert_eq!(
            failing.levels[0].text, "2.0 ms",
            "twice the median is the 90th percentile"
        );
        assert!(failing.bars.iter().all(|bar| bar.x + bar.width <= WIDTH));
    }
}
