//! The parts that the programs share as commands.
//!
//! - [`atomic_file`]: files that are replaced as a whole
//! - [`flags`]: settings from the command line and the environment
//! - [`log`]: the log on standard error
//! - [`position`]: lines and columns of text files
//! - [`removal`]: the removal of folders that others could write to
//! - [`signal`]: the signals that stop a program or make it read its files again
//! - [`units`]: times and sizes as people write them

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
pub use switchyard_contract::{suggest, visible};
pub mod units;
