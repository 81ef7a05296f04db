//! The commands of the program, as clap knows them.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clap_complete::Shell;
use switchyard_program::settings::{self, CommandLine, FileValues, Problem, Problems, Validate};

use crate::client::ClientCommand;
use crate::config_file::{self, ConfigFile};

/// Serves many JavaScript and TypeScript projects from one shared volume, and deploys to it
#[derive(Debug, Parser)]
#[command(name = "switchyard", version, max_term_width = 100, disable_help_subcommand = true)]
struct Program {
    /// File with settings and targets, switchyard.toml [default: switchyard/switchyard.toml in
    /// $XDG_CONFIG_HOME or ~/.config, and /etc/switchyard/switchyard.toml]
    #[arg(long, value_name = "FILE", env = "SWITCHYARD_CONFIG", hide_env = true, global = true)]
    config: Option<std::path::PathBuf>,

    #[command(subcommand)]
    command: Command,
}

/// The commands of the program.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[cfg(feature = "server")]
    /// Serve a folder of your own while you work on it, and show what happens
    #[command(after_help = DEV)]
    Dev(Box<crate::dev::DevConfig>),

    #[cfg(feature = "server")]
    /// Build projects as a router would, and serve nothing
    #[command(after_help = CHECK)]
    Check(Box<crate::check::CheckConfig>),

    /// Make a new project from a template
    Init(crate::init::InitArgs),

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

    #[cfg(feature = "server")]
    /// Check what this machine has and lacks for a router and a bridge
    Doctor(crate::doctor::DoctorArgs),

    /// Name the bridges that commands talk to
    #[command(subcommand)]
    Target(crate::target::TargetCommand),

    /// Print the completions for a shell
    #[command(visible_alias = "completions", after_help = COMPLETION)]
    Completion {
        /// Shell to complete in
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },

    /// Print a JSON Schema or an API's OpenAPI document, or write all into a folder
    #[command(after_help = SCHEMA)]
    Schema {
        /// Name of the document; without it, all names are listed
        #[arg(value_name = "NAME")]
        name: Option<String>,
        /// Write every document into this folder instead, which is created if missing
        #[arg(long, value_name = "DIR", conflicts_with = "name")]
        dir: Option<PathBuf>,
    },

    /// Print the manual page of a command, or write all pages into a folder
    #[command(after_help = MAN)]
    Man {
        /// The command, such as deploy or source sync; without it, the page of the program is printed
        #[arg(value_name = "COMMAND")]
        names: Vec<String>,
        /// Write every page into this folder instead, which is created if missing
        #[arg(long, value_name = "DIR", conflicts_with = "names")]
        dir: Option<PathBuf>,
    },

    /// Print the reference of all commands, in Markdown, or write all generated files of docs/reference
    #[command(hide = true)]
    Reference {
        /// docs/reference
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// Shown below the flags of `dev`.
#[cfg(feature = "server")]
const DEV: &str = "Keys: o opens the project or the page, l shows or hides what the projects print, r reads all \
                   projects again, q quits.\n\
                   The folder is never written to. Each project gets the variables in its file .env.\n\
                   Flags behind -- are those of serve: switchyard dev -- --allow-install --policy policy.toml";

/// Shown below the flags of `check`.
#[cfg(feature = "server")]
const CHECK: &str = "The code is loaded in cells, with the sandbox and the policy, and its health check is asked.\n\
                     Exit status: 0 all projects build; 1 one does not; 64 wrong command line";

/// Shown below the arguments of `completion`.
const COMPLETION: &str = "bash: source <(switchyard completion bash) in ~/.bashrc\n\
                          zsh: switchyard completion zsh > a file called _switchyard in a folder of $fpath\n\
                          fish: switchyard completion fish > ~/.config/fish/completions/switchyard.fish";

/// Shown below the arguments of `schema`.
const SCHEMA: &str = "For editors: switchyard schema --dir .vscode/schemas, and docs/reference/README.md.\n\
                      A bridge serves the schemas of files at /schema.";

/// Shown below the arguments of `man`.
const MAN: &str = "To read a page: switchyard man deploy | man -l -\n\
                   To install all: switchyard man --dir /usr/local/share/man/man1";

/// Shown below the flags of the commands that run as servers.
#[cfg(feature = "server")]
const VARIABLES: &str = "Every flag can be set by a variable too: --build-timeout by SWITCHYARD_BUILD_TIMEOUT.\n\
                         TIME is a number with a unit, such as 500ms, 30s or \"1h 30m\" (without one: milliseconds).\n\
                         SIZE is a number with a unit, such as 512KiB, 10MB or 1GiB (without one: bytes).";

impl Validate for Program {
    fn validate(&self, problems: &mut Problems) {
        match &self.command {
            #[cfg(feature = "server")]
            Command::Dev(config) => config.validate(problems),
            #[cfg(feature = "server")]
            Command::Check(config) => config.validate(problems),
            #[cfg(feature = "server")]
            Command::Doctor(_) => {}
            #[cfg(feature = "server")]
            Command::Router(config) => config.validate(problems),
            #[cfg(feature = "server")]
            Command::Bridge(config) => config.validate(problems),
            #[cfg(feature = "server")]
            Command::Serve(config) => config.validate(problems),
            Command::Client(command) => command.validate(problems),
            Command::Init(_)
            | Command::Target(_)
            | Command::Completion { .. }
            | Command::Schema { .. }
            | Command::Man { .. }
            | Command::Reference { .. } => {}
        }
    }
}

/// The commands whose flags have variables and a table in `switchyard.toml`.
const SERVERS: [&str; 4] = ["dev", "router", "bridge", "serve"];

/// Returns the definition of all commands, with the variables of their flags.
pub(crate) fn definition() -> clap::Command {
    let mut command = <Program as clap::CommandFactory>::command();
    for command in command.get_subcommands_mut() {
        if SERVERS.contains(&command.get_name()) {
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

/// Moves `--config FILE` from before the command to behind its arguments.
fn command_first(mut words: Vec<OsString>) -> Vec<OsString> {
    let count = match words.first().and_then(|word| word.to_str()) {
        Some("--config") if words.len() > 2 => 2,
        Some(word) if word.starts_with("--config=") => 1,
        _ => return words,
    };
    let flag: Vec<_> = words.drain(..count).collect();
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    words.splice(end..end, flag);
    words
}

/// Reads the command line, which begins behind the program's own name.
///
/// # Errors
/// Every wrong argument and variable.
pub(crate) fn parse(
    args: impl IntoIterator<Item = OsString>,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<CommandLine<Command>, Vec<Problem>> {
    let (definition, words) = (definition(), command_first(args.into_iter().collect()));
    // `target` reads and makes the file itself.
    let is_target = words.first().is_some_and(|word| word == "target");
    let file = if is_target { ConfigFile::default() } else { ConfigFile::read(&words, &env, &definition)? };
    let of_server = words.first().and_then(|word| word.to_str()).filter(|word| SERVERS.contains(word));
    let target = config_file::flag(&words, "target").or_else(|| env("SWITCHYARD_TARGET"));
    let target =
        target.filter(|target| !target.is_empty()).map(|target| target.to_string_lossy().into_owned());
    let has_to = config_file::flag(&words, "to").is_some()
        || target.is_none() && env("SWITCHYARD_TO").is_some_and(|to| !to.is_empty());
    let values = match of_server {
        Some(name) => file.of_server(name),
        // The token of a target is for its bridge alone.
        None if has_to => FileValues::new(),
        None => file.of_target(target.as_deref()).map_err(|problem| vec![problem])?,
    };
    // A target that is named wins over the variable.
    let env = |name: &str| env(name).filter(|_| name != "SWITCHYARD_TO" || target.is_none());
    Ok(match settings::parse_with_file::<Program>(definition, words, env, &values)? {
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
        let first = if cfg!(feature = "server") {
            "dev, check, init, router, bridge, serve, deploy"
        } else {
            "init, deploy, status"
        };
        assert!(problems[0].message.contains(&format!("one of {first}")), "{problems:?}");
    }

    #[test]
    fn a_wrong_or_missing_shell_is_a_problem_like_any_other() {
        let problems = |args: &[&str]| parse(args.iter().map(OsString::from), |_| None).unwrap_err();
        let wrong = problems(&["completion", "tcsh"]);
        assert!(
            wrong.len() == 1 && wrong[0].to_string().starts_with("SHELL: invalid value \"tcsh\""),
            "{wrong:?}"
        );
        let missing = problems(&["completion"]);
        assert!(
            missing.len() == 1 && missing[0].to_string().starts_with("SHELL: is required"),
            "{missing:?}"
        );
    }

    #[test]
    fn the_file_may_be_named_before_the_command() {
        let moved = |words: &[&str]| command_first(words.iter().map(OsString::from).collect());
        assert_eq!(moved(&["--config", "f", "dev", "x"]), ["dev", "x", "--config", "f"]);
        assert_eq!(moved(&["--config=f", "dev", "--", "-x"]), ["dev", "--config=f", "--", "-x"]);
        assert_eq!(moved(&["dev", "--config", "f"]), ["dev", "--config", "f"]);
        assert_eq!(moved(&["--config", "f"]), ["--config", "f"]);
    }

    #[test]
    fn a_misspelt_command_is_named_with_the_one_that_is_meant() {
        let problems = parse([OsString::from("deplyo")], |_| None).unwrap_err();
        assert!(problems[0].to_string().contains("did you mean \"deploy\"?"), "{problems:?}");
    }
}
