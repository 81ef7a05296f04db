//! Git sources: repositories whose commits are deployed.

pub mod machine;
pub mod windows;
