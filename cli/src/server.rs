//! `router` and `bridge`: from their settings to their exit status.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use switchyard_bridge::config::BridgeConfig;
use switchyard_bridge::git;
use switchyard_bridge::start::{self, Prepared};
use switchyard_program::log::{self, LogConfig, LogGuard};
use switchyard_program::service;
use switchyard_program::settings::{self, EXIT_USAGE, Problem};
use switchyard_program::signal::{self, Reloads, Stops};
use switchyard_router::config::RouterConfig;
use switchyard_router::server;
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

use crate::sockets::{self, Slot};

/// Answers git, which runs this program to ask for the credential of a source. `None`: this process was
/// not started by it.
pub(crate) fn answer_git() -> Option<ExitCode> {
    std::env::var_os(git::ASKPASS_DESCRIPTOR)?;
    let prompt = std::env::args().nth(1).unwrap_or_default();
    Some(match git::answer_askpass(&prompt) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Git shows it.
            let _ = writeln!(std::io::stderr(), "switchyard: {error}");
            ExitCode::FAILURE
        }
    })
}

/// Runs `serve` with a log. Its result is the exit status.
pub(crate) fn with_log(config: LogConfig, serve: impl FnOnce() -> ExitCode) -> ExitCode {
    let _log: LogGuard = match log::init(config) {
        Ok(guard) => guard,
        Err(error) => {
            return fail_usage("router", vec![Problem::flag("log-format", format!("cannot log: {error}"))]);
        }
    };
    serve()
}

/// Serves the projects of a volume until SIGTERM or SIGINT.
pub(crate) fn router(mut config: RouterConfig) -> ExitCode {
    service::start(1);
    // Before anything that takes time: SIGHUP must not end the process then either.
    let (runtime, reloads) = match server::runtime().and_then(with_reloads) {
        Ok(started) => started,
        Err(error) => return fail("router", &error),
    };
    let inherited = sockets::inherit(&mut config, |config| {
        vec![("public", Slot::Always(&mut config.listen)), ("admin", Slot::Always(&mut config.admin.admin))]
    });
    let ready = match inherited.and_then(|()| server::prepare(config)) {
        Ok(ready) => ready,
        Err(problems) => return fail_usage("router", problems),
    };
    runtime.spawn(service::keep_alive());
    match server::run(runtime, ready, reloads, signal::on_signal) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail("router", &error),
    }
}

/// Serves the bridge's API until SIGTERM or SIGINT.
pub(crate) fn bridge(mut config: BridgeConfig) -> ExitCode {
    service::start(1);
    // Before anything that takes time: SIGHUP must not end the process then either.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let (runtime, reloads) = match runtime.context("create a runtime").and_then(with_reloads) {
        Ok(started) => started,
        Err(error) => return fail("bridge", &error),
    };
    let inherited = sockets::inherit(&mut config, |config| {
        vec![
            ("api", Slot::Always(&mut config.listen)),
            ("hooks", Slot::Optional(&mut config.runs.hooks)),
            ("public", Slot::Optional(&mut config.forward.forward)),
        ]
    });
    let prepared = match inherited.and_then(|()| start::prepare_or_wait(config)) {
        Ok(prepared) => prepared,
        Err(problems) => return fail_usage("bridge", problems),
    };
    runtime.spawn(service::keep_alive());
    let result = runtime.block_on(wait_and_run(prepared, reloads));
    // Not awaited: a thread that reads from a file system that hangs would keep the process.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail("bridge", &error),
    }
}

/// Waits for the volume if another bridge has it, and runs.
async fn wait_and_run(prepared: Prepared, reloads: Reloads) -> Result<()> {
    // One for the whole time: a signal between the wait and the start is not lost.
    let stops = Arc::new(Mutex::new(Stops::catch()?));
    let shutdown = || {
        let stops = stops.clone();
        async move { Ok(stops.lock().await.next().await) }
    };
    let ready = match prepared {
        Prepared::Ready(ready) => *ready,
        Prepared::Standby(standby) => match standby.wait(shutdown()).await? {
            Some(ready) => ready,
            None => return Ok(()),
        },
    };
    start::run(ready, reloads, shutdown).await
}

/// Handles SIGHUP from now on, in the context of `runtime`.
pub(crate) fn with_reloads(runtime: Runtime) -> Result<(Runtime, Reloads)> {
    let reloads = runtime.block_on(async { Reloads::catch() })?;
    Ok((runtime, reloads))
}

/// Reports settings of a command that cannot be used.
pub(crate) fn fail_usage(command: &str, problems: Vec<Problem>) -> ExitCode {
    settings::report("switchyard", &format!("switchyard {command}"), &problems);
    ExitCode::from(EXIT_USAGE)
}

/// Logs the reason why a server stopped.
pub(crate) fn fail(command: &str, error: &anyhow::Error) -> ExitCode {
    tracing::error!("{command} stopped: {error:#}");
    ExitCode::FAILURE
}
