//! The file of sources as text: TOML, walked by hand, so that all faults are reported together.

use std::collections::HashMap;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::SourceSettings;
use super::values::Word;
use crate::git::GitUrl;
use switchyard_contract::suggest::did_you_mean;
use switchyard_program::position::line_and_column;
use switchyard_program::settings::InvalidSetting;
use switchyard_program::units::{PlainNumber, Size, Span};

const DAY: u64 = 24 * 60 * 60;

/// The state of reading one file.
pub(super) struct Reader<'t> {
    pub(super) file: &'t Path,
    text: &'t str,
    /// The folders below which repositories of this machine may be.
    local: &'t [PathBuf],
    /// The part of the file that is read: `source "shop"`.
    pub(super) subject: String,
    /// Projects and shared names by what makes them one, each with the part that has it.
    pub(super) claims: HashMap<String, Claim>,
    faults: Vec<(usize, String)>,
}

/// A name, and the part of the file that has it: `source "shop"`.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) name: String,
    pub(super) subject: String,
}

/// A table, with the path of its key and a dot: `webhook.`
pub(super) struct Table<'t> {
    pub(super) at: Range<usize>,
    prefix: String,
    table: &'t DeTable<'t>,
}

/// A value with the path of its key: `webhook.kind`
#[derive(Clone)]
pub(super) struct Field<'t> {
    pub(super) key: String,
    pub(super) value: &'t Spanned<DeValue<'t>>,
}

impl<'t> Reader<'t> {
    pub(super) fn new(file: &'t Path, text: &'t str, local: &'t [PathBuf]) -> Self {
        let (subject, claims, faults) = (String::new(), HashMap::new(), Vec::new());
        Self { file, text, local, subject, claims, faults }
    }

    /// Returns what `document` makes of the file.
    ///
    /// # Errors
    /// Every fault, in the file's order.
    pub(super) fn read(
        mut self,
        document: impl FnOnce(&mut Self, &Table<'_>) -> Vec<SourceSettings>,
    ) -> Result<Vec<SourceSettings>, Vec<InvalidSetting>> {
        let (root, errors) = DeTable::parse_recoverable(self.text);
        for error in errors {
            // The full text of the error shows the line, which may contain a secret.
            self.fault(error.span().unwrap_or_default(), "invalid TOML", error.message());
        }
        let mut sources = Vec::new();
        if self.faults.is_empty() {
            let root = Table { at: 0..0, prefix: String::new(), table: root.get_ref() };
            sources = document(&mut self, &root);
        }
        if self.faults.is_empty() {
            return Ok(sources);
        }
        self.faults.sort();
        let (file, text) = (self.file.display(), self.text);
        let shown = self.faults.iter().map(|(offset, fault)| {
            let (line, column) = line_and_column(text, *offset);
            InvalidSetting(format!("{file}:{line}:{column}: {fault}"))
        });
        Err(shown.collect())
    }

    /// Parses the URL of a repository. One on this machine must be in an allowed folder.
    pub(super) fn repository(&self, text: &str, insecure: bool) -> Result<GitUrl, String> {
        let url = GitUrl::parse(text, insecure).map_err(|error| error.to_string())?;
        let Some(path) = url.local_path() else { return Ok(url) };
        // One that is not there yet may be made later.
        let path = path.canonicalize().unwrap_or(path);
        let is_below = |folder: &PathBuf| folder.canonicalize().is_ok_and(|folder| path.starts_with(folder));
        if self.local.iter().any(is_below) {
            return Ok(url);
        }
        let folder = path.parent().unwrap_or(&path).display();
        Err(format!(
            "{} is in no folder that sources may use: start the bridge with --allow-local {folder}",
            path.display()
        ))
    }

    /// Reports the keys that are not in `keys`. A key is shown only if it is a misspelling: another
    /// one may be a misplaced secret.
    pub(super) fn known(&mut self, table: &Table<'_>, keys: &[&str]) {
        for (key, _) in table.table.iter() {
            let name = key.get_ref().as_ref();
            if keys.contains(&name) {
                continue;
            }
            let hint = did_you_mean(name, keys);
            let shown = if hint.is_empty() { String::new() } else { format!(" {name:?}") };
            let what = format!("unknown key{shown}: expected one of {}{hint}", keys.join(", "));
            self.fault(key.span(), table.prefix.trim_end_matches('.'), what);
        }
    }

    /// Returns the table that a field is, whose keys are among `keys`.
    pub(super) fn table<'f>(&mut self, field: &Field<'f>, keys: &[&str], shape: &str) -> Option<Table<'f>> {
        let Some(table) = field.value.get_ref().as_table() else {
            self.wrong(field, format!("must be {shape}"));
            return None;
        };
        let prefix = if field.key.is_empty() { String::new() } else { format!("{}.", field.key) };
        let table = Table { at: field.value.span(), prefix, table };
        self.known(&table, keys);
        Some(table)
    }

    /// Returns the values of a list.
    pub(super) fn list<'f>(&mut self, field: &Field<'f>, shape: &str) -> Vec<Field<'f>> {
        let Some(list) = field.value.get_ref().as_array() else {
            self.wrong(field, format!("must be {shape}"));
            return Vec::new();
        };
        list.iter().map(|value| Field { key: field.key.clone(), value }).collect()
    }

    pub(super) fn string<'f>(&mut self, field: &Field<'f>) -> Option<&'f str> {
        let text = field.value.get_ref().as_str();
        if text.is_none() {
            self.wrong(field, "must be a string");
        }
        text
    }

    pub(super) fn flag(&mut self, field: Option<Field<'_>>) -> bool {
        let Some(field) = field else { return false };
        field.value.get_ref().as_bool().unwrap_or_else(|| {
            self.wrong(&field, "must be true or false");
            false
        })
    }

    /// Returns what `parse` makes of a string.
    pub(super) fn parsed<'f, T, E: Display>(
        &mut self,
        field: &Field<'f>,
        parse: impl FnOnce(&'f str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.string(field)?;
        parse(text).map_err(|error| self.wrong(field, error)).ok()
    }

    pub(super) fn word<T: Word>(&mut self, field: Option<Field<'_>>, default: T) -> T {
        let Some(field) = field else { return default };
        let words: Vec<_> = T::WORDS.iter().map(|(word, _)| *word).collect();
        let given = field.value.get_ref().as_str().unwrap_or_default();
        let found = T::WORDS.iter().find(|(word, _)| *word == given);
        found.map_or_else(
            || {
                let hint = did_you_mean(given, &words);
                self.wrong(&field, format!("must be one of \"{}\"{hint}", words.join("\", \"")));
                default
            },
            |(_, value)| *value,
        )
    }

    /// Returns a time within `bounds`, which are in seconds; `shown` has them in words.
    pub(super) fn span(
        &mut self,
        field: Option<Field<'_>>,
        default: Span,
        (bounds, shown): (RangeInclusive<u64>, &str),
    ) -> Span {
        let Some(field) = field else { return default };
        match span(field.value.get_ref()) {
            Some(span) if is_within(span, &bounds) => span,
            Some(_) => {
                self.wrong(&field, format!("must be {shown}"));
                default
            }
            None => {
                self.wrong(
                    &field,
                    format!("must be a time with its unit, as in \"30s\", \"10m\" or \"7d\": {shown}"),
                );
                default
            }
        }
    }

    pub(super) fn size(&mut self, field: Option<Field<'_>>, default: Size, least: Size) -> Size {
        let Some(field) = field else { return default };
        let size = match field.value.get_ref() {
            DeValue::String(text) => text.parse::<Size>().ok(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse().ok().map(Size),
            _ => None,
        };
        match size {
            Some(size) if size >= least => size,
            Some(_) => {
                self.wrong(&field, format!("must be at least {least}"));
                default
            }
            None => {
                self.wrong(&field, "must be a size, as in \"500MiB\" or \"2GiB\"");
                default
            }
        }
    }

    pub(super) fn number(
        &mut self,
        field: Option<Field<'_>>,
        default: usize,
        bounds: RangeInclusive<usize>,
    ) -> usize {
        let Some(field) = field else { return default };
        let number = field.value.get_ref().as_integer().filter(|number| number.radix() == 10);
        let number = number.and_then(|number| number.as_str().parse().ok());
        number.filter(|number| bounds.contains(number)).unwrap_or_else(|| {
            self.wrong(&field, format!("must be a number from {} to {}", bounds.start(), bounds.end()));
            default
        })
    }

    /// Returns what `read` makes of a value that has to be there. `fix` is said where it is not.
    pub(super) fn required<'f, T>(
        &mut self,
        table: &Table<'f>,
        key: &str,
        fix: &str,
        read: impl FnOnce(&mut Self, &Field<'f>) -> Option<T>,
    ) -> Option<T> {
        let Some(field) = table.get(key) else {
            self.missing(table, key, fix);
            return None;
        };
        read(self, &field)
    }

    /// Reports a key that is not there.
    pub(super) fn missing(&mut self, table: &Table<'_>, key: &str, fix: &str) {
        let key = format!("{}{key}", table.prefix);
        self.fault(table.at.clone(), &key, format!("is missing: {fix}"));
    }

    /// Reports a wrong value.
    pub(super) fn wrong(&mut self, field: &Field<'_>, what: impl Display) {
        self.fault(field.value.span(), &field.key, what);
    }

    fn fault(&mut self, at: Range<usize>, key: &str, what: impl Display) {
        let parts = [self.subject.as_str(), key].into_iter().filter(|part| !part.is_empty());
        let before: String = parts.map(|part| format!("{part}: ")).collect();
        self.faults.push((at.start, format!("{before}{what}")));
    }
}

impl<'t> Table<'t> {
    pub(super) fn get(&self, name: &str) -> Option<Field<'t>> {
        let (_, value) = self.table.iter().find(|(key, _)| key.get_ref() == name)?;
        Some(Field { key: format!("{}{name}", self.prefix), value })
    }
}

/// Reads a time. A number is in seconds.
fn span(value: &DeValue<'_>) -> Option<Span> {
    match value {
        DeValue::String(text) => match text.strip_suffix('d').map(str::parse::<u32>) {
            Some(Ok(days)) => Some(Span(Duration::from_secs(u64::from(days) * DAY))),
            _ => Span::parse(text, PlainNumber::Invalid).ok(),
        },
        DeValue::Integer(number) if number.radix() == 10 => {
            number.as_str().parse().ok().map(|seconds| Span(Duration::from_secs(seconds)))
        }
        _ => None,
    }
}

fn is_within(Span(time): Span, seconds: &RangeInclusive<u64>) -> bool {
    (Duration::from_secs(*seconds.start())..=Duration::from_secs(*seconds.end())).contains(&time)
}
