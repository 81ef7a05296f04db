//! The harness: the real router, and the real bridge, on a real volume, spoken to over real
//! sockets.
//!
//! Tests wait for events (see [`events`]) and never for time to pass; every wait has a deadline, so
//! a router that does nothing fails a test instead of hanging it.

use std::future::Future;
use std::time::Duration;

pub mod admin;
pub mod bridge;
pub mod browser;
pub mod bystander;
pub mod client;
pub mod collector;
pub mod cost;
pub mod debugger;
pub mod dev;
pub mod events;
pub mod faults;
pub mod fixtures;
pub mod git;
pub mod house;
pub mod ingress;
pub mod log;
pub mod manager;
#[cfg(target_arch = "x86_64")]
pub mod native;
mod port;
pub mod probe;
mod process;
pub mod prometheus;
pub mod receiver;
pub mod registry;
pub mod router;
pub mod runs;
pub mod schemas;
pub mod serve;
pub mod sources;
pub mod tls_client;
pub mod upload;
pub mod usage;
pub mod volume;

/// The time limit of every wait: far more than needed, on two cores that other tests use too.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Awaits something that must happen, and names it if it does not.
///
/// # Panics
/// The deadline is over.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {DEADLINE:?}: {what}"),
    }
}

/// Polls until the condition holds. For facts that no event reports; if one does, wait for that.
///
/// # Panics
/// The deadline is over.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    within(what, async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
