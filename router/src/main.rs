//! Reads the settings, binds the listeners, serves until SIGTERM or SIGINT.

use std::process::ExitCode;

use switchyard_bridge::command::flags::{EXIT_USAGE, Parsed, Problem, complain, print};
use switchyard_bridge::command::{log, signal};
use switchyard_router::config::{Config, PROGRAM};
use switchyard_router::server;

fn main() -> ExitCode {
    let config = match Config::parse(std::env::args_os().skip(1), |name| std::env::var_os(name)) {
        Ok(Parsed::Run(config)) => config,
        Ok(Parsed::Print(text)) => {
            print(&text);
            return ExitCode::SUCCESS;
        }
        Err(problems) => return usage(&problems),
    };
    let _log = match log::init(config.log_format) {
        Ok(guard) => guard,
        Err(error) => return usage(&[Problem::new("log-format", format!("there can be no log: {error}"))]),
    };
    // Before anything that takes time: SIGHUP must not end the process then either.
    let started = server::runtime().and_then(|runtime| {
        let reloads = runtime.block_on(async { signal::Reloads::catch() })?;
        Ok((runtime, reloads))
    });
    let (runtime, reloads) = match started {
        Ok(started) => started,
        Err(error) => return fail(&error),
    };
    let ready = match server::prepare(config) {
        Ok(ready) => ready,
        Err(problems) => return usage(&problems),
    };
    match server::run(runtime, ready, reloads, signal::on_signal) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    tracing::error!("the router stopped: {error:#}");
    ExitCode::FAILURE
}

fn usage(problems: &[Problem]) -> ExitCode {
    complain(PROGRAM.name, problems);
    ExitCode::from(EXIT_USAGE)
}
