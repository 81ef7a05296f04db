//! The policy's file: TOML, walked by hand, so that all that is wrong with it is named at once.

use std::fmt::Display;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use jiff::SignedDuration;
use switchyard_contract::project::ProjectName;
use switchyard_contract::route::Route;
use switchyard_contract::settings_file::read_text;
use switchyard_edge::routes::{Assignments, Owner, Pattern};
use switchyard_program::position::line_and_column;
use switchyard_program::suggest::did_you_mean;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Policy;
use super::allowed::Allowed;
use super::extent::Extent;
use super::limits::{Kind, LIMITS};
use super::net::Target;
use super::resolve::{CLOSED_SYS, SYS_KINDS};
use super::variable::{check_name, check_value, is_reserved};
use super::{paths, secret};

/// Reads `file` over `base`. `state` is the router's own folder.
///
/// # Errors
/// All that is wrong.
pub(super) fn read(file: &Path, base: Policy, state: &Path) -> Result<Policy, Vec<String>> {
    let text =
        read_text(file).map_err(|error| vec![format!("{} cannot be read: {error}", file.display())])?;
    let mut reader = Reader { file, text: &text, state, problems: Vec::new() };
    let (document, errors) = DeTable::parse_recoverable(&text);
    for error in errors {
        // Its text shows the line, where a secret may be.
        reader.problem(error.span().unwrap_or_default(), "no TOML", error.message());
    }
    if reader.problems.is_empty() {
        let policy = reader.policy(document.get_ref(), base);
        if reader.problems.is_empty() {
            return Ok(policy);
        }
    }
    Err(reader.problems)
}

struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    state: &'a Path,
    problems: Vec<String>,
}

/// A value, and what it is called: `projects.blog.limits.memory`.
struct Entry<'a> {
    key: String,
    at: Range<usize>,
    value: &'a DeValue<'a>,
}

/// What is wrong with a value, and what would be right.
type Checked<T> = Result<T, String>;

impl Reader<'_> {
    fn policy(&mut self, document: &DeTable<'_>, mut policy: Policy) -> Policy {
        let entries = || entries("", document);
        self.known(entries(), &["defaults", "projects", "shared_hosts"]);
        let mut assignments = Assignments::default();
        for (_, entry) in entries().filter(|(name, _)| *name == "shared_hosts") {
            let mut hosts = Vec::new();
            self.set(&mut hosts, &entry, |value| list(value, host));
            self.give(hosts, (&entry.key, entry.at), &Owner::Shared, &mut assignments);
        }
        // The defaults first, wherever they stand: projects begin with them.
        for (_, entry) in entries().filter(|(name, _)| *name == "defaults") {
            self.layer(&entry, &mut policy.defaults);
            if matches!(&policy.defaults.routes, Extent::Only(given) if !given.is_empty()) {
                policy.defaults.routes = Extent::All;
                let fix = "must be true or false: give a route to one project ([projects.NAME] routes)";
                self.problem(entry.at, &format!("{}.routes", entry.key), fix);
            }
        }
        for (_, entry) in entries().filter(|(name, _)| *name == "projects") {
            for (name, entry) in self.table(&entry) {
                let mut allowed = policy.defaults.clone();
                self.layer(&entry, &mut allowed);
                match ProjectName::parse(name) {
                    Ok(name) => {
                        if let Extent::Only(given) = &allowed.routes {
                            let (owner, key) =
                                (Owner::Project(name.clone()), format!("{}.routes", entry.key));
                            self.give(given.clone(), (&key, entry.at.clone()), &owner, &mut assignments);
                        }
                        policy.projects.insert(name, allowed);
                    }
                    Err(error) => self.problem(entry.at, &entry.key, error),
                }
            }
        }
        policy.assignments = Arc::new(assignments);
        policy
    }

    /// Gives routes to `owner`, none of which may be somebody else's.
    fn give(
        &mut self,
        given: Vec<Pattern>,
        (key, at): (&str, Range<usize>),
        owner: &Owner,
        to: &mut Assignments,
    ) {
        for pattern in given {
            let shown = pattern.to_string();
            let other = match to.assign(pattern, owner.clone()) {
                Ok(()) => continue,
                Err(Owner::Project(other)) => format!("projects.{other}.routes"),
                Err(Owner::Shared) => "shared_hosts".to_owned(),
            };
            self.problem(at.clone(), key, format!("{other} gives {shown:?} too: leave it in one of them"));
        }
    }

    fn layer(&mut self, layer: &Entry<'_>, allowed: &mut Allowed) {
        let parts = self.table(layer);
        for (name, entry) in parts {
            match name {
                "permissions" => self.permissions(&entry, allowed),
                "limits" => self.limits(&entry, allowed),
                "env" => self.env(&entry, allowed),
                "routes" => self.set(&mut allowed.routes, &entry, |value| extent(value, parsed)),
                _ => self.unknown(&entry, &["permissions", "limits", "env", "routes"]),
            }
        }
    }

    fn permissions(&mut self, entry: &Entry<'_>, allowed: &mut Allowed) {
        const KNOWN: [&str; 6] = ["read", "write", "net", "private_net", "sys", "env"];
        let state = self.state;
        for (name, entry) in self.table(entry) {
            match name {
                "read" => {
                    self.set(&mut allowed.read, &entry, |value| list(value, |text| paths::check(text, state)))
                }
                "write" => self
                    .set(&mut allowed.write, &entry, |value| list(value, |text| paths::check(text, state))),
                "net" => self.set(&mut allowed.net, &entry, |value| extent(value, public)),
                "private_net" => self.set(&mut allowed.private_net, &entry, |value| list(value, parsed)),
                "sys" => self.set(&mut allowed.sys, &entry, |value| list(value, kind)),
                "env" => self.set(&mut allowed.own_env, &entry, |value| extent(value, parsed)),
                _ => self.unknown(&entry, &KNOWN),
            }
        }
    }

    fn limits(&mut self, entry: &Entry<'_>, allowed: &mut Allowed) {
        for (name, entry) in self.table(entry) {
            let Some(limit) = LIMITS.iter().find(|limit| limit.name == name) else {
                let known: Vec<_> = LIMITS.iter().map(|limit| limit.name).collect();
                self.unknown(&entry, &known);
                continue;
            };
            let read = match limit.kind {
                Kind::Size => size(entry.value),
                Kind::Time => millis(entry.value),
                Kind::Count => count(entry.value),
            };
            match read.and_then(|value| limit.check(value, &shown(entry.value)).map(|()| value)) {
                Ok(value) => (limit.set)(allowed, value),
                Err(error) => self.problem(entry.at, &entry.key, error),
            }
        }
    }

    fn env(&mut self, entry: &Entry<'_>, allowed: &mut Allowed) {
        for (name, entry) in self.table(entry) {
            let checked = check_name(name).and_then(|()| match is_reserved(name) {
                true => Err("is reserved: the router, Deno or the C library takes it for its own".to_owned()),
                false => self.variable(entry.value),
            });
            match checked {
                Ok(Some(value)) => {
                    allowed.env.insert(name.to_owned(), value);
                }
                Ok(None) => {
                    allowed.env.remove(name);
                }
                Err(error) => self.problem(entry.at, &entry.key, error),
            }
        }
    }

    /// The value, or `None` when it is taken away. Never says what a value is.
    fn variable(&self, value: &DeValue<'_>) -> Checked<Option<String>> {
        let shape = "must be a string, { from_file = \"PATH\" }, or false to take a default away";
        match value {
            DeValue::String(text) => {
                check_value(text)?;
                Ok(Some(text.to_string()))
            }
            DeValue::Boolean(false) => Ok(None),
            DeValue::Table(table) => {
                let mut fields = table.iter().map(|(key, value)| (key.get_ref().as_ref(), value.get_ref()));
                let (Some(("from_file", DeValue::String(file))), None) = (fields.next(), fields.next())
                else {
                    return Err(shape.to_owned());
                };
                let folder = self.file.parent().unwrap_or(Path::new(""));
                secret::read(&folder.join(PathBuf::from(file.as_ref()))).map(Some)
            }
            _ => Err(shape.to_owned()),
        }
    }

    /// Takes what `read` makes of an entry.
    fn set<T>(
        &mut self,
        target: &mut T,
        entry: &Entry<'_>,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, Vec<String>>,
    ) {
        match read(entry.value) {
            Ok(value) => *target = value,
            Err(errors) => {
                for error in errors {
                    self.problem(entry.at.clone(), &entry.key, error);
                }
            }
        }
    }

    fn table<'a>(&mut self, entry: &Entry<'a>) -> Vec<(&'a str, Entry<'a>)> {
        if let Some(table) = entry.value.as_table() {
            return entries(&entry.key, table).collect();
        }
        self.problem(entry.at.clone(), &entry.key, format!("must be a table, [{}]", entry.key));
        Vec::new()
    }

    fn known<'a>(&mut self, entries: impl Iterator<Item = (&'a str, Entry<'a>)>, known: &[&str]) {
        for (_, entry) in entries.filter(|(name, _)| !known.contains(name)) {
            self.unknown(&entry, known);
        }
    }

    fn unknown(&mut self, entry: &Entry<'_>, known: &[&str]) {
        let name = entry.key.rsplit('.').next().unwrap_or_default();
        let hint = did_you_mean(name, known);
        let what = format!("unknown key; there are {}{hint}", known.join(", "));
        self.problem(entry.at.clone(), &entry.key, what);
    }

    fn problem(&mut self, at: Range<usize>, key: &str, what: impl Display) {
        let (line, column) = line_and_column(self.text, at.start);
        self.problems.push(format!("{}:{line}:{column}: {key}: {what}", self.file.display()));
    }
}

fn entries<'a>(key: &str, table: &'a DeTable<'a>) -> impl Iterator<Item = (&'a str, Entry<'a>)> {
    table.iter().map(move |(name, value): (&Spanned<_>, &Spanned<_>)| {
        let name: &'a str = name.get_ref();
        let key = if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
        (name, Entry { key, at: value.span(), value: value.get_ref() })
    })
}

/// Every entry of a list that is wrong is named.
fn list<T>(value: &DeValue<'_>, entry: impl Fn(&str) -> Checked<T>) -> Result<Vec<T>, Vec<String>> {
    let shape = || "must be a list of strings".to_owned();
    let Some(array) = value.as_array() else { return Err(vec![shape()]) };
    let (mut some, mut wrong) = (Vec::new(), Vec::new());
    for value in array.iter() {
        match value.get_ref().as_str().ok_or_else(shape).and_then(&entry) {
            Ok(value) => some.push(value),
            Err(error) => wrong.push(error),
        }
    }
    if wrong.is_empty() { Ok(some) } else { Err(wrong) }
}

fn extent<T>(value: &DeValue<'_>, entry: impl Fn(&str) -> Checked<T>) -> Result<Extent<T>, Vec<String>> {
    match value {
        DeValue::Boolean(all) => Ok((*all).into()),
        DeValue::Array(_) => list(value, entry).map(Extent::Only),
        _ => Err(vec!["must be true, false or a list of strings".to_owned()]),
    }
}

fn parsed<T: FromStr<Err: Display>>(text: &str) -> Checked<T> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn host(text: &str) -> Checked<Pattern> {
    match parsed(text)? {
        Pattern::One(Route::Prefix(_)) => Err(format!("{text:?} is not a host (\"apps.example.com\")")),
        pattern => Ok(pattern),
    }
}

fn public(text: &str) -> Checked<Target> {
    let target: Target = parsed(text)?;
    if target.is_private() {
        return Err(format!("{text:?} is not public: write its address in private_net"));
    }
    Ok(target)
}

fn kind(text: &str) -> Checked<String> {
    if CLOSED_SYS.contains(&text) {
        return Err(format!("{text:?} cannot be granted: it is closed to every cell, so take it out"));
    }
    if SYS_KINDS.contains(&text) {
        return Ok(text.to_owned());
    }
    let open = SYS_KINDS.into_iter().filter(|kind| !CLOSED_SYS.contains(kind));
    Err(format!("{text:?} is none of {}", open.collect::<Vec<_>>().join(", ")))
}

fn size(value: &DeValue<'_>) -> Checked<u64> {
    let wrong = || format!("{} is no size: write 256MB, 1GiB or a number of bytes", shown(value));
    match value {
        DeValue::String(text) => text.parse::<ByteSize>().map(|size| size.as_u64()).map_err(|_| wrong()),
        _ => count(value).map_err(|_| wrong()),
    }
}

fn millis(value: &DeValue<'_>) -> Checked<u64> {
    let time = value.as_str().and_then(|text| text.parse::<SignedDuration>().ok());
    let millis = time.and_then(|time| Duration::try_from(time).ok()).map(|time| time.as_millis());
    millis
        .and_then(|millis| u64::try_from(millis).ok())
        .ok_or_else(|| format!("{} is no time: write \"30s\" or \"500ms\"", shown(value)))
}

fn count(value: &DeValue<'_>) -> Checked<u64> {
    let number = value.as_integer();
    let number = number.and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok());
    number.ok_or_else(|| format!("{} is no whole number", shown(value)))
}

/// As somebody has written it, roughly.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(value) => value.to_string(),
        other => format!("this {}", other.type_str()),
    }
}
