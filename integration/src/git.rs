//! Real git: repositories made with its command line, and servers of them on loopback.
//!
//! Nothing here reads the settings of the user who runs the tests, and nothing is left of a server
//! once its value is dropped.

mod certificate;
mod change;
mod command;
mod cutting_proxy;
mod daemons;
mod http_backend;
mod repository;
mod server;
mod sshd;
mod store;

pub use certificate::certify;
pub use change::Change;
pub use command::git;
pub use cutting_proxy::{CuttingProxy, Fault};
pub use daemons::{Dulwich, GitDaemon, Jgit};
pub use http_backend::{Answer, HttpBackend};
pub use repository::Repository;
pub use sshd::Sshd;
