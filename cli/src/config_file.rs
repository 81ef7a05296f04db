//! `switchyard.toml`: settings of the servers, and targets of the client commands.
//!
//! The keys of `[router]`, `[bridge]`, `[serve]` and `[dev]` are the commands' flags with `_` for `-`.
//! A flag wins over its variable, that over the file, and that over the default.

#[cfg(feature = "server")]
mod schema;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command};
use switchyard_contract::settings_file::read_text;
use switchyard_contract::suggest::did_you_mean;
use switchyard_program::position::line_and_column;
use switchyard_program::settings::{FileValue, FileValues, Problem};
use toml::de::{DeTable, DeValue};

#[cfg(feature = "server")]
pub(crate) use self::schema::schema;

/// The file's name in a folder of configuration.
pub(crate) const FILE: &str = "switchyard.toml";

/// The file of the machine, below that of the user.
const OF_MACHINE: &str = "/etc/switchyard/switchyard.toml";

/// The variable that names the file, as `--config` does.
const VARIABLE: &str = "SWITCHYARD_CONFIG";

/// The key of the target that is used where none is named.
pub(crate) const DEFAULT_TARGET: &str = "default_target";

/// The commands that have a table.
const SERVERS: [&str; 4] = ["router", "bridge", "serve", "dev"];

/// The keys of a target. The first one is required.
const TARGET_KEYS: [&str; 2] = ["url", "token_file"];

/// The content of the files. What is in an earlier one wins.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ConfigFile {
    servers: BTreeMap<String, FileValues>,
    pub(crate) targets: BTreeMap<String, Target>,
    pub(crate) default_target: Option<String>,
}

/// A bridge that client commands talk to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) url: FileValue,
    pub(crate) token_file: Option<FileValue>,
}

impl ConfigFile {
    /// Reads the file that the command line or a variable names, or else those of the user and of the
    /// machine, where they exist. `commands` is the definition of all commands.
    ///
    /// # Errors
    /// Everything that is wrong in them. A file that was named must exist.
    pub(crate) fn read(
        words: &[OsString],
        env: &impl Fn(&str) -> Option<OsString>,
        commands: &Command,
    ) -> Result<Self, Vec<Problem>> {
        let mut file = Self::default();
        if let Some(named) = named(words, env) {
            let text = read_text(&named).map_err(|error| {
                vec![Problem::flag("config", format!("cannot read {}: {error}", named.display()))]
            })?;
            file.add(&named, &text, commands)?;
            return Ok(file);
        }
        for path in [of_user(env), Some(PathBuf::from(OF_MACHINE))].into_iter().flatten() {
            match read_text(&path) {
                Ok(text) => file.add(&path, &text, commands)?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                // A folder that the user may not enter has nothing for the user.
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {}
                Err(error) => return Err(vec![Problem::new(path.display().to_string(), error.to_string())]),
            }
        }
        Ok(file)
    }

    /// The values for the flags of a server's command.
    pub(crate) fn of_server(&self, command: &str) -> FileValues {
        self.servers.get(command).cloned().unwrap_or_default()
    }

    /// The values for the flags of a client command with the target `name`, or the default one.
    ///
    /// # Errors
    /// There is no target of that name.
    pub(crate) fn of_target(&self, name: Option<&str>) -> Result<FileValues, Problem> {
        let Some(name) = name.or(self.default_target.as_deref()) else { return Ok(FileValues::new()) };
        let Some(target) = self.targets.get(name) else {
            let known: Vec<_> = self.targets.keys().map(String::as_str).collect();
            let known_text = if known.is_empty() { "there is none".to_owned() } else { known.join(", ") };
            let message = format!(
                "unknown target {name:?}{} (targets: {known_text}); switchyard target add {name} URL makes it",
                did_you_mean(name, &known)
            );
            return Err(Problem::flag("target", message));
        };
        let mut values = FileValues::from([("to".to_owned(), target.url.clone())]);
        values.extend(target.token_file.clone().map(|file| ("token-file".to_owned(), file)));
        Ok(values)
    }

    fn add(&mut self, path: &Path, text: &str, commands: &Command) -> Result<(), Vec<Problem>> {
        let mut reader = Reader { path, text, problems: Vec::new() };
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            reader
                .problem(error.span().unwrap_or_default(), format_args!("invalid TOML: {}", error.message()));
        }
        if reader.problems.is_empty() {
            reader.document(document.get_ref(), self, commands);
        }
        if reader.problems.is_empty() { Ok(()) } else { Err(reader.problems) }
    }
}

/// Returns the file that users keep their settings in.
pub(crate) fn of_user(env: &impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name| env(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute());
    let folder = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(folder.join("switchyard").join(FILE))
}

/// Returns the file that `--config` or the variable names.
pub(crate) fn named(words: &[OsString], env: &impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let variable = || env(VARIABLE).filter(|value| !value.is_empty());
    flag(words, "config").or_else(variable).map(PathBuf::from)
}

/// Returns the last value of a flag, before `--`.
pub(crate) fn flag(words: &[OsString], name: &str) -> Option<OsString> {
    let (alone, joined) = (format!("--{name}"), format!("--{name}="));
    let words = words.split(|word| word == "--").next().unwrap_or_default();
    let value = |at: usize| match words[at].to_str()?.strip_prefix(&joined) {
        Some(value) => Some(OsString::from(value)),
        None => (words[at] == *OsStr::new(&alone)).then(|| words.get(at + 1).cloned()).flatten(),
    };
    (0..words.len()).rev().find_map(value)
}

/// The state of reading one file.
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn document(&mut self, document: &DeTable<'_>, to: &mut ConfigFile, commands: &Command) {
        for (key, value) in document.iter() {
            let (name, at) = (key.get_ref().as_ref(), key.span());
            match (name, value.get_ref()) {
                (DEFAULT_TARGET, DeValue::String(target)) => {
                    to.default_target.get_or_insert_with(|| target.to_string());
                }
                (DEFAULT_TARGET, _) => self.problem(at, "default_target must be the name of a target"),
                ("target", DeValue::Table(targets)) => self.targets(targets, to),
                (name, DeValue::Table(table)) if SERVERS.contains(&name) => {
                    if let Some(command) = commands.find_subcommand(name) {
                        let values = self.server(name, table, command);
                        let known = to.servers.entry(name.to_owned()).or_default();
                        values.into_iter().for_each(|(flag, value)| _ = known.entry(flag).or_insert(value));
                    }
                }
                (name, _) if name == "target" || SERVERS.contains(&name) => {
                    self.problem(at, format_args!("{name} must be a table, [{name}]"));
                }
                (name, _) => {
                    let known: Vec<_> = SERVERS.into_iter().chain(["target", DEFAULT_TARGET]).collect();
                    self.unknown(at, name, &known);
                }
            }
        }
    }

    fn targets(&mut self, targets: &DeTable<'_>, to: &mut ConfigFile) {
        for (key, value) in targets.iter() {
            let (name, at) = (key.get_ref().as_ref(), key.span());
            let Some(table) = value.get_ref().as_table() else {
                self.problem(at, format_args!("target.{name} must be a table, [target.{name}]"));
                continue;
            };
            let (mut url, mut token_file) = (None, None);
            for (key, value) in table.iter() {
                let at = key.span();
                match (key.get_ref().as_ref(), value.get_ref()) {
                    ("url", DeValue::String(text)) => url = Some(self.value(&at, vec![text.to_string()])),
                    ("token_file", DeValue::String(text)) => {
                        token_file = Some(self.value(&at, vec![self.beside(text)]));
                    }
                    (field @ ("url" | "token_file"), _) => {
                        self.problem(at, format_args!("{field} must be a string"))
                    }
                    (field, _) => self.unknown(at, field, &TARGET_KEYS),
                }
            }
            match url {
                Some(url) => _ = to.targets.entry(name.to_owned()).or_insert(Target { url, token_file }),
                None => self.problem(at, format_args!("target.{name} has no url")),
            }
        }
    }

    fn server(&mut self, name: &str, table: &DeTable<'_>, command: &Command) -> FileValues {
        let mut values = FileValues::new();
        let flags: Vec<_> = flags(command).collect();
        for (key, value) in table.iter() {
            let (field, at) = (key.get_ref().as_ref(), key.span());
            let flag = field.replace('_', "-");
            let Some((_, arg)) = flags.iter().find(|(name, _)| key_of(name) == field) else {
                let known: Vec<_> = flags.iter().map(|(name, _)| key_of(name)).collect();
                let known: Vec<_> = known.iter().map(String::as_str).collect();
                let hint = did_you_mean(field, &known);
                self.problem(at, format_args!("unknown key {field:?} in [{name}]{hint}; its keys are the flags of switchyard {name}, with _ for -"));
                continue;
            };
            let repeats = matches!(arg.get_action(), ArgAction::Append);
            let is_path = arg
                .get_value_names()
                .into_iter()
                .flatten()
                .any(|name| ["DIR", "FILE"].contains(&name.as_str()));
            let read = match value.get_ref() {
                DeValue::Array(array) if repeats => {
                    array.iter().map(|value| scalar(value.get_ref())).collect()
                }
                value => scalar(value).map(|value| vec![value]),
            };
            match read {
                Some(read) => {
                    let read =
                        if is_path { read.iter().map(|path| self.beside(path)).collect() } else { read };
                    values.insert(flag, self.value(&at, read));
                }
                None => {
                    let list = if repeats { " or a list of them" } else { "" };
                    self.problem(at, format_args!("{field} must be a string, a number, true or false{list}"));
                }
            }
        }
        values
    }

    /// A path that the file names: relative ones begin at the file's folder.
    fn beside(&self, path: &str) -> String {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        folder.join(path).to_string_lossy().into_owned()
    }

    fn value(&self, at: &Range<usize>, values: Vec<String>) -> FileValue {
        FileValue { values, origin: self.place(at.start) }
    }

    fn unknown(&mut self, at: Range<usize>, name: &str, known: &[&str]) {
        let hint = did_you_mean(name, known);
        self.problem(at, format_args!("unknown key {name:?}: expected one of {}{hint}", known.join(", ")));
    }

    fn problem(&mut self, at: Range<usize>, message: impl Display) {
        self.problems.push(Problem::new(self.place(at.start), message.to_string()));
    }

    /// `switchyard.toml:3:1`.
    fn place(&self, offset: usize) -> String {
        let (line, column) = line_and_column(self.text, offset);
        format!("{}:{line}:{column}", self.path.display())
    }
}

/// Returns the flags of a command that have a key, with their names.
fn flags(command: &Command) -> impl Iterator<Item = (&str, &Arg)> {
    let named = command.get_arguments().filter_map(|arg| Some((arg.get_long()?, arg)));
    named.filter(|(name, _)| *name != "help")
}

/// Returns the key of the flag with this name.
fn key_of(flag: &str) -> String {
    flag.replace('-', "_")
}

/// Returns the value as it stands on a command line.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(value) => Some(value.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands;

    fn read(text: &str) -> Result<ConfigFile, Vec<String>> {
        let mut file = ConfigFile::default();
        let read = file.add(Path::new("/etc/s.toml"), text, &commands::definition());
        read.map(|()| file).map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_target_has_a_url_and_a_token_beside_the_file() {
        let file =
            read("default_target = \"prod\"\n[target.prod]\nurl = \"https://h\"\ntoken_file = \"token\"")
                .unwrap();
        let values = file.of_target(None).unwrap();
        assert_eq!(values["to"].values, ["https://h"]);
        assert_eq!(values["token-file"].values, ["/etc/token"]);
        assert_eq!(values["to"].origin, "/etc/s.toml:3:1");
        let unknown = file.of_target(Some("prdo")).unwrap_err().to_string();
        assert!(unknown.contains("did you mean \"prod\"?"), "{unknown}");
        assert!(ConfigFile::default().of_target(None).unwrap().is_empty());
    }

    #[test]
    fn every_wrong_key_is_named_with_its_place_and_a_suggestion() {
        let text = "defualt_target = 'a'\ntarget = 1\n[target_x]\n";
        let problems = read(text).unwrap_err();
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(
            problems
                .iter()
                .any(|problem| problem.starts_with("/etc/s.toml:1:1: unknown key \"defualt_target\"")
                    && problem.contains("did you mean \"default_target\"?")),
            "{problems:?}"
        );
        let problems = read("[target.a]\nurll = 'http://h'\n[target.b]\nurl = 5").unwrap_err();
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert!(read("[target").unwrap_err()[0].contains("invalid TOML"));
    }

    #[cfg(feature = "server")]
    #[test]
    fn the_keys_of_a_server_are_its_flags() {
        let text =
            "[router]\nbuild_timeout = '5s'\nprojects = 'p'\ndev = true\nmax_cells = 5\ninspect = ['a', 'b']";
        let values = read(text).unwrap().of_server("router");
        assert_eq!(values["build-timeout"].values, ["5s"]);
        assert_eq!(values["projects"].values, ["/etc/p"]);
        assert_eq!((values["max-cells"].values[0].as_str(), values["dev"].values[0].as_str()), ("5", "true"));
        assert_eq!(values["inspect"].values, ["a", "b"]);
        let problems = read("[router]\nbuild_timout = '5s'\nbuild-timeout = 1\nprojects = []").unwrap_err();
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(
            problems[0].contains("did you mean \"build_timeout\"?") || problems[1].contains("did you mean")
        );
    }

    #[test]
    fn an_earlier_file_wins_key_by_key() {
        let mut file = read("[target.a]\nurl = 'http://first'").unwrap();
        let text = "[target.a]\nurl = 'http://second'\n[target.b]\nurl = 'http://b'";
        file.add(Path::new("/x"), text, &commands::definition()).unwrap();
        assert_eq!(file.of_target(Some("a")).unwrap()["to"].values, ["http://first"]);
        assert_eq!(file.of_target(Some("b")).unwrap()["to"].values, ["http://b"]);
    }

    #[test]
    fn the_last_flag_before_the_separator_counts() {
        let words = ["x", "--config", "a", "--config=b", "--", "--config=c"].map(OsString::from);
        assert_eq!(flag(&words, "config"), Some("b".into()));
        assert_eq!(flag(&words, "target"), None);
    }
}
