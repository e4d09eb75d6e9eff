//! Latency windows under way, of all agents: in memory, and written when their minute is over.
//!
//! A window takes some ten observations in its minute. To read, change and write it for each of them would
//! cost more than everything else about an observation. What a kill takes from memory is counted again at
//! the next start from the observations, which are on disk: beside the windows of an agent stands the
//! sequence up to which its observations are in them, and both change in one batch.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use localize::{Layer, Observation, Outcome, VantageName};

use super::key::{MINUTE_US, SeriesId, ServiceNumber, WindowKey};
use super::minute::{Count, Minute};

/// Observations of one agent in windows under way: those of a minute of a round every second with a hundred
/// arms are half of it. An agent that comes back after an outage has more, and they are written sooner.
const MOST: usize = 12_000;

/// A minute is written at the latest so long after it is over, in microseconds, if its agent is silent.
const SILENT_US: u64 = 2 * MINUTE_US;

/// The windows under way.
#[derive(Debug, Default)]
pub(super) struct Counting {
    agents: BTreeMap<VantageName, Agent>,
    /// The agents of which something is to be written, in the order in which it came to that.
    due: VecDeque<VantageName>,
}

/// Those of one agent.
#[derive(Debug, Default)]
struct Agent {
    minutes: BTreeMap<u64, Span>,
    observations: usize,
    /// It is among those due.
    due: bool,
}

/// One minute of an agent.
#[derive(Debug)]
struct Span {
    /// The sequences of its observations: first and last.
    sequences: (u64, u64),
    observations: usize,
    windows: BTreeMap<WindowKey, Minute>,
}

/// An observation for the windows.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    pub vantage: VantageName,
    sequence: u64,
    minute_us: u64,
    counts: Vec<(WindowKey, Count)>,
}

/// Windows of an agent that are to be written.
#[derive(Clone, Debug)]
pub(super) struct Ripe {
    pub vantage: VantageName,
    /// Every observation of the agent up to this one is in these windows or in those written before.
    pub through: u64,
    minutes: Vec<u64>,
    pub windows: Vec<(WindowKey, Minute)>,
}

impl Counted {
    /// What an observation adds to the windows of its series.
    pub(super) fn new(
        service: ServiceNumber,
        series: SeriesId,
        vantage: &VantageName,
        observation: &Observation,
    ) -> Self {
        let minute_us = observation.scheduled_us - observation.scheduled_us % MINUTE_US;
        let window = |layer| WindowKey {
            service,
            minute_us,
            series,
            layer,
        };
        let passed = observation.steps.iter();
        let mut counts: Vec<_> = passed
            .map(|step| (window(step.layer), Count::Passed(step.took)))
            .collect();
        if let Outcome::Failed { layer, failure, .. } = observation.outcome {
            counts.push((window(layer), Count::Failed(failure)));
        }
        if let Some(http) = &observation.facts.http {
            counts.push((window(Layer::Http), Count::Answered(http.status)));
        }
        Self {
            vantage: vantage.clone(),
            sequence: observation.id.sequence,
            minute_us,
            counts,
        }
    }
}

impl Counting {
    /// Counts an observation that is on disk.
    pub(super) fn add(&mut self, counted: Counted) {
        let Counted {
            vantage,
            sequence,
            minute_us,
            counts,
        } = counted;
        if !self.agents.contains_key(&vantage) {
            self.agents.insert(vantage.clone(), Agent::default());
        }
        let Some(agent) = self.agents.get_mut(&vantage) else {
            return;
        };
        let span = agent.minutes.entry(minute_us).or_insert_with(|| Span {
            sequences: (sequence, sequence),
            observations: 0,
            windows: BTreeMap::new(),
        });
        let (first, last) = span.sequences;
        span.sequences = (first.min(sequence), last.max(sequence));
        span.observations += 1;
        for (key, count) in counts {
            span.windows.entry(key).or_default().add(count);
        }
        agent.observations += 1;
        if !agent.due && (agent.minutes.len() > 1 || agent.observations >= MOST) {
            agent.due = true;
            self.due.push_back(vantage);
        }
    }

    /// Calls those due whose minutes are over although they have been silent since, or will not be for long.
    pub(super) fn call(&mut self, now_us: u64) {
        for (vantage, agent) in &mut self.agents {
            let over = |at_us: &u64| at_us.saturating_add(SILENT_US) <= now_us;
            let ahead = |at_us: &u64| *at_us > now_us.saturating_add(SILENT_US);
            let mut minutes = agent.minutes.keys();
            if !agent.due && minutes.any(|at_us| over(at_us) || ahead(at_us)) {
                agent.due = true;
                self.due.push_back(vantage.clone());
            }
        }
    }

    /// Windows that are to be written, of so many agents as have about that many. They are counted here
    /// until [`Self::written`].
    pub(super) fn ripe(&self, most: usize) -> Vec<Ripe> {
        let (mut ripe, mut windows) = (Vec::new(), 0);
        let mut taken = BTreeSet::new();
        for vantage in &self.due {
            if windows >= most {
                break;
            }
            let agent = self.agents.get(vantage).filter(|_| taken.insert(vantage));
            if let Some(found) = agent.and_then(|agent| agent.ripe(vantage)) {
                windows += found.windows.len();
                ripe.push(found);
            }
        }
        ripe
    }

    /// These are on disk.
    pub(super) fn written(&mut self, ripe: &[Ripe]) {
        let written: BTreeSet<&VantageName> = ripe.iter().map(|ripe| &ripe.vantage).collect();
        // They were the first of the queue, and whoever is no more stands between them.
        while let Some(first) = self.due.front() {
            if !written.contains(first) && self.agents.contains_key(first) {
                break;
            }
            self.due.pop_front();
        }
        for Ripe {
            vantage, minutes, ..
        } in ripe
        {
            let Some(agent) = self.agents.get_mut(vantage) else {
                continue;
            };
            for minute in minutes {
                let gone = agent.minutes.remove(minute);
                agent.observations -= gone.map_or(0, |span| span.observations);
            }
            agent.due = false;
            if agent.minutes.is_empty() {
                self.agents.remove(vantage);
            }
        }
    }

    /// An agent goes by another name from now on, which nobody had.
    pub(super) fn rename(&mut self, from: &VantageName, to: &VantageName) {
        if let Some(agent) = self.agents.remove(from) {
            self.agents.insert(to.clone(), agent);
        }
        let due = self.due.iter_mut().filter(|due| *due == from);
        due.for_each(|due| due.clone_from(to));
    }

    /// An agent is no more.
    pub(super) fn forget(&mut self, vantage: &VantageName) {
        self.agents.remove(vantage);
        self.due.retain(|due| due != vantage);
    }

    /// The newest minute.
    pub(super) fn newest(&self) -> Option<u64> {
        let agents = self.agents.values();
        agents
            .filter_map(|agent| agent.minutes.keys().next_back().copied())
            .max()
    }

    /// The windows of a service, by time.
    pub(super) fn of(&self, service: ServiceNumber) -> BTreeMap<WindowKey, Minute> {
        let spans = self
            .agents
            .values()
            .flat_map(|agent| agent.minutes.values());
        let windows = spans.flat_map(|span| &span.windows);
        windows
            .filter(|(key, _)| key.service == service)
            .map(|(key, minute)| (*key, minute.clone()))
            .collect()
    }
}

impl Agent {
    /// The minutes that are over, if their observations are all before those of the last one; else all. So
    /// one sequence tells what is written.
    fn ripe(&self, vantage: &VantageName) -> Option<Ripe> {
        let (newest_us, newest) = self.minutes.last_key_value()?;
        let last = |spans: &mut dyn Iterator<Item = &Span>| spans.map(|s| s.sequences.1).max();
        let mut over = self.minutes.range(..newest_us).map(|(_, span)| span);
        let before = last(&mut over).filter(|last| *last < newest.sequences.0);
        let (through, minutes) = match before {
            Some(through) if self.observations < MOST => (through, self.minutes.range(..newest_us)),
            _ => (
                last(&mut self.minutes.values())?,
                self.minutes.range::<u64, _>(..),
            ),
        };
        let minutes: Vec<(&u64, &Span)> = minutes.collect();
        Some(Ripe {
            vantage: vantage.clone(),
            through,
            minutes: minutes.iter().map(|(at_us, _)| **at_us).collect(),
            windows: minutes
                .into_iter()
                .flat_map(|(_, span)| &span.windows)
                .map(|(key, minute)| (*key, minute.clone()))
                .collect(),
        })
    }
}
