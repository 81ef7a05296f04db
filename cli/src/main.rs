//! The program `switchyard`: reads the command line and runs the command.

use std::io;
use std::process::ExitCode;

use switchyard_program::settings::{self, CommandLine, EXIT_USAGE};

use self::commands::Command;

#[cfg(feature = "server")]
mod check;
mod client;
mod commands;
mod config_file;
#[cfg(feature = "server")]
mod dev;
#[cfg(feature = "server")]
mod doctor;
mod init;
mod reference;
#[cfg(feature = "server")]
mod serve;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod stop;
mod target;

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
        #[cfg(feature = "server")]
        Command::Dev(config) => dev::run(&config),
        #[cfg(feature = "server")]
        Command::Check(config) => check::run(&config),
        #[cfg(feature = "server")]
        Command::Doctor(args) => doctor::run(&args),
        Command::Target(command) => target::run(command, &commands::definition()),
        Command::Init(args) => init::run(&args),
        Command::Client(command) => client::main(*command),
        Command::Completion { shell } => {
            reference::completions(commands::definition(), shell, &mut io::stdout());
            ExitCode::SUCCESS
        }
        Command::Schema => {
            settings::print(switchyard_tasks::SCHEMA.trim_end());
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
