//! The policy's file: TOML, walked by hand, so that all faults are reported together.

use std::fmt::Display;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use switchyard_contract::project::ProjectName;
use switchyard_contract::route::Route;
use switchyard_contract::settings_file::read_text;
use switchyard_contract::suggest::did_you_mean;
use switchyard_edge::routes::{Assignments, Owner, Pattern};
use switchyard_program::position::line_and_column;
use switchyard_program::units::{PlainNumber, Size, Span};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Policy;
use super::allow_list::AllowList;
use super::allowance::Allowance;
use super::error::{InvalidValue, PolicyError};
use super::host::HostPattern;
use super::limits::{LIMITS, Unit};
use super::sys::{CLOSED_SYS, SYS_KINDS};
use super::variable::{check_name, check_value, is_reserved};
use super::{paths, secret};

/// Reads `file` over `base`. `state` is the router's own folder.
///
/// # Errors
/// Every fault of the file.
pub(super) fn read(file: &Path, base: Policy, state: &Path) -> Result<Policy, Vec<PolicyError>> {
    let unreadable = |error: std::io::Error| {
        vec![PolicyError::Unreadable { file: file.to_owned(), error: error.to_string() }]
    };
    let text = read_text(file).map_err(unreadable)?;
    let line_ends = text.match_indices('\n').map(|(at, _)| at).collect();
    let mut reader = PolicyReader { file, text: &text, line_ends, state, problems: Vec::new() };
    let (document, errors) = DeTable::parse_recoverable(&text);
    for error in errors {
        // The full text of the error shows the line, which may contain a secret.
        reader.problem(error.span().unwrap_or_default(), "invalid TOML", error.message());
    }
    if reader.problems.is_empty() {
        let policy = reader.policy(document.get_ref(), base);
        if reader.problems.is_empty() {
            return Ok(policy);
        }
    }
    Err(reader.problems)
}

/// The state of reading one file.
struct PolicyReader<'a> {
    file: &'a Path,
    text: &'a str,
    line_ends: Vec<usize>,
    state: &'a Path,
    problems: Vec<PolicyError>,
}

/// A value with the path of its key: `projects.blog.limits.memory`.
struct Field<'a> {
    key: String,
    at: Range<usize>,
    value: &'a DeValue<'a>,
}

impl PolicyReader<'_> {
    fn policy(&mut self, document: &DeTable<'_>, mut policy: Policy) -> Policy {
        let entries = || entries("", document);
        self.known(entries(), &["defaults", "projects", "shared_hosts"]);
        let mut assignments = Assignments::default();
        for (_, entry) in entries().filter(|(name, _)| *name == "shared_hosts") {
            let mut hosts = Vec::new();
            self.set(&mut hosts, &entry, |value| list(value, host));
            self.give(hosts, (&entry.key, entry.at), &Owner::Shared, &mut assignments);
        }
        // The defaults first, wherever the file has them: projects start from them.
        for (_, entry) in entries().filter(|(name, _)| *name == "defaults") {
            self.layer(&entry, &mut policy.defaults);
            if matches!(&policy.defaults.routes, AllowList::Only(given) if !given.is_empty()) {
                policy.defaults.routes = AllowList::All;
                let fix = "must be true or false: give a route to one project ([projects.NAME] routes)";
                self.problem(entry.at, &format!("{}.routes", entry.key), fix);
            }
        }
        for (_, entry) in entries().filter(|(name, _)| *name == "projects") {
            for (name, entry) in self.table(&entry) {
                let mut allowance = policy.defaults.clone();
                self.layer(&entry, &mut allowance);
                match ProjectName::parse(name) {
                    Ok(name) => {
                        if let AllowList::Only(given) = &allowance.routes {
                            let (owner, key) =
                                (Owner::Project(name.clone()), format!("{}.routes", entry.key));
                            self.give(given.clone(), (&key, entry.at.clone()), &owner, &mut assignments);
                        }
                        policy.projects.insert(name, allowance);
                    }
                    Err(error) => self.problem(entry.at, &entry.key, error),
                }
            }
        }
        policy.assignments = Arc::new(assignments);
        policy.file = Some(self.file.to_owned());
        policy
    }

    /// Assigns routes to `owner`. Each may have one owner only.
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
            self.problem(at.clone(), key, format!("{other} assigns {shown:?} too: keep it in one of them"));
        }
    }

    fn layer(&mut self, layer: &Field<'_>, allowance: &mut Allowance) {
        let parts = self.table(layer);
        for (name, entry) in parts {
            match name {
                "permissions" => self.permissions(&entry, allowance),
                "limits" => self.limits(&entry, allowance),
                "env" => self.env(&entry, allowance),
                "routes" => self.set(&mut allowance.routes, &entry, |value| allow_list(value, parsed)),
                _ => self.unknown(&entry, &["permissions", "limits", "env", "routes"]),
            }
        }
        let settings = layer.value.as_table().into_iter().flat_map(|table| entries("", table));
        for (_, entry) in settings {
            match entry.value.as_table() {
                Some(table) => allowance.lines.extend(entries(&entry.key, table).map(|one| self.line(one.1))),
                None => allowance.lines.extend([self.line(entry)]),
            }
        }
    }

    fn line(&self, entry: Field<'_>) -> (String, u32) {
        let line = self.line_ends.partition_point(|end| *end < entry.at.start) + 1;
        (entry.key, u32::try_from(line).unwrap_or(u32::MAX))
    }

    fn permissions(&mut self, entry: &Field<'_>, allowance: &mut Allowance) {
        const KNOWN: [&str; 6] = ["read", "write", "net", "private_net", "sys", "env"];
        let state = self.state;
        for (name, entry) in self.table(entry) {
            match name {
                "read" => self
                    .set(&mut allowance.read, &entry, |value| list(value, |text| paths::check(text, state))),
                "write" => self
                    .set(&mut allowance.write, &entry, |value| list(value, |text| paths::check(text, state))),
                "net" => self.set(&mut allowance.net, &entry, |value| allow_list(value, public)),
                "private_net" => self.set(&mut allowance.private_net, &entry, |value| list(value, parsed)),
                "sys" => self.set(&mut allowance.sys, &entry, |value| list(value, kind)),
                "env" => self.set(&mut allowance.own_env, &entry, |value| allow_list(value, parsed)),
                _ => self.unknown(&entry, &KNOWN),
            }
        }
    }

    fn limits(&mut self, entry: &Field<'_>, allowance: &mut Allowance) {
        for (name, entry) in self.table(entry) {
            let Some(limit) = LIMITS.iter().find(|limit| limit.name == name) else {
                let known: Vec<_> = LIMITS.iter().map(|limit| limit.name).collect();
                self.unknown(&entry, &known);
                continue;
            };
            let read = match limit.unit {
                Unit::Size => size(entry.value),
                Unit::Time => millis(entry.value),
                Unit::Count => count(entry.value),
                Unit::Flag => flag(entry.value),
            };
            match read.and_then(|value| limit.check(value, &shown(entry.value)).map(|()| value)) {
                Ok(value) => (limit.set)(allowance, value),
                Err(error) => self.problem(entry.at, &entry.key, error),
            }
        }
    }

    fn env(&mut self, entry: &Field<'_>, allowance: &mut Allowance) {
        for (name, entry) in self.table(entry) {
            let checked = check_name(name).and_then(|()| match is_reserved(name) {
                true => Err(InvalidValue::new("is reserved for the router, Deno or the C library")),
                false => self.variable(entry.value),
            });
            match checked {
                Ok(Some(value)) => {
                    allowance.env.insert(name.to_owned(), value);
                }
                Ok(None) => {
                    allowance.env.remove(name);
                }
                Err(error) => self.problem(entry.at, &entry.key, error),
            }
        }
    }

    /// Returns the value, or `None` if the variable is removed. Errors never show a value.
    fn variable(&self, value: &DeValue<'_>) -> Result<Option<String>, InvalidValue> {
        let shape = "must be a string, { from_file = \"PATH\" }, or false to remove a default";
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
                    return Err(InvalidValue::new(shape));
                };
                let folder = self.file.parent().unwrap_or(Path::new(""));
                secret::read(&folder.join(PathBuf::from(file.as_ref()))).map(Some)
            }
            _ => Err(InvalidValue::new(shape)),
        }
    }

    /// Sets `target` to the result of `read`, or reports its errors.
    fn set<T>(
        &mut self,
        target: &mut T,
        entry: &Field<'_>,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, Vec<InvalidValue>>,
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

    fn table<'a>(&mut self, entry: &Field<'a>) -> Vec<(&'a str, Field<'a>)> {
        if let Some(table) = entry.value.as_table() {
            return entries(&entry.key, table).collect();
        }
        self.problem(entry.at.clone(), &entry.key, format!("must be a table, [{}]", entry.key));
        Vec::new()
    }

    fn known<'a>(&mut self, entries: impl Iterator<Item = (&'a str, Field<'a>)>, known: &[&str]) {
        for (_, entry) in entries.filter(|(name, _)| !known.contains(name)) {
            self.unknown(&entry, known);
        }
    }

    fn unknown(&mut self, entry: &Field<'_>, known: &[&str]) {
        let name = entry.key.rsplit('.').next().unwrap_or_default();
        let hint = did_you_mean(name, known);
        let what = format!("unknown key: expected one of {}{hint}", known.join(", "));
        self.problem(entry.at.clone(), &entry.key, what);
    }

    fn problem(&mut self, at: Range<usize>, key: &str, what: impl Display) {
        let (line, column) = line_and_column(self.text, at.start);
        let (file, key) = (self.file.to_owned(), key.to_owned());
        self.problems.push(PolicyError::Invalid { file, line, column, key, reason: what.to_string() });
    }
}

fn entries<'a>(key: &str, table: &'a DeTable<'a>) -> impl Iterator<Item = (&'a str, Field<'a>)> {
    table.iter().map(move |(name, value): (&Spanned<_>, &Spanned<_>)| {
        let name: &'a str = name.get_ref();
        let key = if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
        (name, Field { key, at: value.span(), value: value.get_ref() })
    })
}

/// Reads a list of strings.
///
/// # Errors
/// One error for each invalid entry.
fn list<T>(
    value: &DeValue<'_>,
    entry: impl Fn(&str) -> Result<T, InvalidValue>,
) -> Result<Vec<T>, Vec<InvalidValue>> {
    let shape = || InvalidValue::new("must be a list of strings");
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

fn allow_list<T>(
    value: &DeValue<'_>,
    entry: impl Fn(&str) -> Result<T, InvalidValue>,
) -> Result<AllowList<T>, Vec<InvalidValue>> {
    match value {
        DeValue::Boolean(all) => Ok((*all).into()),
        DeValue::Array(_) => list(value, entry).map(AllowList::Only),
        _ => Err(vec![InvalidValue::new("must be true, false or a list of strings")]),
    }
}

fn parsed<T: FromStr<Err: Display>>(text: &str) -> Result<T, InvalidValue> {
    text.parse().map_err(InvalidValue::new)
}

fn host(text: &str) -> Result<Pattern, InvalidValue> {
    match parsed(text)? {
        Pattern::One(Route::Prefix(_)) => {
            let reason = format!("invalid host {text:?}: expected a host (\"apps.example.com\")");
            Err(InvalidValue::new(reason))
        }
        pattern => Ok(pattern),
    }
}

fn public(text: &str) -> Result<HostPattern, InvalidValue> {
    let target: HostPattern = parsed(text)?;
    if target.is_private() {
        return Err(InvalidValue::new(format_args!(
            "{text:?} is not public: move its address to private_net"
        )));
    }
    Ok(target)
}

fn kind(text: &str) -> Result<String, InvalidValue> {
    if CLOSED_SYS.contains(&text) {
        return Err(InvalidValue::new(format_args!(
            "{text:?} cannot be granted: remove it, no cell can use it"
        )));
    }
    if SYS_KINDS.contains(&text) {
        return Ok(text.to_owned());
    }
    let open = SYS_KINDS.into_iter().filter(|kind| !CLOSED_SYS.contains(kind));
    let open = open.collect::<Vec<_>>().join(", ");
    Err(InvalidValue::new(format_args!("invalid kind {text:?}: expected one of {open}")))
}

fn size(value: &DeValue<'_>) -> Result<u64, InvalidValue> {
    let invalid = || {
        let shown = shown(value);
        InvalidValue::new(format_args!("invalid size {shown}: expected 256MB, 1GiB or a number of bytes"))
    };
    match value {
        DeValue::String(text) => text.parse().map(|Size(bytes)| bytes).map_err(|_| invalid()),
        _ => count(value).map_err(|_| invalid()),
    }
}

fn millis(value: &DeValue<'_>) -> Result<u64, InvalidValue> {
    let time = value.as_str().and_then(|text| Span::parse(text, PlainNumber::Invalid).ok());
    time.and_then(|Span(time)| u64::try_from(time.as_millis()).ok()).ok_or_else(|| {
        let shown = shown(value);
        InvalidValue::new(format_args!("invalid time {shown}: expected \"30s\" or \"500ms\""))
    })
}

fn count(value: &DeValue<'_>) -> Result<u64, InvalidValue> {
    let number = value.as_integer();
    let number = number.and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok());
    number.ok_or_else(|| {
        InvalidValue::new(format_args!("invalid number {}: expected a whole number", shown(value)))
    })
}

fn flag(value: &DeValue<'_>) -> Result<u64, InvalidValue> {
    let is_set = value.as_bool().map(u64::from);
    is_set.ok_or_else(|| InvalidValue::new(format_args!("invalid {}: expected true or false", shown(value))))
}

/// Returns a value roughly as the file spells it.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(value) => value.to_string(),
        other => format!("this {}", other.type_str()),
    }
}
