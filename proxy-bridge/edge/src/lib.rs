//! The HTTP parts of the listeners of router and bridge.
//!
//! - [`accept`]: the next connection of a listener, whatever goes wrong with single ones
//! - [`api`]: the common parts of the admin listener and the bridge's API
//! - [`connections`]: a limit on connections, with room for health checks
//! - [`fair`]: a body that is copied in turns with others
//! - [`forwarded`]: the headers that end at a hop, and those that describe the original client
//! - [`framing`]: the boundaries of HTTP/1 requests, and the refusal of ambiguous ones
//! - [`gate`]: the checks in front of listeners that accept commands
//! - [`guarded`]: a client connection that passes only unambiguous requests to hyper
//! - [`lingering`]: the end of a connection whose client may still be sending
//! - [`listener`]: a public listener, with its threads and the limits on its clients
//! - [`plain`]: requests that can be passed on as they are
//! - [`pool`]: connections to the servers behind, kept for the next request
//! - [`problem`]: the documents in which a listener reports its own errors
//! - [`refusal`]: the reason and the response for a refused request
//! - [`request_id`]: request ids that logs can show
//! - [`routes`]: the project that a request is for
//! - [`socket`]: listeners at IP addresses and at paths, and their connections
//! - [`sse`]: a parser of server-sent events
//! - [`target`]: the canonical form of a request's host and path
//! - [`throttle`]: log lines about frequent events, one per interval
//! - [`tls`]: certificates of listeners, which are read again when they change
//! - [`tunnel`]: the bytes of two connections, copied both ways after a protocol switch
//! - [`upload`]: a request body with limits on its size and pace
//! - [`upstream`]: a connection to a server behind, and the errors of its responses
//! - [`webhook`]: the proofs that webhooks carry

pub mod accept;
#[cfg(feature = "api")]
pub mod api;
pub mod connections;
pub mod fair;
pub mod forwarded;
pub mod framing;
pub mod gate;
pub mod guarded;
pub mod lingering;
pub mod listener;
pub mod plain;
pub mod pool;
pub mod problem;
pub mod refusal;
pub mod request_id;
pub mod routes;
pub mod socket;
pub mod sse;
pub mod target;
pub mod throttle;
pub mod tls;
pub mod tunnel;
mod turn;
pub mod upload;
pub mod upstream;
#[cfg(feature = "webhook")]
pub mod webhook;

/// The settings of tests with generated input: always the same, and few enough for every test run.
#[cfg(test)]
pub(crate) fn fuzz() -> proptest::test_runner::Config {
    use proptest::test_runner::{Config, RngSeed};
    Config { cases: 64, rng_seed: RngSeed::Fixed(11), failure_persistence: None, ..Config::default() }
}
