//! How the layers of a service's arms went over time: latency windows added up by stretches.

use std::collections::BTreeMap;

use localize::{Failure, Layer, Micros, ServiceName, VantageName};

use super::error::StoreError;
use super::key::SeriesId;
use super::shared::Shared;
use super::value::ValueError;
use super::window::Window;
use super::windows;

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

pub(super) fn course(shared: &Shared, of: &CourseOf) -> Result<Vec<Course>, StoreError> {
    let labels = labels(shared, of);
    let step_us = of.step_us.max(1);
    let mut courses = Courses::default();
    let Some(number) = shared.series().number(&of.service) else {
        return Ok(Vec::new());
    };
    // Windows come in the order of time, so that one stretch at a time is added up: a window added up is
    // as large as all that it could tell apart.
    windows::each(shared, number, of.from_us..of.to_us, |window, bytes| {
        if window.layer != of.layer {
            return;
        }
        let Some(label) = labels.get(&window.series) else {
            return;
        };
        courses.begin(window.minute_us - window.minute_us % step_us);
        if let Err(error) = courses.add(label, bytes) {
            let error = StoreError::damaged(&window.bytes())(error);
            tracing::error!(%error, "a latency window is left out");
        }
    })?;
    Ok(courses.end())
}

/// The stretch that is being added up, and those that are.
#[derive(Default)]
struct Courses {
    at_us: u64,
    sums: BTreeMap<String, Window>,
    done: BTreeMap<String, Vec<Stretch>>,
}

impl Courses {
    /// Goes on to a stretch, unless it is there.
    fn begin(&mut self, at_us: u64) {
        if at_us == self.at_us {
            return;
        }
        for (arm, window) in std::mem::take(&mut self.sums) {
            let stretch = Stretch {
                at_us: self.at_us,
                passed: window.passed,
                failed: window.failed.iter().map(|(f, n)| (*f, *n)).collect(),
                times: QUANTILES.map(|share| window.quantile(share)),
            };
            self.done.entry(arm).or_default().push(stretch);
        }
        self.at_us = at_us;
    }

    fn add(&mut self, arm: &str, bytes: &[u8]) -> Result<(), ValueError> {
        if let Some(sum) = self.sums.get_mut(arm) {
            return sum.add(bytes);
        }
        let mut sum = Window::new()?;
        sum.add(bytes)?;
        self.sums.insert(arm.to_owned(), sum);
        Ok(())
    }

    fn end(mut self) -> Vec<Course> {
        self.begin(u64::MAX);
        let courses = self.done.into_iter();
        courses
            .map(|(arm, stretches)| Course { arm, stretches })
            .collect()
    }
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
