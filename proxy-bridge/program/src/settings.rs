//! Settings from the command line and the environment, read by clap's definitions. All problems are
//! reported together.
//!
//! clap stops at its first error. [`parse`] therefore records the error, takes the words that
//! caused it off the command line and lets clap parse the rest, until nothing is left to report.
//! Variables are added as if they were flags, for flags that the command line leaves out.
//! [`Validate`] then checks what a single setting cannot show, such as two settings that exclude
//! each other.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write as _};

use clap::{Command, FromArgMatches};

use self::attempt::{Attempt, Step};
use switchyard_contract::visible;

mod attempt;
pub mod values;

/// `EX_USAGE` of sysexits.h: the settings are wrong, and starting again will not help.
pub const EXIT_USAGE: u8 = 64;

/// Prefix of the variables that stand for flags: `--build-timeout` is `SWITCHYARD_BUILD_TIMEOUT`.
const VARIABLE_PREFIX: &str = "SWITCHYARD_";

/// A valid command line.
#[derive(Debug)]
pub enum CommandLine<T> {
    /// The settings to run with.
    Run(T),
    /// `--help` or `--version`: the text to print.
    Print(String),
}

/// An invalid setting: its name, the problem and the expected value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// A flag with its dashes, an argument's placeholder, or another subject in brackets.
    pub subject: String,
    /// The message, without the subject.
    pub message: String,
}

impl Problem {
    /// A problem with something that is not a flag.
    pub fn new(subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self { subject: subject.into(), message: message.into() }
    }

    /// A problem with a flag. `name` is without the dashes.
    pub fn flag(name: &str, message: impl Into<String>) -> Self {
        Self::new(format!("--{name}"), message)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.message)
    }
}

/// The message of one wrong setting, without its name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSetting(pub String);

/// The problems found so far.
#[derive(Debug, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Adds a problem.
    pub fn add(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Adds a problem with the flag `name`, unless that flag has one already: a second one is most
    /// often a consequence of the first.
    pub fn flag(&mut self, name: &str, message: impl Into<String>) {
        let problem = Problem::flag(name, message);
        if !self.has(&problem.subject) {
            self.add(problem);
        }
    }

    /// Returns the value, or adds the error as a problem with the flag `name`.
    pub fn check<T>(&mut self, name: &str, result: Result<T, impl fmt::Display>) -> Option<T> {
        result.map_err(|error| self.add(Problem::flag(name, error.to_string()))).ok()
    }

    /// Returns `value`, or the problems if any were found.
    ///
    /// # Errors
    /// All problems.
    pub fn into_result<T>(self, value: T) -> Result<T, Vec<Problem>> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }

    /// Returns all problems in the order in which they were found.
    pub fn into_vec(self) -> Vec<Problem> {
        self.0
    }

    fn has(&self, subject: &str) -> bool {
        self.0.iter().any(|problem| problem.subject == subject)
    }
}

/// Settings that are checked against each other once all of them are read.
pub trait Validate {
    /// Adds the problems of combinations of settings. Invalid settings have their defaults here.
    fn validate(&self, problems: &mut Problems);
}

/// Names a variable for every flag of the command: `SWITCHYARD_` and the flag in capitals, with `_` for
/// `-`.
#[must_use]
pub fn with_variables(command: Command) -> Command {
    command.mut_args(|arg| match arg.get_long() {
        Some("help" | "version") | None => arg,
        Some(name) => {
            let variable = variable(name);
            arg.env(variable).hide_env(true)
        }
    })
}

/// The variable that stands for the flag `name`, which is without dashes.
fn variable(name: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", name.to_uppercase().replace('-', "_"))
}

/// The value of a flag in a file of settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileValue {
    /// One value, or several of a flag that may be repeated.
    pub values: Vec<String>,
    /// The place in the file, for messages: `switchyard.toml:3:1`.
    pub origin: String,
}

/// The values that a file has for flags, by the flags' names without dashes.
pub type FileValues = BTreeMap<String, FileValue>;

/// Reads the command line `args`, which begins behind the program's own name, and the variables that
/// `command` names for what the command line leaves out. `env` returns a variable's value.
///
/// # Errors
/// Every wrong setting.
pub fn parse<T: FromArgMatches + Validate>(
    command: Command,
    args: impl IntoIterator<Item = OsString>,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<CommandLine<T>, Vec<Problem>> {
    parse_with_file(command, args, env, &FileValues::new())
}

/// The same, with `file` for what neither the command line nor the variables have.
///
/// # Errors
/// Every wrong setting.
pub fn parse_with_file<T: FromArgMatches + Validate>(
    command: Command,
    args: impl IntoIterator<Item = OsString>,
    env: impl Fn(&str) -> Option<OsString>,
    file: &FileValues,
) -> Result<CommandLine<T>, Vec<Problem>> {
    let mut attempt = Attempt::new(command, args);
    loop {
        match attempt.step() {
            Step::Matches(matches) if attempt.has_variables() => {
                let value = T::from_arg_matches(&matches);
                let mut problems = attempt.into_problems();
                return match value {
                    Ok(value) => {
                        value.validate(&mut problems);
                        problems.into_result(CommandLine::Run(value))
                    }
                    // Every single argument was valid, so only clap itself can fail here.
                    Err(error) => {
                        problems.add(Problem::new("(command line)", error.to_string()));
                        Err(problems.into_vec())
                    }
                };
            }
            Step::Matches(matches) => attempt.add_variables(&matches, &env, file),
            Step::Print(text) => return Ok(CommandLine::Print(text)),
            Step::Again => {}
            Step::Stop => return Err(attempt.into_problems().into_vec()),
        }
    }
}

/// Prints the text of `--help` or `--version`. A reader that has closed standard output has read
/// enough.
pub fn print(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Prints the problems of the program `name`, which then ends with [`EXIT_USAGE`]. `command` is the
/// command whose help lists the valid settings, as typed.
///
/// Standard error is used directly, since there is no log yet.
pub fn report(name: &str, command: &str, problems: &[Problem]) {
    let mut err = io::stderr();
    for problem in problems {
        let _ = writeln!(err, "{name}: {}", visible::block(&problem.to_string()));
    }
    let _ = writeln!(err, "{name}: run {command} --help for all flags");
}

#[cfg(test)]
mod tests;
