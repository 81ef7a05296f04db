//! Cells, started as the router starts them: with a socket pair as their standard input.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as their tests do")]

mod frames;
mod http;
mod jobs;
mod transport;
mod transport_ends;
mod transport_fuzz;
mod version;
