//! The wire: `mesh.v1`, its generated code, and the conversions to the types of the heart.
//!
//! Conversions towards the heart are the last place where anything can be malformed; business code
//! on either side never sees a wire type of a fact. Beside them stands what else both sides share:
//! identities, join tokens, the context file, how a service is asked, and what JSON and words are made of it all.

pub mod context;
pub mod convert;
pub mod identity;
pub mod json;
pub mod kept;
pub mod spec;
pub mod token;
pub mod words;

/// The generated messages and services of `mesh.v1`.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::wildcard_enum_match_arm
)]
pub mod v1 {
    tonic::include_proto!("mesh.v1");
}

/// The encoded descriptor set of `mesh.v1`, for gRPC reflection.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mesh_descriptor.bin"));
