//! What the programs of the workspace have in common as commands: flags, log and signals.

pub mod flags;
pub mod log;
pub mod signal;
