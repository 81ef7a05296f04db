//! The parts that router, bridge and command line share as programs.
//!
//! - [`atomic_file`]: files that are replaced as a whole
//! - [`color`]: whether output is coloured, and the colours
//! - [`descriptors`]: the limit of open files
//! - [`file_system`]: file systems that lack what a local disk has
//! - [`log`]: the log on standard error
//! - [`position`]: lines and columns of text files
//! - [`removal`]: removal of folders that untrusted processes wrote to
//! - [`service`]: the service manager, and the sockets that it has opened
//! - [`settings`]: settings from the command line and the environment
//! - [`signal`]: signals that stop a program or make it reload its files
//! - [`units`]: times and sizes as people write them

#[cfg(feature = "server")]
pub mod atomic_file;
pub mod color;
#[cfg(feature = "server")]
pub mod descriptors;
#[cfg(feature = "server")]
pub mod file_system;
#[cfg(feature = "server")]
pub mod log;
pub mod position;
#[cfg(feature = "server")]
pub mod removal;
#[cfg(feature = "server")]
pub mod service;
pub mod settings;
#[cfg(feature = "server")]
pub mod signal;
pub mod units;
