//! Flags: each with its variable, its default and its help. All of them are read, and all that is wrong
//! with them is reported together.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use super::suggest::nearest;
use crate::visible;

/// `EX_USAGE` of sysexits.h: the settings are wrong, and starting again will not help.
pub const EXIT_USAGE: u8 = 64;

/// One flag. Its variable is the name in capitals behind `SWITCHYARD_`, with `_` for `-`.
#[derive(Debug)]
pub struct Flag {
    /// Without the dashes.
    pub name: &'static str,
    /// What stands for the value in `--help`; empty for a switch.
    pub value: &'static str,
    pub default: &'static str,
    pub help: &'static str,
    /// Whether it may be given several times; its variable then holds values with white space between.
    pub repeated: bool,
}

/// A flag that is given once: a later value wins.
pub const fn flag(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
) -> Flag {
    Flag { name, value, default, help, repeated: false }
}

impl Flag {
    /// A flag whose values are collected, in order.
    pub const fn repeated(self) -> Self {
        Self { repeated: true, ..self }
    }
}

/// What a program takes, and how it tells of itself.
#[derive(Debug)]
pub struct Program {
    /// `switchyard-router`
    pub name: &'static str,
    /// Half a sentence behind the name.
    pub about: &'static str,
    /// What stands behind the name in the line of usage.
    pub usage: &'static str,
    /// How many arguments it takes that are no flag's.
    pub operands: usize,
    pub flags: &'static [Flag],
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Parsed<T> {
    Run(T),
    /// `--help` or `--version`: the text to print.
    Print(String),
}

/// One wrong setting: the flag, what is wrong, what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// A flag's name without the dashes, or what else is wrong, in brackets.
    pub flag: String,
    pub message: String,
}

impl Problem {
    pub fn new(flag: &str, message: impl Into<String>) -> Self {
        Self { flag: flag.to_owned(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dashes = if self.flag.starts_with('(') { "" } else { "--" };
        write!(f, "{dashes}{}: {}", self.flag, self.message)
    }
}

impl Program {
    /// Reads the command line (without the program's own name) and, for what it leaves out, the
    /// environment; `settings` makes of it what the program wants.
    ///
    /// # Errors
    /// Every wrong setting at once.
    pub fn parse<T>(
        &self,
        args: impl IntoIterator<Item = OsString>,
        env: impl Fn(&str) -> Option<OsString>,
        settings: impl FnOnce(&mut Values<'_>) -> T,
    ) -> Result<Parsed<T>, Vec<Problem>> {
        let mut values =
            Values { program: self, given: BTreeMap::new(), operands: Vec::new(), problems: Vec::new() };
        if let Some(text) = values.read_args(args) {
            return Ok(Parsed::Print(text));
        }
        values.read_env(env);
        let settings = settings(&mut values);
        if values.problems.is_empty() { Ok(Parsed::Run(settings)) } else { Err(values.problems) }
    }

    fn find(&self, name: &str) -> Option<&Flag> {
        self.flags.iter().find(|flag| flag.name == name)
    }

    fn help(&self) -> String {
        let Self { name, about, usage, .. } = self;
        let mut text = format!("{name}: {about}\n\nusage: {name} {usage}\n\n");
        for flag in self.flags {
            let name = format!("--{} {}", flag.name, flag.value);
            let default = match flag.default {
                "" => String::new(),
                default => format!(" [{default}]"),
            };
            text.push_str(&format!("  {name:<26} {}{default}\n", flag.help));
        }
        if let Some(flag) = self.flags.iter().max_by_key(|flag| flag.name.matches('-').count()) {
            let variable = variable(flag.name);
            text.push_str(&format!(
                "\nEach flag can be given as a variable too: --{} as {variable}.",
                flag.name
            ));
        }
        text
    }
}

/// What was given, and what was found to be wrong with it. A setting that is wrong is noted and stands
/// in as a harmless value, so that the rest is looked at as well.
#[derive(Debug)]
pub struct Values<'p> {
    program: &'p Program,
    given: BTreeMap<&'static str, Vec<String>>,
    operands: Vec<String>,
    problems: Vec<Problem>,
}

impl Values<'_> {
    /// Returns a text to print instead of running.
    fn read_args(&mut self, args: impl IntoIterator<Item = OsString>) -> Option<String> {
        use lexopt::Arg;
        let mut parser = lexopt::Parser::from_args(args);
        loop {
            let name = match parser.next() {
                Ok(Some(Arg::Long("help") | Arg::Short('h'))) => return Some(self.program.help()),
                Ok(Some(Arg::Long("version") | Arg::Short('V'))) => {
                    return Some(format!("{} {}", self.program.name, env!("CARGO_PKG_VERSION")));
                }
                Ok(Some(Arg::Long(name))) => name.to_owned(),
                Ok(Some(Arg::Short(short))) => {
                    self.problem(&format!("(-{short})"), "unknown flag");
                    continue;
                }
                Ok(Some(Arg::Value(value))) => {
                    self.operand(value);
                    continue;
                }
                Ok(None) => return None,
                Err(error) => {
                    self.problem("(command line)", error.to_string());
                    continue;
                }
            };
            let Some(flag) = self.program.flags.iter().find(|flag| flag.name == name) else {
                self.unknown(&name);
                pass_over_value(&mut parser);
                continue;
            };
            if flag.value.is_empty() {
                self.given.insert(flag.name, vec!["true".to_owned()]);
                continue;
            }
            match parser.value() {
                Ok(value) => self.give(flag.name, flag.repeated, value),
                Err(_) => self.problem(flag.name, format!("needs a value: --{} {}", flag.name, flag.value)),
            }
        }
    }

    fn read_env(&mut self, env: impl Fn(&str) -> Option<OsString>) {
        for flag in self.program.flags {
            if self.given.contains_key(flag.name) {
                continue;
            }
            let Some(value) = env(&variable(flag.name)).filter(|value| !value.is_empty()) else { continue };
            self.give(flag.name, false, value);
            if flag.repeated
                && let Some(values) = self.given.get_mut(flag.name)
            {
                *values =
                    values.iter().flat_map(|value| value.split_whitespace()).map(str::to_owned).collect();
            }
        }
    }

    fn give(&mut self, name: &'static str, more: bool, value: OsString) {
        let Ok(value) = value.into_string() else { return self.problem(name, "is not valid UTF-8") };
        let values = self.given.entry(name).or_default();
        if !more {
            values.clear();
        }
        values.push(value);
    }

    fn operand(&mut self, value: OsString) {
        let value = value.to_string_lossy().into_owned();
        if self.operands.len() < self.program.operands {
            return self.operands.push(value);
        }
        let usage = format!("usage: {} {}", self.program.name, self.program.usage);
        self.problem("(command line)", format!("unexpected argument {value:?}; {usage}"));
    }

    fn unknown(&mut self, name: &str) {
        let names: Vec<_> = self.program.flags.iter().map(|flag| flag.name).collect();
        let extends = |known: &&str| known.starts_with(name) || name.starts_with(known);
        let near = nearest(name, &names).or_else(|| names.iter().copied().find(extends));
        let hint = near.map(|near| format!("; did you mean --{near}?")).unwrap_or_default();
        self.problem(name, format!("unknown flag{hint}"));
    }

    /// Notes that a setting is wrong.
    pub fn problem(&mut self, flag: &str, message: impl Into<String>) {
        self.problems.push(Problem::new(flag, message));
    }

    /// The arguments that are no flag's, in order.
    pub fn operands(&self) -> &[String] {
        &self.operands
    }

    /// The value, or else the default, or else nothing.
    pub fn text(&self, name: &str) -> String {
        let default = || self.program.find(name).map(|flag| flag.default.to_owned());
        self.given.get(name).and_then(|values| values.last().cloned()).or_else(default).unwrap_or_default()
    }

    /// The value or the default, when there is one.
    pub fn optional(&self, name: &str) -> Option<String> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// The value or the default; `what` says what it is for when there is none.
    pub fn required(&mut self, name: &str, what: &str) -> String {
        let text = self.text(name);
        if text.is_empty() && !self.problems.iter().any(|problem| problem.flag == name) {
            self.problem(name, format!("is required: {what}"));
        }
        text
    }

    /// Every value of a flag that may be repeated.
    pub fn all(&self, name: &str) -> &[String] {
        self.given.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// The value as a `T`, whose error says what is wrong with it.
    pub fn parsed<T>(&mut self, name: &str, harmless: T) -> T
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        match self.text(name).parse() {
            Ok(value) => value,
            Err(error) => {
                self.problem(name, error.to_string());
                harmless
            }
        }
    }

    /// Every value of a flag that may be repeated as a `T`, whose error says what is wrong with it.
    pub fn parsed_all<T>(&mut self, name: &str) -> Vec<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let (mut good, mut wrong) = (Vec::new(), Vec::new());
        for text in self.all(name) {
            match text.parse::<T>() {
                Ok(value) => good.push(value),
                Err(error) => wrong.push(error.to_string()),
            }
        }
        wrong.into_iter().for_each(|message| self.problem(name, message));
        good
    }

    /// A whole number of at least `least`.
    pub fn number(&mut self, name: &str, least: u64) -> u64 {
        let text = self.text(name);
        match text.parse() {
            Ok(number) if number >= least => number,
            _ => {
                self.problem(name, format!("{text:?} is no whole number of at least {least}"));
                least
            }
        }
    }

    /// A number of milliseconds.
    pub fn millis(&mut self, name: &str, least: u64) -> Duration {
        Duration::from_millis(self.number(name, least))
    }

    pub fn address(&mut self, name: &str) -> SocketAddr {
        let text = self.text(name);
        text.parse().unwrap_or_else(|_| {
            self.problem(
                name,
                format!("{text:?} is no address; write IP:PORT, as 127.0.0.1:8000 or [::1]:8000"),
            );
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }

    pub fn switch(&mut self, name: &str) -> bool {
        match self.text(name).as_str() {
            "" | "0" | "false" => false,
            "1" | "true" => true,
            other => {
                let message = format!("{other:?} is neither true nor false");
                self.problem(name, message);
                false
            }
        }
    }
}

/// An unknown flag's value is not a problem of its own.
fn pass_over_value(parser: &mut lexopt::Parser) {
    let _ = parser.optional_value();
    if let Some(mut rest) = parser.try_raw_args()
        && rest.peek().is_some_and(|next| !next.to_string_lossy().starts_with('-'))
    {
        rest.next();
    }
}

fn variable(flag: &str) -> String {
    format!("SWITCHYARD_{}", flag.to_uppercase().replace('-', "_"))
}

/// Prints what `--help` or `--version` asks for.
#[expect(clippy::print_stdout, reason = "it goes to standard output")]
pub fn print(text: &str) {
    println!("{text}");
}

/// Tells what is wrong with the settings of the program `name`; it then ends with [`EXIT_USAGE`].
#[expect(clippy::print_stderr, reason = "wrong settings are told before there is a log")]
pub fn complain(name: &str, problems: &[Problem]) {
    for problem in problems {
        eprintln!("{name}: {}", visible::block(&problem.to_string()));
    }
    eprintln!("{name}: --help lists every flag");
}

#[cfg(test)]
mod tests;
