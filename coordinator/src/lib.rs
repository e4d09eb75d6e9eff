//! The coordinator: the agents' and operators' gRPC services, the web face, schedule, store and localisation.

pub mod ca;
pub mod check;
pub mod clock;
pub mod config;
pub mod coverage;
pub mod crowd;
pub mod doors;
pub mod engine;
pub mod enrolment;
pub mod files;
pub mod grpc;
pub mod localisation;
pub mod mended;
pub mod notify;
pub mod operators;
pub mod plan;
pub mod restore;
pub mod rights;
mod sample;
pub mod schedule;
pub mod server;
pub mod service_file;
pub mod store;
pub mod tls;
pub mod unprobed;
pub mod watcher;
pub mod web;
