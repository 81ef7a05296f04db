//! The composition root: checks what the settings name ([`prepare()`]), builds all parts, starts them and
//! stops them in order ([`run`]).

mod crons;
mod files;
mod parts;
mod prepare;
mod running;
mod sandbox;
mod state;
mod users;

use std::future::Future;

use anyhow::{Context as _, Result};
use switchyard_program::service;
use switchyard_program::signal::Reloads;
use tokio::runtime::{Builder, Runtime};

use self::parts::RouterParts;
pub use self::prepare::{Addresses, Ready, missing_layers, prepare};
use self::running::RunningRouter;

/// Returns the runtime of the main thread. It has one thread, which makes the cells: they end with the
/// thread that made them.
///
/// # Errors
/// The kernel has no resources for it.
pub fn runtime() -> Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("create a runtime")
}

/// Serves until the first future of `shutdown` resolves, then lets requests finish within the grace,
/// unless the second one resolves before that. Each resolves with the name of its cause.
///
/// # Errors
/// A part cannot be built or stopped, or a future of `shutdown` fails.
pub fn run<S>(runtime: Runtime, ready: Ready, reloads: Reloads, shutdown: impl Fn() -> S) -> Result<()>
where
    S: Future<Output = Result<&'static str>>,
{
    let result = runtime.block_on(serve(ready, reloads, shutdown));
    // Not awaited: after a second signal, threads may still wait for requests.
    runtime.shutdown_background();
    result
}

async fn serve<S>(ready: Ready, reloads: Reloads, shutdown: impl Fn() -> S) -> Result<()>
where
    S: Future<Output = Result<&'static str>>,
{
    let first = shutdown();
    let Addresses { public, admin, .. } = ready.addresses()?;
    let running = RunningRouter::start(RouterParts::build(ready)?, reloads).await?;
    service::ready("router", format!("projects at {public}, admin listener at {admin}"));
    let signal = first.await?;
    service::stopping();
    tokio::select! {
        stopped = running.stop(signal) => stopped?,
        signal = shutdown() => tracing::warn!(signal = signal?, "stopping at once"),
    }
    tracing::info!("stopped");
    Ok(())
}
