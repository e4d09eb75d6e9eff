//! How the arms of a service went: the spread of their times as bands, their failures as a strip, and the
//! verdicts as marks, beside the same stretch of an earlier day if that is asked for.

use askama::Template;
use axum::extract::State;
use localize::{Layer, ServiceName, VantageName};
use serde::Deserialize;

use super::super::asked::{InPath, InQuery};
use super::super::chart::{Chart, Mark, Span};
use super::super::time;
use super::super::{Face, Shared};
use super::{Answer, Frame, Place, Trouble, html};
use crate::clock;
use crate::store::{Course, CourseOf};

/// Charts of a page: those with failures first; the others are asked for by their arm.
const CHARTS: usize = 24;
/// Verdicts that are looked through for those of the stretch.
const VERDICTS: usize = 200;

const MINUTE_US: u64 = 60_000_000;
const HOUR_US: u64 = 60 * MINUTE_US;
const DAY_US: u64 = 24 * HOUR_US;

/// A stretch that can be asked for.
struct Range {
    word: &'static str,
    length_us: u64,
    step_us: u64,
}

/// Stretches are whole minutes within a day back and whole hours beyond, as latency windows are.
const RANGES: [Range; 5] = [
    Range {
        word: "1h",
        length_us: HOUR_US,
        step_us: MINUTE_US,
    },
    Range {
        word: "6h",
        length_us: 6 * HOUR_US,
        step_us: 2 * MINUTE_US,
    },
    Range {
        word: "24h",
        length_us: DAY_US,
        step_us: 10 * MINUTE_US,
    },
    Range {
        word: "7d",
        length_us: 7 * DAY_US,
        step_us: HOUR_US,
    },
    Range {
        word: "30d",
        length_us: 30 * DAY_US,
        step_us: 3 * HOUR_US,
    },
];

const LAYERS: [(&str, Layer); 4] = [
    ("http", Layer::Http),
    ("tls", Layer::Tls),
    ("tcp", Layer::Tcp),
    ("dns", Layer::Dns),
];

/// How far back the stretch beside lies.
const BESIDE: [(&str, &str, u64); 3] = [
    ("", "nothing", 0),
    ("day", "a day before", DAY_US),
    ("week", "a week before", 7 * DAY_US),
];

/// What is asked for.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    range: Option<String>,
    layer: Option<String>,
    #[serde(default)]
    vantage: String,
    #[serde(default)]
    arm: String,
    #[serde(default)]
    beside: String,
}

#[derive(Template)]
#[template(path = "web/history.html")]
struct History {
    frame: Frame,
    name: String,
    tab: &'static str,
    ranges: Vec<Choice>,
    layers: Vec<Choice>,
    vantages: Vec<Choice>,
    arms: Vec<Choice>,
    besides: Vec<Choice>,
    charts: Vec<Chart>,
    hidden: usize,
    words: String,
}

/// One of what can be chosen.
struct Choice {
    value: String,
    label: String,
    chosen: bool,
}

/// What is asked for, understood.
struct Wish {
    range: &'static Range,
    layer: Layer,
    layer_word: &'static str,
    vantage: Option<VantageName>,
    arm: Option<String>,
    beside_us: u64,
}

impl Wish {
    /// What is left out is an hour of the requests.
    fn read(asked: &Asked) -> Result<Self, Trouble> {
        let unfit = |what: &str, word: &str| Trouble::Unfit(format!("there is no {what} {word:?}"));
        let word = asked.range.as_deref().unwrap_or("1h");
        let range = RANGES.iter().find(|range| range.word == word);
        let layer = asked.layer.as_deref().unwrap_or("http");
        let known = LAYERS.iter().find(|(word, _)| *word == layer);
        let beside = BESIDE.iter().find(|(word, ..)| *word == asked.beside);
        let (layer_word, layer) = known.ok_or_else(|| unfit("layer", layer))?;
        Ok(Self {
            range: range.ok_or_else(|| unfit("range", word))?,
            layer: *layer,
            layer_word,
            vantage: some(&asked.vantage).map(VantageName),
            arm: some(&asked.arm),
            beside_us: beside
                .ok_or_else(|| unfit("stretch beside", &asked.beside))?
                .2,
        })
    }

    /// The stretch that ends at an instant, with the one under way.
    fn span(&self, end_us: u64) -> Span {
        let step_us = self.range.step_us;
        let to_us = end_us - end_us % step_us + step_us;
        Span {
            from_us: to_us.saturating_sub(self.range.length_us),
            to_us,
            step_us,
        }
    }

    fn course(&self, service: &ServiceName, span: Span) -> CourseOf {
        CourseOf {
            service: service.clone(),
            from_us: span.from_us,
            to_us: span.to_us,
            step_us: span.step_us,
            layer: self.layer,
            vantage: self.vantage.clone(),
            arm: None,
        }
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

pub(super) async fn history(
    State(face): Shared,
    InPath(name): InPath<String>,
    InQuery(asked): InQuery<Asked>,
) -> Answer {
    let wish = Wish::read(&asked)?;
    let service = face.service(&name).await?;
    let of = service.topology.service.clone();
    let now_us = clock::now_us();
    let span = wish.span(now_us);
    let courses = face.courses(wish.course(&of, span)).await?;
    let beside = match wish.beside_us {
        0 => Vec::new(),
        back => face.courses(wish.course(&of, span.earlier(back))).await?,
    };
    let marks = face.marks(&of, span).await?;
    let labels: Vec<String> = courses.iter().map(|course| course.arm.clone()).collect();
    let wanted = |course: &Course| wish.arm.as_ref().is_none_or(|arm| *arm == course.arm);
    let mut courses: Vec<Course> = courses.into_iter().filter(wanted).collect();
    courses.sort_by_key(|course| std::cmp::Reverse(failures(course)));
    let hidden = courses.len().saturating_sub(CHARTS);
    let charts = courses.iter().take(CHARTS).map(|course| {
        let before = beside.iter().find(|before| before.arm == course.arm);
        Chart::new(
            course,
            before.map(|before| (before, wish.beside_us)),
            span,
            &marks,
        )
    });
    let vantages = service
        .topology
        .vantages
        .iter()
        .map(|vantage| vantage.name.0.clone());
    html(&History {
        frame: Frame::new(Place::Services, format!("History of {name}"), now_us),
        tab: "history",
        ranges: choices(
            RANGES.iter().map(|range| (range.word, range.word)),
            wish.range.word,
        ),
        layers: choices(
            LAYERS.iter().map(|(word, _)| (*word, *word)),
            wish.layer_word,
        ),
        vantages: named("all together", vantages, &asked.vantage),
        arms: named("each", labels.into_iter(), &asked.arm),
        besides: choices(
            BESIDE.iter().map(|(word, label, _)| (*word, *label)),
            &asked.beside,
        ),
        charts: charts.collect(),
        hidden,
        words: format!(
            "{} to {} UTC, {} a step",
            time::clock(span.from_us, now_us),
            time::clock(now_us, now_us),
            step(span.step_us)
        ),
        name: of.0,
    })
}

impl Face {
    async fn courses(&self, of: CourseOf) -> Result<Vec<Course>, Trouble> {
        self.read(move |store| store.course(&of)).await
    }

    /// The verdicts of a stretch that named somebody.
    async fn marks(&self, service: &ServiceName, span: Span) -> Result<Vec<Mark>, Trouble> {
        let kept = self.verdicts(Some(service.clone()), VERDICTS).await?;
        let marks = kept.iter().filter_map(|kept| {
            let verdict = &kept.verdict;
            let began = kept.raised.as_ref().map(|raised| &raised.began_at);
            let at_us = time::micros(began.unwrap_or(&verdict.started_at))?;
            let named = crate::mended::named(verdict);
            let (component, mode) = named.first()?;
            (span.from_us..span.to_us).contains(&at_us).then(|| Mark {
                at_us,
                verdict: verdict.id.clone(),
                words: format!("{} {mode}", proto::words::component(component)),
            })
        });
        Ok(marks.collect())
    }
}

fn failures(course: &Course) -> u64 {
    course
        .stretches
        .iter()
        .map(|stretch| stretch.failures())
        .sum()
}

fn step(step_us: u64) -> String {
    match step_us / MINUTE_US {
        minutes @ 0..60 => format!("{minutes} min"),
        minutes => format!("{} h", minutes / 60),
    }
}

fn choices<'a>(all: impl Iterator<Item = (&'a str, &'a str)>, chosen: &str) -> Vec<Choice> {
    all.map(|(value, label)| Choice {
        value: value.to_owned(),
        label: label.to_owned(),
        chosen: value == chosen,
    })
    .collect()
}

/// Names, with none of them first.
fn named(none: &str, all: impl Iterator<Item = String>, chosen: &str) -> Vec<Choice> {
    let first = (String::new(), none.to_owned());
    let all = all.map(|name| (name.clone(), name));
    std::iter::once(first)
        .chain(all)
        .map(|(value, label)| Choice {
            chosen: value == chosen,
            value,
            label,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_understood_or_refused() {
        let asked = |range: &str, layer: &str, beside: &str| {
            Wish::read(&Asked {
                range: Some(range.to_owned()),
                layer: Some(layer.to_owned()),
                beside: beside.to_owned(),
                ..Asked::default()
            })
        };
        assert_eq!(
            asked("30d", "dns", "week").unwrap().range.step_us,
            3 * HOUR_US
        );
        for (range, layer, beside) in [("2d", "http", ""), ("1h", "ip", ""), ("1h", "http", "year")]
        {
            assert!(
                asked(range, layer, beside).is_err(),
                "{range} {layer} {beside}"
            );
        }
    }

    #[test]
    fn a_stretch_holds_the_step_under_way() {
        let wish = Wish::read(&Asked::default()).unwrap();
        let span = wish.span(100 * HOUR_US + 61_000_000);
        assert_eq!(span.to_us, 100 * HOUR_US + 2 * MINUTE_US);
        assert_eq!(span.to_us - span.from_us, HOUR_US);
    }
}
