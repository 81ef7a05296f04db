//! The commands of the program, as clap knows them.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clap_complete::Shell;
use switchyard_program::settings::{self, CommandLine, Problem, Problems, Validate};

use crate::client::ClientCommand;

/// Serves many JavaScript and TypeScript projects from one shared volume, and deploys to it
#[derive(Debug, Parser)]
#[command(name = "switchyard", version, max_term_width = 100, disable_help_subcommand = true)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

/// The commands of the program.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[cfg(feature = "server")]
    /// Serve the projects on a volume, and reload them when their files change
    #[command(after_help = VARIABLES)]
    Router(Box<switchyard_router::config::RouterConfig>),

    #[cfg(feature = "server")]
    /// Deploy to the volume of one or more routers, and forward requests to them
    #[command(after_help = VARIABLES)]
    Bridge(Box<switchyard_bridge::config::BridgeConfig>),

    #[cfg(feature = "server")]
    /// Run a router and a bridge in one process, for one machine
    #[command(after_help = VARIABLES)]
    Serve(Box<crate::serve::ServeConfig>),

    #[command(flatten)]
    Client(Box<ClientCommand>),

    /// Print the completions for a shell
    Completions {
        /// Shell to complete in
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },

    /// Write the manual pages
    Man {
        /// Folder for the pages, created if missing
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },

    /// Print the reference of all commands, in Markdown
    #[command(hide = true)]
    Reference,
}

/// Shown below the flags of the commands that run as servers.
#[cfg(feature = "server")]
const VARIABLES: &str = "Every flag can be set by a variable too: --build-timeout by SWITCHYARD_BUILD_TIMEOUT.\n\
                         TIME is a number with a unit, such as 500ms, 30s or \"1h 30m\" (without one: milliseconds).\n\
                         SIZE is a number with a unit, such as 512KiB, 10MB or 1GiB (without one: bytes).";

impl Validate for Program {
    fn validate(&self, problems: &mut Problems) {
        match &self.command {
            #[cfg(feature = "server")]
            Command::Router(config) => config.validate(problems),
            #[cfg(feature = "server")]
            Command::Bridge(config) => config.validate(problems),
            #[cfg(feature = "server")]
            Command::Serve(config) => config.validate(problems),
            Command::Client(command) => command.validate(problems),
            Command::Completions { .. } | Command::Man { .. } | Command::Reference => {}
        }
    }
}

/// Returns the definition of all commands, with the variables of their flags.
pub(crate) fn definition() -> clap::Command {
    let mut command = <Program as clap::CommandFactory>::command();
    for command in command.get_subcommands_mut() {
        if ["router", "bridge", "serve"].contains(&command.get_name()) {
            *command = settings::with_variables(std::mem::take(command));
        }
    }
    command
}

/// Returns the command that a command line begins with, as typed in a shell. `words` begin behind the
/// program's own name.
pub(crate) fn full_name(words: impl IntoIterator<Item = OsString>) -> String {
    let mut command = &definition();
    let mut name = command.get_name().to_owned();
    for word in words {
        let Some(inner) = command.find_subcommand(&word) else { break };
        command = inner;
        name = format!("{name} {}", command.get_name());
    }
    name
}

/// Reads the command line, which begins behind the program's own name.
///
/// # Errors
/// Every wrong argument and variable.
pub(crate) fn parse(
    args: impl IntoIterator<Item = OsString>,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<CommandLine<Command>, Vec<Problem>> {
    Ok(match settings::parse::<Program>(definition(), args, env)? {
        CommandLine::Run(program) => CommandLine::Run(program.command),
        CommandLine::Print(text) => CommandLine::Print(text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every command with its names, each before those below it.
    fn all<'c>(command: &'c clap::Command, names: &[&'c str]) -> Vec<(Vec<&'c str>, &'c clap::Command)> {
        let mut found = Vec::new();
        for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
            let names = [names, &[inner.get_name()]].concat();
            let below = all(inner, &names);
            found.push((names, inner));
            found.extend(below);
        }
        found
    }

    fn print(args: &[&str]) -> String {
        match parse(args.iter().map(OsString::from), |_| None) {
            Ok(CommandLine::Print(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definitions_of_all_commands_are_consistent() {
        definition().debug_assert();
    }

    #[test]
    fn help_lists_the_commands_and_each_has_help_of_its_own() {
        let help = print(&["--help"]);
        for command in definition().get_subcommands().filter(|command| !command.is_hide_set()) {
            let (name, about) = (command.get_name(), command.get_about().unwrap_or_default().to_string());
            assert!(help.contains(&format!("  {name} ")) && help.contains(&about), "{name}: {help}");
        }
        for (names, command) in all(&definition(), &[]) {
            let help = print(&[&names[..], &["--help"]].concat());
            let about = command.get_about().unwrap_or_default().to_string();
            assert!(!about.is_empty() && help.starts_with(&about), "{names:?}: {help}");
            for flag in command.get_arguments().filter_map(clap::Arg::get_long) {
                assert!(help.contains(&format!("--{flag}")), "{names:?}: {flag}");
            }
        }
    }

    #[test]
    fn the_name_of_a_command_below_another_one_has_both() {
        let name = |words: &[&str]| full_name(words.iter().map(OsString::from));
        assert_eq!(name(&["source", "sync", "source"]), "switchyard source sync");
        assert_eq!(name(&["source", "snyc"]), "switchyard source");
        assert_eq!(name(&["deploy", "sync"]), "switchyard deploy");
        assert_eq!(name(&["--version"]), "switchyard");
    }

    #[test]
    fn a_command_below_another_one_is_found_and_corrected_like_any_other() {
        let problems = |args: &[&str]| parse(args.iter().map(OsString::from), |_| None).unwrap_err();
        let missing = problems(&["source"]);
        assert!(missing[0].message.contains("one of list, show, sync"), "{missing:?}");
        let wrong = problems(&["source", "snyc"]);
        assert!(wrong[0].message.contains("did you mean \"sync\"?"), "{wrong:?}");
        let wrong = problems(&["source", "sync", "Shop", "--alow-empty", "--to", "ftp://h"]);
        for part in ["NAME: invalid name \"Shop\"", "did you mean --allow-empty?", "--to: invalid URL"] {
            assert!(wrong.iter().any(|problem| problem.to_string().contains(part)), "{part}: {wrong:?}");
        }
    }

    #[test]
    fn commands_are_listed_in_the_order_of_their_help() {
        let problems = parse([], |_| None).unwrap_err();
        let first = if cfg!(feature = "server") { "router, bridge, serve, deploy" } else { "deploy, status" };
        assert!(problems[0].message.contains(&format!("one of {first}")), "{problems:?}");
    }

    #[test]
    fn a_wrong_or_missing_shell_is_a_problem_like_any_other() {
        let problems = |args: &[&str]| parse(args.iter().map(OsString::from), |_| None).unwrap_err();
        let wrong = problems(&["completions", "tcsh"]);
        assert!(
            wrong.len() == 1 && wrong[0].to_string().starts_with("SHELL: invalid value \"tcsh\""),
            "{wrong:?}"
        );
        let missing = problems(&["completions"]);
        assert!(
            missing.len() == 1 && missing[0].to_string().starts_with("SHELL: is required"),
            "{missing:?}"
        );
    }

    #[test]
    fn a_misspelt_command_is_named_with_the_one_that_is_meant() {
        let problems = parse([OsString::from("deplyo")], |_| None).unwrap_err();
        assert!(problems[0].to_string().contains("did you mean \"deploy\"?"), "{problems:?}");
    }
}
