//! The commands that run as servers.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use switchyard_bridge::{config as bridge_config, start};
use switchyard_program::flags::{self, EXIT_USAGE, Parsed, Problem};
use switchyard_program::{log, signal};
use switchyard_router::{config as router_config, server};

/// Reads the settings of the router, binds its listeners and serves until SIGTERM or SIGINT.
pub(crate) fn router(args: impl Iterator<Item = OsString>) -> ExitCode {
    let name = router_config::PROGRAM.name;
    let config = match router_config::Config::parse(args, |name| std::env::var_os(name)) {
        Ok(Parsed::Run(config)) => config,
        Ok(Parsed::Print(text)) => return print(&text),
        Err(problems) => return usage(name, &problems),
    };
    let _log = match log::init(config.log_format) {
        Ok(guard) => guard,
        Err(error) => return usage(name, &[no_log(&error)]),
    };
    // Before anything that takes time: SIGHUP must not end the process then either.
    let (runtime, reloads) = match server::runtime().and_then(with_reloads) {
        Ok(started) => started,
        Err(error) => return fail("router", &error),
    };
    let ready = match server::prepare(config) {
        Ok(ready) => ready,
        Err(problems) => return usage(name, &problems),
    };
    match server::run(runtime, ready, reloads, signal::on_signal) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail("router", &error),
    }
}

/// Reads the settings of the bridge, binds its listeners and serves until SIGTERM or SIGINT.
pub(crate) fn bridge(args: impl Iterator<Item = OsString>) -> ExitCode {
    let program = bridge_config::PROGRAM;
    let parsed = program.parse(args, |name| std::env::var_os(name), bridge_config::Config::read);
    let config = match parsed {
        Ok(Parsed::Run(config)) => config,
        Ok(Parsed::Print(text)) => return print(&text),
        Err(problems) => return usage(program.name, &problems),
    };
    let _log = match log::init(config.log_format) {
        Ok(guard) => guard,
        Err(error) => return usage(program.name, &[no_log(&error)]),
    };
    // Before anything that takes time: SIGHUP must not end the process then either.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let (runtime, reloads) = match runtime.context("make a runtime").and_then(with_reloads) {
        Ok(started) => started,
        Err(error) => return fail("bridge", &error),
    };
    let ready = match start::prepare(config) {
        Ok(ready) => ready,
        Err(problems) => return usage(program.name, &problems),
    };
    let result = runtime.block_on(start::run(ready, reloads, signal::on_signal));
    // Not waited for: a thread that reads from a file system that hangs would keep the process.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail("bridge", &error),
    }
}

fn with_reloads(runtime: tokio::runtime::Runtime) -> Result<(tokio::runtime::Runtime, signal::Reloads)> {
    let reloads = runtime.block_on(async { signal::Reloads::catch() })?;
    Ok((runtime, reloads))
}

fn print(text: &str) -> ExitCode {
    flags::print(text);
    ExitCode::SUCCESS
}

fn no_log(error: &impl std::fmt::Display) -> Problem {
    Problem::new("log-format", format!("there can be no log: {error}"))
}

fn usage(program: &str, problems: &[Problem]) -> ExitCode {
    flags::complain(program, problems);
    ExitCode::from(EXIT_USAGE)
}

fn fail(program: &str, error: &anyhow::Error) -> ExitCode {
    tracing::error!("the {program} stopped: {error:#}");
    ExitCode::FAILURE
}
