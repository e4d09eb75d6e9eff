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
    /// It could not run: usage, a file, and whatever else has no status of its own.
    Trouble,
    /// The evidence does not tell.
    Inconclusive,
    /// No coordinator was reached.
    Unreachable,
    /// The coordinator does not accept who asks, or not for this.
    NotAccepted,
    /// What was named is not there.
    NotFound,
    /// Nothing was done, for want of a yes.
    NotConfirmed,
    /// No answer came in time.
    Timeout,
}

impl Exit {
    /// The number that the shell sees.
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Fault => 1,
            Self::Trouble => 2,
            Self::Inconclusive => 3,
            Self::Unreachable => 4,
            Self::NotAccepted => 5,
            Self::NotFound => 6,
            Self::NotConfirmed => 7,
            Self::Timeout => 8,
        }
    }
}

/// What `meshctl help exit-codes` says.
pub const CODES: &str = "\
EXIT STATUS

localize, replay    0 healthy   1 at least one fault named   2 it could not run   3 inconclusive
mended              0 mended    1 not mended                 2 it could not run   3 undecided
service check       0 nothing speaks against the file
                    1 something does                         2 it could not run   3 nothing was probed
audit verify        0 the log is as it was written
                    1 it is not                              2 it could not be looked at
demo                0 every verdict as expected
                    1 one was not                            2 it could not run
localize --nagios   0 OK        1 WARNING: a fault that users do not feel
                    2 CRITICAL: users are affected           3 UNKNOWN: all else

All other commands:
  0  done
  2  not done: the command line, a file, or a reason that has no status of its own
  4  no coordinator was reached
  5  the coordinator does not accept the context's certificate, or its operator's role is too low
  6  there is no such service, agent, verdict, silence, operator or receiver
  7  nothing was done: it was not confirmed, and there is no terminal to ask on without --yes
  8  the coordinator did not answer in time

130 (SIGINT) when it was interrupted. The statuses only grow within a major version.
";

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
