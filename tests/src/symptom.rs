//! The proof that a fault does what it says, with `dig` and `curl` alone, without the programs under
//! test.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::clock;
use crate::fault::{Fault, Listed};
use crate::sign::{Ask, Sign, put};
use crate::topology::Lab;

/// Tries for a fault that strikes at times. At a share of 0.2, one such series in 40,000 shows nothing.
const TRIES: usize = 48;
/// Tries for one that strikes seldom: at a share of 0.02, one series in 6,000 shows nothing.
const MANY_TRIES: usize = 432;
/// After a fault is off, everything must have forgotten it after this.
const FORGETS: Duration = Duration::from_secs(15);

/// Checks on the running path that the fault shows. The path must be well when this is called, and
/// is well again afterwards.
pub fn verify(lab: &mut Lab, fault: Fault) -> Result<()> {
    let tries = match fault.listed() {
        Listed::Seldom => MANY_TRIES,
        Listed::Usual | Listed::NotYet => TRIES,
    };
    fault.apply(lab)?;
    std::thread::sleep(fault.settles());
    let mut signs = fault.signs(lab.mode).into_iter();
    let seen = signs.try_for_each(|(host, ask, sign)| {
        shows(lab, host, (ask, sign), tries).with_context(|| format!("{host} {ask:?}"))
    });
    fault.revert(lab)?;
    seen?;
    let mut last = Ok(());
    let well = clock::wait_until(FORGETS, || {
        last = lab.check();
        last.is_ok()
    });
    if !well {
        last.context("the path is not well after the fault is off")?;
    }
    Ok(())
}

fn shows(lab: &Lab, host: &str, (ask, sign): (Ask, Sign), tries: usize) -> Result<()> {
    match sign {
        Sign::Always(is) => {
            for _ in 0..3 {
                let answer = put(lab, host, ask);
                if !is(&answer) {
                    bail!("{answer:?}");
                }
            }
            Ok(())
        }
        Sign::AtTimes(is) => {
            let mut answers = Vec::new();
            for _ in 0..tries {
                answers.push(put(lab, host, ask));
                let hits = answers.iter().filter(|answer| is(answer)).count();
                if hits > 0 && hits < answers.len() {
                    return Ok(());
                }
            }
            bail!(
                "always or never in {} tries: {:?}",
                answers.len(),
                answers.last()
            );
        }
    }
}
