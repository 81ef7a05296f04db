//! The program `switchyard`: reads the command line and runs the command.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use switchyard_program::settings::{self, CommandLine, EXIT_USAGE, Problem};

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
mod sockets;
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
        Command::Router(config) => server::with_log(config.log, || server::router(*config)),
        #[cfg(feature = "server")]
        Command::Bridge(config) => server::with_log(config.log, || server::bridge(*config)),
        #[cfg(feature = "server")]
        Command::Serve(config) => server::with_log(config.log(), || serve::run(*config)),
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
            printed("completion", "", Ok(reference::completions(&commands::definition(), shell)))
        }
        Command::Schema { name, dir } => schema(name.as_deref(), dir.as_deref()),
        Command::Man { names, dir } => manual(&names, dir.as_deref()),
        Command::Reference { dir: Some(dir) } => {
            written(&dir, reference::write_docs(&dir, commands::definition()))
        }
        Command::Reference { dir: None } => {
            printed("reference", "", Ok(reference::markdown(commands::definition())))
        }
    }
}

fn schema(name: Option<&str>, dir: Option<&Path>) -> ExitCode {
    let documents = reference::documents(&commands::definition());
    match (name, dir) {
        (_, Some(dir)) => written(dir, reference::write(dir, &documents)),
        (None, None) => printed("schema", "NAME", Ok(reference::list(&documents))),
        (Some(name), None) => {
            printed("schema", "NAME", reference::find(&documents, name).map(|document| document.text.clone()))
        }
    }
}

fn manual(names: &[String], dir: Option<&Path>) -> ExitCode {
    match dir {
        Some(dir) => written(dir, reference::manual(commands::definition(), dir)),
        None => printed("man", "COMMAND", reference::manual_page(commands::definition(), names)),
    }
}

/// Prints a text, or the problem of a command's argument.
fn printed(command: &str, argument: &str, text: Result<String, String>) -> ExitCode {
    match text {
        Ok(text) => {
            settings::print(text.trim_end());
            ExitCode::SUCCESS
        }
        Err(error) => {
            settings::report(
                "switchyard",
                &format!("switchyard {command}"),
                &[Problem::new(argument, error)],
            );
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn written(folder: &Path, result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => client::fail(&format!("cannot write to {}: {error}", folder.display())),
    }
}
