//! How the layers of a service's arms went over time: latency windows added up by stretches.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use localize::{Failure, Layer, Micros, ServiceName, VantageName};

use super::error::StoreError;
use super::key::{Kind, SeriesId, WindowKey};
use super::shared::Shared;
use super::window::Window;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CourseOf {
    /// The service.
    pub service: ServiceName,
    /// Windows that begin at or after this instant, in microseconds of mesh time, to the minute ...
    pub from_us: u64,
    /// ... and before this one.
    pub to_us: u64,
    /// Length of a stretch in microseconds; beyond a day back windows are hours, and shorter stretches
    /// have gaps.
    pub step_us: u64,
    /// The layer.
    pub layer: Layer,
    /// From there alone; from everywhere together without one.
    pub vantage: Option<VantageName>,
    /// Of the arm with this label alone; of each arm without one.
    pub arm: Option<String>,
}

/// One arm over time, from all the vantage points asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    /// The arm's label.
    pub arm: String,
    /// The stretches in which it was probed, oldest first.
    pub stretches: Vec<Stretch>,
}

/// One stretch of a course.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Its beginning, in microseconds of mesh time.
    pub at_us: u64,
    /// Probes that passed the layer.
    pub passed: u64,
    /// Probes that failed at it, by how.
    pub failed: Vec<(Failure, u64)>,
    /// Of the times of those that passed: the quantiles of [`QUANTILES`], zero when none did.
    pub times: [Micros; QUANTILES.len()],
}

/// The quantiles of a stretch.
pub const QUANTILES: [f64; 5] = [0.1, 0.25, 0.5, 0.75, 0.9];

impl Stretch {
    /// Failures of every kind.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failed.iter().map(|(_, count)| count).sum()
    }
}

type Sums = BTreeMap<(String, u64), Window>;

pub(super) fn course(shared: &Shared, of: &CourseOf) -> Result<Vec<Course>, StoreError> {
    let labels = labels(shared, of);
    let step_us = of.step_us.max(1);
    let mut sums = Sums::new();
    for entry in shared
        .disk
        .db
        .range(Kind::Window.at(of.from_us)..Kind::Window.at(of.to_us))
    {
        let (key, head) = entry.map_err(StoreError::database("list windows"))?;
        let Some(window) = WindowKey::parse(&key).filter(|key| key.layer == of.layer) else {
            continue;
        };
        let Some(label) = labels.get(&window.series) else {
            continue;
        };
        let Some(bytes) = shared.listed_bytes(&key, &head)? else {
            continue;
        };
        let at_us = window.minute_us - window.minute_us % step_us;
        let damaged = StoreError::damaged(&key);
        let added = Window::decode(&bytes)
            .and_then(|window| add(&mut sums, (label.clone(), at_us), window));
        if let Err(error) = added {
            let error = damaged(error);
            tracing::error!(%error, "a latency window is left out");
        }
    }
    Ok(by_arm(sums))
}

/// The series asked for, with the labels of their arms.
fn labels(shared: &Shared, of: &CourseOf) -> BTreeMap<SeriesId, String> {
    let series = shared.series().of_service(&of.service).into_iter();
    series
        .filter(|(_, series)| of.vantage.as_ref().is_none_or(|v| *v == series.vantage))
        .map(|(id, series)| (id, series.arm.label()))
        .filter(|(_, label)| of.arm.as_ref().is_none_or(|arm| arm == label))
        .collect()
}

fn add(sums: &mut Sums, at: (String, u64), window: Window) -> Result<(), super::value::ValueError> {
    match sums.entry(at) {
        Entry::Occupied(mut sum) => sum.get_mut().merge(&window),
        Entry::Vacant(vacant) => {
            vacant.insert(window);
            Ok(())
        }
    }
}

fn by_arm(sums: Sums) -> Vec<Course> {
    let mut courses: Vec<Course> = Vec::new();
    for ((arm, at_us), window) in sums {
        let stretch = Stretch {
            at_us,
            passed: window.passed,
            failed: window.failed.iter().map(|(f, n)| (*f, *n)).collect(),
            times: QUANTILES.map(|share| window.quantile(share)),
        };
        match courses.last_mut() {
            Some(course) if course.arm == arm => course.stretches.push(stretch),
            Some(_) | None => courses.push(Course {
                arm,
                stretches: vec![stretch],
            }),
        }
    }
    courses
}
