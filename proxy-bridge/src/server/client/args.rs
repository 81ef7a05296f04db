//! The command line: which commands there are, what each takes. All that is wrong is reported together.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use reqwest::Url;
use reqwest::header::HeaderValue;

use crate::project::ProjectName;

/// The bridge's URL, where `--to` is not given.
const TO_VARIABLE: &str = "SWITCHYARD_TO";

/// The token itself, where `--token-file` is not given: an argument would be seen by every user of the machine.
const TOKEN_VARIABLE: &str = "SWITCHYARD_TOKEN";

struct Spec {
    name: &'static str,
    about: &'static str,
    /// What it is done to, as in `--help`; in brackets when it may be left out.
    operand: &'static str,
    flags: &'static [Flag],
}

#[derive(Clone, Copy)]
struct Flag {
    name: &'static str,
    /// What stands for the value in `--help`; empty for a switch.
    value: &'static str,
    help: &'static str,
}

const fn flag(name: &'static str, value: &'static str, help: &'static str) -> Flag {
    Flag { name, value, help }
}

const SPECS: &[Spec] = &[
    Spec {
        name: "deploy",
        about: "sends a folder, and says when it is live",
        operand: "DIR",
        flags: &[
            flag("project", "NAME", "what the project is called [the folder's name]"),
            flag("all", "", "each folder in DIR is a project; all of them go live together, or none"),
            flag("message", "TEXT", "kept in the deploy's record"),
            flag("keep", "", "files that do not build stay on the volume"),
            flag("no-wait", "", "do not wait for the routers"),
        ],
    },
    Spec { name: "status", about: "says what every router serves", operand: "[PROJECT]", flags: &[] },
    Spec {
        name: "rollback",
        about: "makes an earlier version live again",
        operand: "PROJECT",
        flags: &[flag(
            "version",
            "DIGEST",
            "which one, by its digest or the first 12 digits [the one before]",
        )],
    },
    Spec { name: "remove", about: "takes a project away, without asking", operand: "PROJECT", flags: &[] },
    Spec {
        name: "logs",
        about: "prints what a project printed",
        operand: "PROJECT",
        flags: &[
            flag("lines", "N", "how many of the last lines of each router [100]"),
            flag("follow", "", "go on with new lines until interrupted"),
        ],
    },
];

const COMMON_FLAGS: &[Flag] = &[
    flag("to", "URL", "the bridge; or SWITCHYARD_TO"),
    flag("token-file", "FILE", "holds the token; or the token itself in SWITCHYARD_TOKEN"),
    flag("json", "", "print the bridge's JSON and nothing else"),
];

/// What is to be done, and where.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) action: Action,
    pub(super) to: Url,
    /// `Bearer …`, marked so that no debug output shows it.
    pub(super) authorization: Option<HeaderValue>,
    pub(super) json: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    Deploy(Deploy),
    Status(Option<ProjectName>),
    Rollback { project: ProjectName, version: Option<String> },
    Remove(ProjectName),
    Logs { project: ProjectName, lines: Option<u32>, follow: bool },
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Deploy {
    pub(super) folder: PathBuf,
    pub(super) what: What,
    pub(super) message: Option<String>,
    pub(super) keep: bool,
    pub(super) wait: bool,
}

/// What the folder is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A project, called as the folder where there is no name.
    Project(Option<ProjectName>),
    /// One that holds projects.
    All,
}

/// What the command line asks for.
#[derive(Debug)]
pub(super) enum Parsed {
    Run(Box<Command>),
    /// `--help`: the text to print.
    Print(String),
}

pub(super) fn is_command(name: &str) -> bool {
    SPECS.iter().any(|spec| spec.name == name)
}

/// Reads the command line, which begins with the command's name, and the two variables.
///
/// # Errors
/// Every wrong argument at once, each a line.
pub(super) fn parse(
    mut args: impl Iterator<Item = OsString>,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<Parsed, Vec<String>> {
    let name = args.next().unwrap_or_default();
    let Some(spec) = SPECS.iter().find(|spec| name == spec.name) else {
        let names: Vec<_> = SPECS.iter().map(|spec| spec.name).collect();
        return Err(vec![format!("{name:?} is no command; there are {}", names.join(", "))]);
    };
    let mut values = Values { spec, given: BTreeMap::new(), operand: None, problems: Vec::new() };
    if values.read(args) {
        return Ok(Parsed::Print(help(spec)));
    }
    let action = values.action();
    let to = values.to(&env);
    let authorization = values.authorization(&env);
    let json = values.is_set("json");
    match (action, to) {
        (Some(action), Some(to)) if values.problems.is_empty() => {
            Ok(Parsed::Run(Box::new(Command { action, to, authorization, json })))
        }
        _ => Err(values.problems),
    }
}

struct Values {
    spec: &'static Spec,
    given: BTreeMap<&'static str, OsString>,
    operand: Option<OsString>,
    problems: Vec<String>,
}

impl Values {
    /// Returns whether help is asked for.
    fn read(&mut self, args: impl Iterator<Item = OsString>) -> bool {
        use lexopt::Arg;
        let mut parser = lexopt::Parser::from_args(args);
        loop {
            let name = match parser.next() {
                Ok(None) => return false,
                Ok(Some(Arg::Long("help") | Arg::Short('h'))) => return true,
                Ok(Some(Arg::Long(name))) => name.to_owned(),
                Ok(Some(Arg::Short(short))) => {
                    self.problem(format!("-{short}: unknown flag"));
                    continue;
                }
                Ok(Some(Arg::Value(value))) => {
                    self.operand(value);
                    continue;
                }
                Err(error) => {
                    self.problem(error.to_string());
                    continue;
                }
            };
            match flags(self.spec).find(|flag| flag.name == name) {
                Some(flag) => self.flag(flag, &mut parser),
                None => self.unknown(&name, &mut parser),
            }
        }
    }

    fn flag(&mut self, flag: Flag, parser: &mut lexopt::Parser) {
        if flag.value.is_empty() {
            self.given.insert(flag.name, OsString::new());
            return;
        }
        match parser.value() {
            Ok(value) => {
                self.given.insert(flag.name, value);
            }
            Err(_) => self.problem(format!("--{}: needs a value: --{0} {}", flag.name, flag.value)),
        }
    }

    fn operand(&mut self, value: OsString) {
        match &self.operand {
            None => self.operand = Some(value),
            Some(first) => {
                let problem =
                    format!("unexpected argument {value:?} after {first:?}; quote a name with spaces");
                self.problem(problem);
            }
        }
    }

    fn unknown(&mut self, name: &str, parser: &mut lexopt::Parser) {
        let near = flags(self.spec).find(|flag| flag.name.starts_with(name) || name.starts_with(flag.name));
        let hint = match near {
            _ if name == "token" => "; give it in --token-file FILE or SWITCHYARD_TOKEN".to_owned(),
            Some(near) => format!("; did you mean --{}?", near.name),
            None => String::new(),
        };
        self.problem(format!("--{name}: unknown flag{hint}"));
        // A value behind `=` is not a problem of its own.
        let _ = parser.optional_value();
    }

    fn problem(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    fn is_set(&self, flag: &str) -> bool {
        self.given.contains_key(flag)
    }

    fn text(&mut self, flag: &str) -> Option<String> {
        let text = self.given.get(flag)?.clone().into_string();
        text.map_err(|_| self.problem(format!("--{flag}: is not valid UTF-8"))).ok()
    }

    /// `None` where something is missing or wrong, which has been noted then.
    fn action(&mut self) -> Option<Action> {
        Some(match self.spec.name {
            "deploy" => Action::Deploy(self.deploy()?),
            "status" => match self.operand.take() {
                None => Action::Status(None),
                Some(name) => Action::Status(Some(self.project("PROJECT", name)?)),
            },
            "rollback" => {
                let project = self.required_project();
                let version = self.version(project.as_ref());
                Action::Rollback { project: project?, version }
            }
            "remove" => Action::Remove(self.required_project()?),
            _ => {
                let (project, lines) = (self.required_project(), self.lines());
                Action::Logs { project: project?, lines, follow: self.is_set("follow") }
            }
        })
    }

    fn deploy(&mut self) -> Option<Deploy> {
        let name = self.text("project").map(|name| self.project("--project", name.into()));
        let what = match (self.is_set("all"), name) {
            (true, Some(_)) => {
                self.problem("--project: cannot be used with --all: each folder's name is its project's");
                What::All
            }
            (true, None) => What::All,
            (false, name) => What::Project(name.flatten()),
        };
        let message = self.text("message");
        let (keep, wait) = (self.is_set("keep"), !self.is_set("no-wait"));
        let folder = self.required("the folder to deploy")?.into();
        Some(Deploy { folder, what, message, keep, wait })
    }

    fn required(&mut self, what: &str) -> Option<OsString> {
        let operand = self.operand.take();
        if operand.is_none() {
            self.problem(format!("{} is missing: {what}", self.spec.operand));
        }
        operand
    }

    fn required_project(&mut self) -> Option<ProjectName> {
        let name = self.required("which project")?;
        self.project("PROJECT", name)
    }

    fn project(&mut self, whose: &str, name: OsString) -> Option<ProjectName> {
        let name = ProjectName::parse(&name.to_string_lossy());
        name.map_err(|error| self.problem(format!("{whose}: {error}"))).ok()
    }

    /// A digest or the beginning of one; `blog@3f9a1c2b7d4e` is taken too, for it is what is shown.
    fn version(&mut self, project: Option<&ProjectName>) -> Option<String> {
        let text = self.text("version")?;
        let digits = match (text.split_once('@'), project) {
            (Some((name, digits)), Some(project)) if name == project.as_str() => digits,
            _ => &text,
        };
        let is_digest = (12..=64).contains(&digits.len())
            && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        if !is_digest {
            self.problem(format!(
                "--version: {text:?} is no digest: give 12 to 64 of the digits 0-9 and a-f"
            ));
        }
        Some(digits.to_owned())
    }

    fn lines(&mut self) -> Option<u32> {
        let text = self.text("lines")?;
        let lines = text.parse();
        lines.map_err(|_| self.problem(format!("--lines: {text:?} is no whole number"))).ok()
    }

    fn to(&mut self, env: impl Fn(&str) -> Option<OsString>) -> Option<Url> {
        let (whose, text) = match self.given.remove("to") {
            Some(text) => ("--to", text),
            None => (TO_VARIABLE, env(TO_VARIABLE).unwrap_or_default()),
        };
        if text.is_empty() {
            self.problem(format!("--to: is required: the bridge's URL (or {TO_VARIABLE})"));
            return None;
        }
        let url = bridge_url(&text.to_string_lossy());
        url.map_err(|why| self.problem(format!("{whose}: {why}"))).ok()
    }

    fn authorization(&mut self, env: impl Fn(&str) -> Option<OsString>) -> Option<HeaderValue> {
        let token = match self.given.remove("token-file") {
            Some(file) => match std::fs::read_to_string(&file) {
                Ok(text) => text,
                Err(error) => {
                    self.problem(format!("--token-file: {file:?} cannot be read: {error}"));
                    return None;
                }
            },
            None => env(TOKEN_VARIABLE)?.to_string_lossy().into_owned(),
        };
        let token = token.trim();
        let is_one = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        let Some(mut value) =
            is_one.then(|| HeaderValue::from_str(&format!("Bearer {token}")).ok()).flatten()
        else {
            self.problem(format!(
                "--token-file or {TOKEN_VARIABLE}: holds no token: one word of visible ASCII characters"
            ));
            return None;
        };
        value.set_sensitive(true);
        Some(value)
    }
}

/// The reason never shows the text: a password may be in it.
fn bridge_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is no URL: {error}; write http://host:port"))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err("is no http:// or https:// URL".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a name or a password; give the token in --token-file".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must end with the path: leave out what is behind ? or #".to_owned());
    }
    Ok(url)
}

fn flags(spec: &Spec) -> impl Iterator<Item = Flag> {
    spec.flags.iter().chain(COMMON_FLAGS).copied()
}

fn help(spec: &Spec) -> String {
    let Spec { name, about, operand, .. } = spec;
    let mut text = format!(
        "switchyard-bridge {name}: {about}\n\nusage: switchyard-bridge {name} {operand} --to URL [flags]\n\n"
    );
    for flag in flags(spec) {
        let name = format!("--{} {}", flag.name, flag.value);
        text.push_str(&format!("  {name:<20} {}\n", flag.help));
    }
    text.push_str(
        "\nexit status: 0 done; 1 it does not build, or is not there; 2 refused; 3 no answer in time; \
         64 wrong command line",
    );
    text
}

#[cfg(test)]
mod tests;
