//! From a case to an assessment.

use alloc::string::ToString;
use alloc::vec::Vec;

use crate::case::Case;
use crate::verdict::{Assessment, Clock, Detection, Outcome, Verdict};

/// Judges a case.
pub(crate) fn assess(case: &Case) -> Assessment {
    Assessment {
        verdict: Verdict {
            schema: 1,
            service: case.topology.service.to_string(),
            id: Default::default(),
            outcome: Outcome::Inconclusive,
            faults: Vec::new(),
            exonerated: Vec::new(),
            alternatives: Vec::new(),
            ask: Vec::new(),
            detection: Detection {
                rate: 1.0,
                power: 0.0,
            },
            clock: Clock::default(),
            rounds: 0,
            probes: case.observations.len() as u64,
            vantages: Vec::new(),
            started_at: Default::default(),
            elapsed_ms: 0,
        },
        settled: false,
        leading: "unknown".to_string(),
        leading_confidence: 0.0,
    }
}
