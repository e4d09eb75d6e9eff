//! The coordinator: the agents' and operators' gRPC services, schedule, store and localisation.

pub mod plan;
pub mod schedule;
pub mod service_file;
pub mod store;
