//! A configuration file in JSON or TOML, with the positions of its keys.

use std::collections::HashMap;

use jsonc_parser::ast;
use serde_json::{Map, Value};
use toml::de::{DeTable, DeValue};

use switchyard_contract::event::Diagnostic;

use crate::config::{self, in_file};

/// The depth to which the positions of keys are recorded: `env.production.vars`.
const DEPTH: usize = 3;

pub(super) struct Document<'a> {
    pub(super) file: &'a str,
    text: &'a str,
    value: Map<String, Value>,
    /// The position of each key, by its path.
    offsets: HashMap<String, usize>,
}

impl<'a> Document<'a> {
    pub(super) fn parse(file: &'a str, text: &'a str) -> Result<Self, Diagnostic> {
        let mut document = Self { file, text, value: Map::new(), offsets: HashMap::new() };
        if file.ends_with(".toml") {
            document.parse_toml()?
        } else {
            document.parse_json()?
        }
        Ok(document)
    }

    fn parse_json(&mut self) -> Result<(), Diagnostic> {
        if let Value::Object(value) = config::parse(self.file, self.text)? {
            self.value = value;
        }
        let parsed = jsonc_parser::parse_to_ast(self.text, &Default::default(), &Default::default());
        if let Some(object) =
            parsed.ok().and_then(|parsed| parsed.value).as_ref().and_then(ast::Value::as_object)
        {
            json_keys("", object, DEPTH, &mut self.offsets);
        }
        Ok(())
    }

    fn parse_toml(&mut self) -> Result<(), Diagnostic> {
        let wrong = |error: toml::de::Error| {
            let message = format!("{} does not parse: {}", self.file, error.message());
            let at = error.span().map(|span| span.start);
            self.at(at, message)
        };
        let table = DeTable::parse(self.text).map_err(wrong)?;
        let mut offsets = HashMap::new();
        toml_keys("", table.get_ref(), DEPTH, &mut offsets);
        self.value = toml::from_str(self.text).map_err(wrong)?;
        self.offsets = offsets;
        Ok(())
    }

    /// The value with this path of keys.
    pub(super) fn get(&self, path: &str) -> Option<&Value> {
        let (first, rest) = path.split_once('.').unwrap_or((path, ""));
        let value = self.value.get(first)?;
        let below = rest.split('.').filter(|key| !key.is_empty());
        let found = below.into_iter().try_fold(value, |value, key| value.get(key))?;
        Some(found).filter(|value| !value.is_null())
    }

    /// The string with this path.
    pub(super) fn text(&self, path: &str) -> Result<Option<String>, Diagnostic> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        self.read(path, "must be a string", text)
    }

    /// Returns the value with this path, converted by `read`.
    pub(super) fn read<T>(
        &self,
        path: &str,
        fix: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, Diagnostic> {
        let Some(value) = self.get(path) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| self.wrong(path, fix))
    }

    /// Returns the error for the value with this path.
    pub(super) fn wrong(&self, path: &str, fix: &str) -> Diagnostic {
        self.at(self.offset(path), format!("\"{path}\" in {} {fix}", self.file))
    }

    /// Returns the position of the longest existing part of the path.
    fn offset(&self, path: &str) -> Option<usize> {
        let known = self.offsets.get(path).copied();
        known.or_else(|| self.offset(path.rsplit_once('.')?.0))
    }

    fn at(&self, offset: Option<usize>, message: String) -> Diagnostic {
        let before = offset.and_then(|offset| self.text.get(..offset));
        let line = before.map(|before| before.matches('\n').count() + 1);
        let column = before.map(|before| before.chars().rev().take_while(|c| *c != '\n').count() + 1);
        Diagnostic {
            line: line.and_then(|line| u32::try_from(line).ok()),
            column: column.and_then(|column| u32::try_from(column).ok()),
            ..in_file(self.file, message)
        }
    }
}

fn json_keys(above: &str, object: &ast::Object<'_>, depth: usize, offsets: &mut HashMap<String, usize>) {
    for property in &object.properties {
        let path = format!("{above}{}", property.name.as_str());
        if let (Some(inside), true) = (property.value.as_object(), depth > 1) {
            json_keys(&format!("{path}."), inside, depth - 1, offsets);
        }
        offsets.insert(path, property.range.start);
    }
}

fn toml_keys(above: &str, table: &DeTable<'_>, depth: usize, offsets: &mut HashMap<String, usize>) {
    for (key, value) in table {
        let path = format!("{above}{}", key.get_ref());
        if let (DeValue::Table(inside), true) = (value.get_ref(), depth > 1) {
            toml_keys(&format!("{path}."), inside, depth - 1, offsets);
        }
        offsets.insert(path, key.span().start);
    }
}

/// Resolves `path` from the folder `base`, relative to the project. `None`: it leads outside.
pub(super) fn join(base: &str, path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop()?,
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Returns `true` if a path ends in the name of a configuration.
pub(super) fn is_named_as_configuration(path: &str) -> bool {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    super::FILES.contains(&name)
}

/// Returns the strings of a list; `None`: the value is no list, or has something else in it.
pub(super) fn strings(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}
