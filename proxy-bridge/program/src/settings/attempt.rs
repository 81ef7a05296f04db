//! Repeated attempts of clap at one command line, with the cause of each error taken off it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, Error};

use super::{FileValues, Problem, Problems};
use switchyard_contract::suggest::{did_you_mean, nearest};

/// Value of a required argument that is missing or wrong, so that the rest is checked too, unless it has a
/// list of valid values. A valid name and a valid path.
const STAND_IN: &str = "unset";

/// Subject of problems that no flag has.
const COMMAND_LINE: &str = "(command line)";

/// The command line, less everything that was found to be wrong with it.
#[derive(Debug)]
pub(super) struct Attempt {
    command: Command,
    /// A built copy, whose arguments are displayed as in clap's errors.
    built: Command,
    words: Vec<OsString>,
    /// Flags that come from a variable or a file, with the variable's name or the place in the file.
    variables: BTreeMap<String, String>,
    /// Variables were added, so that required arguments can be missed.
    has_variables: bool,
    problems: Problems,
}

/// Result of one attempt.
pub(super) enum Step {
    /// Everything left is valid.
    Matches(Box<ArgMatches>),
    /// The text that `--help` or `--version` prints.
    Print(String),
    /// A problem was recorded and its cause removed.
    Again,
    /// A recorded problem hides further ones.
    Stop,
}

impl Attempt {
    pub(super) fn new(command: Command, args: impl IntoIterator<Item = OsString>) -> Self {
        let name = OsString::from(command.get_name());
        let words = std::iter::once(name).chain(args).collect();
        // A later value wins over an earlier one, as in a script that appends flags to its own.
        let command = command.args_override_self(true);
        let mut built = command.clone();
        built.build();
        Self {
            command,
            built,
            words,
            variables: BTreeMap::new(),
            has_variables: false,
            problems: Problems::default(),
        }
    }

    pub(super) fn has_variables(&self) -> bool {
        self.has_variables
    }

    pub(super) fn into_problems(self) -> Problems {
        self.problems
    }

    /// Lets clap parse the rest. clap does not see the variables: it would stop at the first
    /// invalid one, and an empty one is not a setting.
    pub(super) fn step(&mut self) -> Step {
        let has_variables = self.has_variables;
        let adjust = |arg: Arg| {
            let is_required = has_variables && arg.is_required_set();
            // So that `--keep -1` has a wrong value, rather than none.
            let has_value = arg.get_long().is_some() && arg.get_action().takes_values();
            arg.env(Resettable::Reset).required(is_required).allow_negative_numbers(has_value)
        };
        let command = self.command.clone().mut_args(adjust);
        let mut command = changed(command, &self.selected(), |command| command.mut_args(adjust));
        match command.try_get_matches_from_mut(&self.words) {
            Ok(matches) => Step::Matches(Box::new(matches)),
            Err(error) => self.record(&error),
        }
    }

    /// Adds the variables of flags that are not on the command line, and the values of `file` for what is
    /// in neither.
    pub(super) fn add_variables(
        &mut self,
        matches: &ArgMatches,
        env: &impl Fn(&str) -> Option<OsString>,
        file: &FileValues,
    ) {
        self.has_variables = true;
        let mut matches = matches;
        while let Some((_, inner)) = matches.subcommand() {
            matches = inner;
        }
        let mut added = Vec::new();
        for arg in self.active().get_arguments() {
            let Some(name) = arg.get_long() else { continue };
            if matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine) {
                continue;
            }
            let variable = arg.get_env().map(|variable| variable.to_string_lossy().into_owned());
            let value = variable.as_deref().and_then(env).filter(|value| !value.is_empty());
            let (origin, values) = match (value, file.get(name)) {
                (Some(value), _) => (variable.unwrap_or_default(), vec![value]),
                (None, Some(value)) => {
                    (value.origin.clone(), value.values.iter().map(OsString::from).collect())
                }
                (None, None) => continue,
            };
            added.push((arg.clone(), name.to_owned(), origin, values));
        }
        for (arg, name, origin, values) in added {
            self.variables.insert(name.clone(), origin);
            values.iter().for_each(|value| self.add_variable(&arg, &name, value));
        }
    }

    fn add_variable(&mut self, arg: &Arg, name: &str, value: &OsStr) {
        let Some(text) = value.to_str() else { return self.problem(name, "is not valid UTF-8") };
        match (arg.get_action(), text) {
            (ArgAction::SetTrue, "0" | "false") => {}
            (ArgAction::SetTrue, "1" | "true") => self.words.push(format!("--{name}").into()),
            (ArgAction::SetTrue, other) => {
                self.problem(name, &format!("invalid value {other:?}: expected true or false"));
            }
            (ArgAction::Append, values) => {
                let values = values.split_whitespace();
                self.words.extend(values.map(|value| OsString::from(format!("--{name}={value}"))));
            }
            (_, value) => self.words.push(format!("--{name}={value}").into()),
        }
    }

    /// The names of the subcommands that the command line names, the outermost first.
    fn selected(&self) -> Vec<String> {
        self.subcommands().map(|command| command.get_name().to_owned()).collect()
    }

    /// The command whose arguments the command line has.
    fn active(&self) -> &Command {
        self.subcommands().last().unwrap_or(&self.built)
    }

    fn subcommands(&self) -> impl Iterator<Item = &Command> {
        self.words.iter().skip(1).scan(&self.built, |command, word| {
            *command = command.find_subcommand(word)?;
            Some(*command)
        })
    }

    /// Records the error and takes its cause off the command line.
    fn record(&mut self, error: &Error) -> Step {
        match error.kind() {
            // Not clap's own text, in which no argument is required until the variables are added.
            ErrorKind::DisplayHelp => {
                let help = self.active().clone().render_help().to_string();
                return Step::Print(help.trim_end().to_owned());
            }
            ErrorKind::DisplayVersion => return Step::Print(error.to_string().trim_end().to_owned()),
            ErrorKind::MissingRequiredArgument => return self.missing(error),
            ErrorKind::UnknownArgument => return self.unknown(&text(error, ContextKind::InvalidArg)),
            ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::TooManyValues => {
                return self.wrong_value(error);
            }
            ErrorKind::InvalidSubcommand => {
                let word = text(error, ContextKind::InvalidSubcommand);
                let names = self.commands();
                let hint = did_you_mean(&word, &names);
                let message = format!("unknown command {word:?}{hint} (commands: {})", names.join(", "));
                self.problems.add(Problem::new(COMMAND_LINE, message));
            }
            ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                let message = format!("a command is missing: one of {}", self.commands().join(", "));
                let above = self.selected().join(" ");
                let subject = if above.is_empty() { "COMMAND".to_owned() } else { above };
                self.problems.add(Problem::new(subject, message));
            }
            _ => {
                let text = error.to_string();
                let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
                self.problems.add(Problem::new(COMMAND_LINE, message));
            }
        }
        Step::Stop
    }

    fn commands(&self) -> Vec<&str> {
        let commands = self.active().get_subcommands().filter(|command| !command.is_hide_set());
        commands.map(Command::get_name).collect()
    }

    fn unknown(&mut self, word: &str) -> Step {
        let found = self.words.iter().skip(1).position(|given| given.to_string_lossy().starts_with(word));
        let Some(at) = found.map(|at| at + 1) else { return self.give_up(word) };
        let given = self.words.remove(at);
        let Some(name) = word.strip_prefix("--") else {
            let message = if word.starts_with('-') { "unknown flag" } else { "unexpected argument" };
            self.problems.add(Problem::new(word, message));
            return Step::Again;
        };
        // The value of an unknown flag is not a problem of its own.
        let is_value = |word: &OsString| !word.to_string_lossy().starts_with('-');
        if !given.to_string_lossy().contains('=') && self.words.get(at).is_some_and(is_value) {
            self.words.remove(at);
        }
        let known: Vec<_> = self.active().get_arguments().filter_map(Arg::get_long).collect();
        let extends = |known: &&str| known.starts_with(name) || name.starts_with(known);
        let extended = known.iter().copied().filter(extends).max_by_key(|known| common_prefix(known, name));
        let near = nearest(name, &known).or(extended);
        let hint = near.map(|near| format!("; did you mean --{near}?")).unwrap_or_default();
        self.problem(name, &format!("unknown flag{hint}"));
        Step::Again
    }

    fn wrong_value(&mut self, error: &Error) -> Step {
        let (shown, value) = (text(error, ContextKind::InvalidArg), text(error, ContextKind::InvalidValue));
        let Some(arg) = self.active().get_arguments().find(|arg| is_shown_as(arg, &shown)).cloned() else {
            return self.give_up(&shown);
        };
        let message = match error.kind() {
            ErrorKind::TooManyValues => "takes no value".to_owned(),
            ErrorKind::InvalidValue if value.is_empty() => format!("needs a value: {shown}"),
            ErrorKind::InvalidValue => {
                let valid = alternatives(&strings(error, ContextKind::ValidValue));
                format!("invalid value {value:?}: expected {valid}")
            }
            _ => std::error::Error::source(error).map(ToString::to_string).unwrap_or_default(),
        };
        if stand_in(&arg) == *value {
            // No word stands in for a value of this kind.
            if !self.problems.has(&subject(&arg)) {
                self.problems.add(Problem::new(subject(&arg), message));
            }
            return Step::Stop;
        }
        let Some(name) = arg.get_long() else {
            let Some(at) = self.words.iter().skip(1).position(|word| *word == *value) else {
                return self.give_up(&shown);
            };
            self.words[at + 1] = stand_in(&arg);
            self.problems.add(Problem::new(placeholder(&arg), message));
            return Step::Again;
        };
        let short = arg.get_short().map(|short| format!("-{short}"));
        let is_removed = self.remove(&format!("--{name}"), &value)
            || short.is_some_and(|short| self.remove(&short, &value));
        if !is_removed {
            return self.give_up(&shown);
        }
        self.problem(name, &message);
        Step::Again
    }

    /// Removes a flag, which is with its dashes, and its value (empty for a flag without one). Returns
    /// false if the flag is not set.
    fn remove(&mut self, flag: &str, value: &str) -> bool {
        let joined = [format!("{flag}={value}"), format!("{flag}{value}")];
        let is_joined = |word: &OsString| !value.is_empty() && joined.iter().any(|joined| *word == **joined);
        let empty = format!("{flag}=");
        if let Some(at) =
            self.words.iter().position(|word| is_joined(word) || (value.is_empty() && *word == *empty))
        {
            self.words.remove(at);
            return true;
        }
        let is_here = |at: &usize| {
            let next = self.words.get(at + 1);
            let is_bare = next.is_none_or(|next| next.to_string_lossy().starts_with('-'));
            self.words[*at] == *flag
                && if value.is_empty() { is_bare } else { next.is_some_and(|n| *n == *value) }
        };
        let Some(at) = (1..self.words.len()).find(is_here) else { return false };
        self.words.drain(at..=at + usize::from(!value.is_empty()));
        true
    }

    /// Gives required arguments a value, so that the rest is checked too.
    fn missing(&mut self, error: &Error) -> Step {
        for shown in strings(error, ContextKind::InvalidArg) {
            let Some(arg) = self.active().get_arguments().find(|arg| is_shown_as(arg, &shown)).cloned()
            else {
                return self.give_up(&shown);
            };
            let subject = subject(&arg);
            if !self.problems.has(&subject) {
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                let is_same = help.eq_ignore_ascii_case(&placeholder(&arg));
                let help = if is_same { String::new() } else { format!(": {}", in_sentence(&help)) };
                self.problems.add(Problem::new(subject, format!("is required{help}")));
            }
            let id = arg.get_id().as_str().to_owned();
            let value = stand_in(&arg);
            let stand_in = |arg: Arg| arg.required(false).default_value(value);
            let command = std::mem::take(&mut self.command);
            self.command = changed(command, &self.selected(), |command| command.mut_arg(id, stand_in));
        }
        Step::Again
    }

    /// Records a problem with a flag, and the variable that it comes from.
    fn problem(&mut self, name: &str, message: &str) {
        let from = self.variables.get(name).map(|variable| format!(" (from {variable})"));
        self.problems.add(Problem::flag(name, format!("{message}{}", from.unwrap_or_default())));
    }

    /// Ends with an error that no word on the command line caused.
    fn give_up(&mut self, subject: &str) -> Step {
        self.problems.add(Problem::new(subject, "cannot be read"));
        Step::Stop
    }
}

/// Changes the subcommand that `names` leads to, or the command itself without names.
fn changed(command: Command, names: &[String], change: impl FnOnce(Command) -> Command) -> Command {
    match names.split_first() {
        None => change(command),
        Some((name, rest)) => command.mut_subcommand(name, |command| changed(command, rest, change)),
    }
}

/// Returns a value that is valid for the argument: the first one of a list, or [`STAND_IN`].
fn stand_in(arg: &Arg) -> OsString {
    arg.get_possible_values().first().map_or(STAND_IN, |value| value.get_name()).into()
}

const BRACKETS: [char; 4] = ['<', '>', '[', ']'];

/// A positional argument as in the line of usage, without brackets.
fn placeholder(arg: &Arg) -> String {
    arg.to_string().trim_matches(BRACKETS).to_owned()
}

/// The subject of problems with an argument.
fn subject(arg: &Arg) -> String {
    arg.get_long().map_or_else(|| placeholder(arg), |name| format!("--{name}"))
}

/// Returns true if an error shows the argument like this. The brackets depend on whether it is
/// required.
fn is_shown_as(arg: &Arg, shown: &str) -> bool {
    arg.to_string().trim_matches(BRACKETS) == shown.trim_matches(BRACKETS)
}

/// Returns the length of the common beginning of two names, in bytes.
fn common_prefix(one: &str, other: &str) -> usize {
    one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count()
}

/// `a`, `a or b`, or `a, b or c`.
fn alternatives(values: &[String]) -> String {
    match values {
        [all @ .., last] if !all.is_empty() => format!("{} or {last}", all.join(", ")),
        values => values.join(""),
    }
}

/// A help text behind a colon. Words in capitals stay.
fn in_sentence(help: &str) -> String {
    let mut chars = help.chars();
    if help.chars().nth(1).is_some_and(char::is_uppercase) {
        return help.to_owned();
    }
    let first = chars.next().map(|first| first.to_lowercase().to_string()).unwrap_or_default();
    first + chars.as_str()
}

fn text(error: &Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    }
}

fn strings(error: &Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}
