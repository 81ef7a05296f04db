//! The parts that the programs of the workspace share as commands: flags, log, signals,
//! places in files, and suggestions for misspelt words.

pub mod flags;
pub mod log;
pub mod position;
pub mod signal;
pub mod suggest;
