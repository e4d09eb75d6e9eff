//! What came of fitting causes beside faults, so that no fit is made twice: the search comes to the same
//! sets by many ways.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{OnceCell, RefCell};

use super::fit::{Fault, Fit};

/// Fits by cause.
#[derive(Default)]
pub(super) struct Memo {
    known: RefCell<BTreeMap<usize, Vec<Rc<Meeting>>>>,
}

/// A cause beside faults that act in the same cells.
pub(super) struct Meeting {
    pub(super) others: Vec<Fault>,
    /// What can be gained at most, in nats.
    pub(super) bound: OnceCell<f64>,
    /// The fit on the fine grid, and on the rough one.
    pub(super) fine: OnceCell<Fit>,
    pub(super) rough: OnceCell<Fit>,
}

impl Memo {
    /// What is known of a cause beside faults, all of which it meets.
    pub(super) fn meeting(&self, cause: usize, others: &[&Fault]) -> Rc<Meeting> {
        let mut known = self.known.borrow_mut();
        let meetings = known.entry(cause).or_default();
        let same = |m: &&Rc<Meeting>| m.others.iter().eq(others.iter().copied());
        if let Some(meeting) = meetings.iter().find(same) {
            return Rc::clone(meeting);
        }
        let meeting = Rc::new(Meeting {
            others: others.iter().map(|fault| (*fault).clone()).collect(),
            bound: OnceCell::new(),
            fine: OnceCell::new(),
            rough: OnceCell::new(),
        });
        meetings.push(Rc::clone(&meeting));
        meeting
    }
}
