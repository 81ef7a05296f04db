//! What a router and the ingress in front of it say to each other, and the bridge: an ingress of our own.
//!
//! - [`digest`]: which content a project has, as anybody with coreutils can compute it
//! - [`bounds`]: limits on what comes from processes that are not trusted
//! - [`entry`]: which file of a project is its entry
//! - [`project`]: what a project may be called
//! - [`incarnation`]: which data is a project's, over its removals
//! - [`event`]: what happened to a project, as JSON
//! - [`publisher`]: the router's side, which posts events to the ingress
//! - [`verifier`]: the ingress's side, which believes only what its router signed
//! - [`settings_file`]: the content of a file that a setting names
//! - [`secret`]: what the two sides share
//! - [`admin`]: what a router's admin listener takes and answers
//! - [`routes`]: which project a request is for
//! - [`target`]: what a request asks for, in one form only
//! - [`forwarded`]: the headers that end at a hop, and those that say where a request came from
//! - [`gate`]: the checks in front of the listeners that take commands
//! - [`connections`]: the connections of those listeners, with room for health checks
//! - [`tunnel`]: a connection's bytes carried to another one and back, once it has switched protocols
//! - [`visible`]: text of others, made safe to print
//! - [`removal`]: the removal of folders that others could write to
//! - [`edge`]: the HTTP parts that both public listeners share
//! - [`command`]: flags, log and signals
//! - [`server`]: the bridge

pub mod admin;
pub mod bounds;
#[cfg(feature = "command")]
pub mod command;
pub mod connections;
pub mod digest;
#[cfg(feature = "edge")]
pub mod edge;
pub mod entry;
pub mod event;
pub mod forwarded;
pub mod gate;
pub mod incarnation;
mod jitter;
pub mod platform;
pub mod project;
pub mod publisher;
#[cfg(feature = "removal")]
pub mod removal;
pub mod routes;
pub mod secret;
#[cfg(feature = "server")]
pub mod server;
pub mod settings_file;
pub mod target;
pub mod tunnel;
pub mod verifier;
pub mod visible;

/// The settings of tests with generated input: always the same, and few enough for every run of the
/// tests.
#[cfg(test)]
pub(crate) fn fuzz() -> proptest::test_runner::Config {
    use proptest::test_runner::{Config, RngSeed};
    Config { cases: 64, rng_seed: RngSeed::Fixed(11), failure_persistence: None, ..Config::default() }
}
