//! Git sources: repositories whose commits are deployed.

pub mod pattern;
pub mod plan;
pub mod settings;
