//! The command line. All that is wrong with it is reported together.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use reqwest::Url;
use reqwest::header::HeaderValue;

use self::specs::{Flag, SPECS, Spec, flags, help};
use super::remove::Removal;
use switchyard_contract::project::ProjectName;
use switchyard_program::suggest::did_you_mean;

mod access;
mod specs;

/// What is to be done, and where.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) action: Action,
    /// `None` for a `--dry-run` that asks no bridge.
    pub(super) to: Option<Url>,
    /// `Bearer …`, marked so that no debug output shows it.
    pub(super) authorization: Option<HeaderValue>,
    pub(super) json: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    Deploy(Deploy),
    Status(Option<ProjectName>),
    Rollback { project: ProjectName, version: Option<String> },
    Remove(Removal),
    Logs { project: ProjectName, lines: Option<u32>, follow: bool },
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Deploy {
    pub(super) folder: PathBuf,
    pub(super) what: What,
    pub(super) message: Option<String>,
    pub(super) keep: bool,
    pub(super) wait: bool,
    /// Show what would be sent, and send nothing.
    pub(super) dry_run: bool,
    /// Send `node_modules` also where the routers install packages.
    pub(super) send_packages: bool,
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
        let hint = did_you_mean(&name.to_string_lossy(), &names);
        return Err(vec![format!("{name:?} is not a command; there are {}{hint}", names.join(", "))]);
    };
    let mut values = Values { spec, given: BTreeMap::new(), operand: None, problems: Vec::new() };
    if values.read(args) {
        return Ok(Parsed::Print(help(spec)));
    }
    let action = values.action();
    let needs_no_bridge = values.is_set("dry-run") && !values.names_bridge(&env);
    let to = (!needs_no_bridge).then(|| values.to(&env));
    let authorization = values.authorization(&env);
    let json = values.is_set("json");
    match action {
        Some(action) if values.problems.is_empty() => {
            Ok(Parsed::Run(Box::new(Command { action, to: to.flatten(), authorization, json })))
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
        let near = flags(self.spec).max_by_key(|flag| alike(flag.name, name));
        let near = near.filter(|flag| alike(flag.name, name) >= flag.name.len().min(3));
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
            "remove" => {
                let (delete_data, yes) = (self.is_set("delete-data"), self.is_set("yes"));
                Action::Remove(Removal { project: self.required_project()?, delete_data, yes })
            }
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
        let (dry_run, send_packages) = (self.is_set("dry-run"), self.is_set("send-packages"));
        let folder = self.required("the folder to deploy")?.into();
        Some(Deploy { folder, what, message, keep, wait, dry_run, send_packages })
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
}

/// How many letters two names have in common at their beginning.
fn alike(one: &str, other: &str) -> usize {
    one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests;
