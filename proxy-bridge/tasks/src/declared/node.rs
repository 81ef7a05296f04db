//! Values of configuration files with their places: one form for JSON and YAML.

use std::sync::Arc;

use serde_json::{Map, Number, Value};

/// A position in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The path relative to the project.
    pub(super) file: Arc<str>,
    /// From 1; 0: unknown.
    pub(super) line: u32,
    /// From 1, in characters; 0: unknown.
    pub(super) column: u32,
}

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) place: Place,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file.
    Map(Vec<Pair>),
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pair {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) value: Node,
}

impl Place {
    /// The beginning of a file.
    pub(super) fn whole(file: &str) -> Self {
        Self { file: file.into(), line: 0, column: 0 }
    }
}

impl Node {
    pub(super) fn map(&self) -> Option<&[Pair]> {
        match &self.kind {
            Kind::Map(pairs) => Some(pairs),
            _ => None,
        }
    }

    pub(super) fn list(&self) -> Option<&[Node]> {
        match &self.kind {
            Kind::List(nodes) => Some(nodes),
            _ => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn flag(&self) -> Option<bool> {
        match self.kind {
            Kind::Bool(flag) => Some(flag),
            _ => None,
        }
    }

    /// The pair with this key, unless its value is null.
    pub(super) fn pair(&self, key: &str) -> Option<&Pair> {
        self.map()?.iter().find(|pair| pair.key == key && pair.value.kind != Kind::Null)
    }

    /// The value of this key, unless it is null.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.pair(key).map(|pair| &pair.value)
    }

    /// Returns true if it is neither a list nor a map.
    pub(super) fn is_scalar(&self) -> bool {
        !matches!(self.kind, Kind::List(_) | Kind::Map(_))
    }

    pub(super) fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(flag) => Value::Bool(*flag),
            Kind::Number(number) => Value::Number(number.clone()),
            Kind::Text(text) => Value::String(text.clone()),
            Kind::List(nodes) => nodes.iter().map(Self::to_json).collect(),
            Kind::Map(pairs) => {
                Value::Object(pairs.iter().map(|pair| (pair.key.clone(), pair.value.to_json())).collect())
            }
        }
    }

    /// Puts a pair, in place of one with its key.
    pub(super) fn put(&mut self, pair: Pair) {
        let Kind::Map(pairs) = &mut self.kind else { return };
        match pairs.iter_mut().find(|old| old.key == pair.key) {
            Some(old) => *old = pair,
            None => pairs.push(pair),
        }
    }

    /// Removes a pair.
    pub(super) fn remove(&mut self, key: &str) {
        if let Kind::Map(pairs) = &mut self.kind {
            pairs.retain(|pair| pair.key != key);
        }
    }

    /// An empty map.
    pub(super) fn empty(place: Place) -> Self {
        Self { kind: Kind::Map(Vec::new()), place }
    }
}

/// Makes an object of these fields.
pub(super) fn object<'n>(pairs: impl Iterator<Item = &'n Pair>) -> Map<String, Value> {
    pairs.map(|pair| (pair.key.clone(), pair.value.to_json())).collect()
}
