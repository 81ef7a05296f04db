//! The bridge, and the commands that speak to one.

use std::ffi::OsString;
use std::io::{BufRead, IsTerminal as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use switchyard_bridge::command::flags::{self, EXIT_USAGE, Parsed};
use switchyard_bridge::command::{log, signal};
use switchyard_bridge::server::client::{self, Console};
use switchyard_bridge::server::config::{Config, PROGRAM};
use switchyard_bridge::server::start;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1).peekable();
    if args.peek().is_some_and(|first| client::is_command(first)) {
        return match runtime() {
            Ok(runtime) => runtime.block_on(command(args)),
            Err(error) => fail(&error),
        };
    }
    let config = match PROGRAM.parse(args, |name| std::env::var_os(name), Config::read) {
        Ok(Parsed::Run(config)) => config,
        Ok(Parsed::Print(text)) => {
            flags::print(&text);
            return ExitCode::SUCCESS;
        }
        Err(problems) => return usage(&problems),
    };
    let _log = match log::init(config.log_format) {
        Ok(guard) => guard,
        Err(error) => {
            return usage(&[flags::Problem::new("log-format", format!("there can be no log: {error}"))]);
        }
    };
    // Before anything that takes time: SIGHUP must not end the process then either.
    let started = runtime().and_then(|runtime| {
        let reloads = runtime.block_on(async { signal::Reloads::catch() })?;
        Ok((runtime, reloads))
    });
    let (runtime, reloads) = match started {
        Ok(started) => started,
        Err(error) => return fail(&error),
    };
    let ready = match start::prepare(config) {
        Ok(ready) => ready,
        Err(problems) => return usage(&problems),
    };
    match runtime.block_on(start::run(ready, reloads, signal::on_signal)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

async fn command(args: impl Iterator<Item = OsString>) -> ExitCode {
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let terminal = err.is_terminal();
    let mut input = std::io::stdin().lock();
    let input: Option<&mut dyn BufRead> = if input.is_terminal() { Some(&mut input) } else { None };
    let mut console = Console { out: &mut out, err: &mut err, terminal, input };
    ExitCode::from(client::run(args, |name| std::env::var_os(name), &mut console).await)
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("make a runtime")
}

fn usage(problems: &[flags::Problem]) -> ExitCode {
    flags::complain(PROGRAM.name, problems);
    ExitCode::from(EXIT_USAGE)
}

fn fail(error: &anyhow::Error) -> ExitCode {
    tracing::error!("the bridge stopped: {error:#}");
    ExitCode::FAILURE
}
