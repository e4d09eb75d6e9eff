//! What the engine does with facts: it learns from them, counts them and keeps the recent ones.

use std::sync::Arc;

use localize::{Observation, VantageName};

use super::event::Delivery;
use super::state::State;
use crate::plan;

impl State {
    /// Facts of one agent that are on disk. A repeat, after a session was replaced, is known by its
    /// sequence.
    pub(super) fn recorded(&mut self, now_us: u64, vantage: &VantageName, facts: Delivery) {
        let Delivery {
            mut observations,
            mut reports,
            mut traces,
        } = facts;
        // The agent may have got another name while they waited for the disk.
        let vantage = &self.present_name(vantage.clone());
        for observation in &mut observations {
            observation.id.vantage.clone_from(vantage);
        }
        for report in &mut reports {
            report.witness.clone_from(vantage);
        }
        for trace in &mut traces {
            trace.vantage.clone_from(vantage);
        }
        let seen = self.seen_through.get(vantage).copied().unwrap_or(0);
        let sequences = observations.iter().map(|o| o.id.sequence);
        let through = sequences
            .chain(reports.iter().map(|report| report.sequence))
            .chain(traces.iter().map(|trace| trace.sequence))
            .fold(seen, u64::max);
        self.seen_through.insert(vantage.clone(), through);
        observations.retain(|observation| observation.id.sequence > seen);
        reports.retain(|report| report.sequence > seen);
        self.want_packets(now_us, &observations, &reports);
        for observation in observations {
            match self.checks.contains_key(&observation.service) {
                true => self.checked(now_us, observation),
                false => self.observed(now_us, Arc::new(observation)),
            }
        }
        for report in reports {
            self.report_count += 1;
            self.reports.push(Arc::new(report), now_us);
        }
        for trace in traces.into_iter().filter(|trace| trace.sequence > seen) {
            if let Some(service) = self.services.get_mut(&trace.service) {
                service.version += 1;
                service.traces.push(Arc::new(trace), now_us);
            }
        }
    }

    fn observed(&mut self, now_us: u64, observation: Arc<Observation>) {
        let Some(service) = self.services.get_mut(&observation.service) else {
            return;
        };
        self.tally.count(&observation);
        // What an agent delivers after a long cut says nothing about the path as it is.
        if service.recent.push(Arc::clone(&observation), now_us)
            && plan::learn(&mut service.record.learnt, &observation)
        {
            service.learnt_more(now_us);
        }
        self.count_for_round(now_us, &observation);
    }
}
