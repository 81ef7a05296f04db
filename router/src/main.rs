//! Reads the settings, binds the listeners, serves until SIGTERM or SIGINT.

use std::process::ExitCode;

use switchyard_router::config::{self, Config, Parsed};
use switchyard_router::{log, server, shutdown};

/// `EX_USAGE` of sysexits.h: the settings are wrong, and starting again will not help.
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    let config = match Config::parse(std::env::args_os().skip(1), |name| std::env::var_os(name)) {
        Ok(Parsed::Run(config)) => config,
        Ok(Parsed::Print(text)) => return print(&text),
        Err(problems) => return usage(&problems),
    };
    log::init(config.log_format);
    let ready = match server::prepare(*config) {
        Ok(ready) => ready,
        Err(problems) => return usage(&problems),
    };
    match server::run(ready, shutdown::on_signal) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the router stopped: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "--help and --version go to standard output")]
fn print(text: &str) -> ExitCode {
    println!("{text}");
    ExitCode::SUCCESS
}

#[expect(clippy::print_stderr, reason = "wrong settings are told before there is a log")]
fn usage(problems: &[config::Problem]) -> ExitCode {
    for problem in problems {
        eprintln!("switchyard-router: {problem}");
    }
    eprintln!("switchyard-router: --help lists every flag");
    ExitCode::from(EXIT_USAGE)
}
