//! The types that router, bridge, command line and page share, and the JSON that they exchange.
//!
//! - [`admin`]: the requests and answers of a router's admin listener
//! - [`bounds`]: limits on input from processes that are not trusted
//! - [`commit`]: the commit that the files of a version came from
//! - [`deploy`]: the bridge's records of deploys, and the events of one under way
//! - [`digest`]: the content hash of a project, as anyone with coreutils can compute it
//! - [`durations`]: the buckets of durations of requests
//! - [`event`]: events about a project
//! - [`https`]: HTTP clients, and the reasons why their requests fail
//! - [`incarnation`]: the owner of a project's data, across removals
//! - [`overview`]: projects, routers and versions, as the bridge lists them
//! - [`platform`]: the platform that a project was written for
//! - [`problem`]: problem documents, as clients read them
//! - [`project`]: the names of projects
//! - [`publisher`]: the router's delivery of events to the ingress
//! - [`route`]: a host or a path prefix that leads to a project
//! - [`run`]: runs of tasks, as the history has them
//! - [`schema`]: JSON Schemas of the files that people write
//! - [`secret`]: the shared secret that signs events
//! - [`settings_file`]: the content of a file that a setting names
//! - [`source`]: git sources and their syncs, as the bridge reports them
//! - [`suggest`]: suggestions for misspelt words
//! - [`task`]: tasks and pipelines, as a version declares them
//! - [`versions`]: differences between versions, locks of projects, reloads
//! - [`task_overview`]: tasks and pipelines, as the bridge lists and starts them
//! - [`verifier`]: the ingress's check of signed events
//! - [`visible`]: text from others, made safe to print

pub mod admin;
pub mod bounds;
pub mod commit;
pub mod deploy;
pub mod digest;
pub mod durations;
pub mod event;
#[cfg(feature = "client")]
pub mod https;
pub mod incarnation;
pub mod overview;
pub mod platform;
pub mod problem;
pub mod project;
#[cfg(feature = "publisher")]
pub mod publisher;
pub mod route;
pub mod run;
pub mod schema;
pub mod secret;
pub mod settings_file;
pub mod source;
pub mod suggest;
pub mod task;
pub mod task_overview;
pub mod verifier;
pub mod versions;
pub mod visible;

/// The settings of tests with generated input: always the same, and few enough for every test run.
#[cfg(test)]
pub(crate) fn fuzz() -> proptest::test_runner::Config {
    use proptest::test_runner::{Config, RngSeed};
    Config { cases: 64, rng_seed: RngSeed::Fixed(11), failure_persistence: None, ..Config::default() }
}
