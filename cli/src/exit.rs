//! Exit statuses, a promise to scripts.

use std::process::ExitCode;

use localize::VerdictOutcome;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done; of a verdict: healthy.
    Ok,
    /// At least one fault is named, or the demonstration was not as expected.
    Fault,
    /// It could not run: usage, coordinator, file.
    Trouble,
    /// The evidence does not tell.
    Inconclusive,
}

impl Exit {
    /// The number that the shell sees.
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Fault => 1,
            Self::Trouble => 2,
            Self::Inconclusive => 3,
        }
    }
}

impl From<VerdictOutcome> for Exit {
    fn from(outcome: VerdictOutcome) -> Self {
        match outcome {
            VerdictOutcome::Healthy => Self::Ok,
            VerdictOutcome::Fault => Self::Fault,
            VerdictOutcome::Inconclusive => Self::Inconclusive,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_has_the_promised_status() {
        let rows = [
            (VerdictOutcome::Healthy, 0),
            (VerdictOutcome::Fault, 1),
            (VerdictOutcome::Inconclusive, 3),
        ];
        for (outcome, code) in rows {
            assert_eq!(Exit::from(outcome).code(), code, "{outcome:?}");
        }
        assert_eq!(Exit::Trouble.code(), 2);
    }
}
