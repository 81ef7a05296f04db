//! The composition root: checks what the settings name ([`prepare()`]), waits for the volume ([`Standby`]),
//! builds all parts, starts them and stops them in order ([`run`]).

use std::future::Future;

use anyhow::Result;
use switchyard_program::service;
use switchyard_program::signal::Reloads;

use self::parts::BridgeParts;
pub use self::prepare::{Ready, prepare};
use self::running::RunningBridge;
pub use self::standby::{Prepared, Standby, prepare_or_wait};

mod parts;
mod prepare;
mod running;
mod standby;

/// The bridge in reports to the service manager.
const PART: &str = "bridge";

/// Serves until the first future of `shutdown` resolves, then lets deploys and requests finish within
/// the grace, unless the second one resolves before that. Each resolves with the name of its cause.
///
/// # Errors
/// A part cannot be built, or a future of `shutdown` fails.
pub async fn run<S>(ready: Ready, reloads: Reloads, shutdown: impl Fn() -> S) -> Result<()>
where
    S: Future<Output = Result<&'static str>>,
{
    let first = shutdown();
    let address = ready.address()?;
    let running = RunningBridge::start(BridgeParts::build(ready).await?, reloads)?;
    service::ready(PART, format!("API at {address}"));
    let signal = first.await?;
    service::stopping();
    tracing::info!(signal, "stopping: no new deploys and connections; those in progress may finish");
    tokio::select! {
        () = running.stop() => {}
        signal = shutdown() => tracing::warn!(signal = signal?, "stopping at once"),
    }
    tracing::info!("stopped");
    Ok(())
}
