//! The program `switchyard`: reads the command line and runs the command.

use std::io;
use std::process::ExitCode;

use switchyard_program::settings::{self, CommandLine, EXIT_USAGE};

use self::commands::Command;

mod client;
mod commands;
mod reference;
#[cfg(feature = "server")]
mod serve;
#[cfg(feature = "server")]
mod server;

fn main() -> ExitCode {
    #[cfg(feature = "server")]
    if let Some(status) = server::answer_git() {
        return status;
    }
    match commands::parse(std::env::args_os().skip(1), |name| std::env::var_os(name)) {
        Ok(CommandLine::Run(command)) => run(command),
        Ok(CommandLine::Print(text)) => {
            settings::print(&text);
            ExitCode::SUCCESS
        }
        Err(problems) => {
            let command = commands::full_name(std::env::args_os().skip(1));
            settings::report("switchyard", &command, &problems);
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn run(command: Command) -> ExitCode {
    match command {
        #[cfg(feature = "server")]
        Command::Router(config) => server::with_log(config.log_format, || server::router(*config)),
        #[cfg(feature = "server")]
        Command::Bridge(config) => server::with_log(config.log_format, || server::bridge(*config)),
        #[cfg(feature = "server")]
        Command::Serve(config) => server::with_log(config.log_format(), || serve::run(*config)),
        Command::Client(command) => client::main(*command),
        Command::Completions { shell } => {
            reference::completions(commands::definition(), shell, &mut io::stdout());
            ExitCode::SUCCESS
        }
        Command::Man { folder } => match reference::manual(commands::definition(), &folder) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                client::fail(&format!("cannot write manual pages to {}: {error}", folder.display()))
            }
        },
        Command::Reference => {
            settings::print(reference::markdown(commands::definition()).trim_end());
            ExitCode::SUCCESS
        }
    }
}
