//! How a service is asked and what a good answer is: the parts of its specification that the
//! coordinator reads from a service file and an agent acts on. Both read the same words, so that what
//! the one accepts the other can do.

mod convert;
mod expect;
mod pattern;
mod request;

pub use self::expect::{Expect, Status, StatusFlaw};
pub use self::pattern::{Pattern, PatternFlaw};
pub use self::request::{
    BodyFlaw, Header, HeaderFlaw, MAX_VALUE, Method, Request, Unknown, Value, Versions, body,
    is_sendable,
};

/// Why a specification that came over the wire is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// A method or version of HTTP that this version does not know.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// A header that cannot be sent.
    #[error("header {name:?}: {flaw}")]
    Header {
        /// Its name.
        name: String,
        /// What is wrong with it.
        flaw: HeaderFlaw,
    },
    /// A body that cannot be sent.
    #[error(transparent)]
    Body(#[from] BodyFlaw),
    /// A status that no answer has.
    #[error("{first} to {last}: {flaw}")]
    Status {
        /// The first of the statuses.
        first: u32,
        /// The last of them.
        last: u32,
        /// What is wrong with it.
        flaw: StatusFlaw,
    },
    /// A pattern that cannot be looked for.
    #[error(transparent)]
    Pattern(#[from] PatternFlaw),
}
