//! The parts that the programs share as commands.
//!
//! - [`atomic_file`]: files that are replaced as a whole
//! - [`flags`]: settings from the command line and the environment
//! - [`log`]: the log on standard error
//! - [`position`]: lines and columns of text files
//! - [`removal`]: the removal of folders that others could write to
//! - [`signal`]: the signals that stop a program or make it read its files again
//! - [`suggest`]: suggestions for misspelt words
//! - [`units`]: times and sizes as people write them
//! - [`visible`]: text of others, made safe to print

#[cfg(feature = "server")]
pub mod atomic_file;
#[cfg(feature = "server")]
pub mod flags;
#[cfg(feature = "server")]
pub mod log;
pub mod position;
#[cfg(feature = "server")]
pub mod removal;
#[cfg(feature = "server")]
pub mod signal;
pub mod suggest;
pub mod units;
pub mod visible;
