//! Optional packages: an unavailable one is left out, as npm does, where Deno's resolver fails. It
//! is removed from the registry's documents of the packages that depend on it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use serde_json::{Map, Value};

/// The text in front of the package's name in an error.
const BEFORE_NAME: [&str; 3] = ["npm package '", "npm package \"", "for package \""];

/// Bytes of the registry's document of one package that are read.
const MAX_DOCUMENT: u64 = 256 << 20;

/// Returns the package that an error is about, if it is an optional dependency of a requested
/// package.
pub(super) fn unavailable(error: &str, folder: &Path) -> Option<String> {
    // A damaged package is not unavailable.
    if error.contains("checksum") {
        return None;
    }
    let name = name_in(error)?;
    let is_optional = |document: &Value| has_optional(document, name);
    find_document(folder, name, is_optional).map(|_| name.to_owned())
}

fn name_in(error: &str) -> Option<&str> {
    let rest = BEFORE_NAME.iter().find_map(|before| error.split_once(before)).map(|(_, rest)| rest)?;
    let named = rest.split(['\'', '"']).next()?;
    let end = named.rfind('@').filter(|at| *at > 0).unwrap_or(named.len());
    Some(&named[..end]).filter(|name| !name.is_empty())
}

/// Returns a requested package that depends on `name`.
pub(super) fn dependent(name: &str, folder: &Path) -> Option<String> {
    let document = find_document(folder, name, |document| depends_on(document, name))?;
    document["name"].as_str().map(str::to_owned)
}

/// Returns a document of the registry that contains `name` and satisfies `wanted`.
fn find_document(folder: &Path, name: &str, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
    let mut folders = vec![folder.join("npm")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder {
                folders.push(entry.path());
            } else if entry.file_name() == "registry.json" {
                let mut text = String::new();
                let read = File::open(entry.path())
                    .and_then(|file| file.take(MAX_DOCUMENT).read_to_string(&mut text));
                let document = read.is_ok() && text.contains(name);
                let document = document.then(|| serde_json::from_str(&text).ok()).flatten();
                if let Some(document) = document.filter(&wanted) {
                    return Some(document);
                }
            }
        }
    }
    None
}

fn depends_on(document: &Value, name: &str) -> bool {
    let alias = format!("npm:{name}");
    let mut versions = document["versions"].as_object().into_iter().flatten();
    versions.any(|(_, version)| {
        let fields = ["dependencies", "optionalDependencies", "peerDependencies"];
        let mut named = fields.iter().filter_map(|field| version[field].as_object()).flatten();
        named.any(|(key, value)| {
            let value = value.as_str().and_then(|value| value.strip_prefix(&alias));
            key == name || value.is_some_and(|rest| rest.is_empty() || rest.starts_with('@'))
        })
    })
}

fn has_optional(document: &Value, name: &str) -> bool {
    let versions = document["versions"].as_object().into_iter().flatten();
    versions.into_iter().any(|(_, version)| version["optionalDependencies"].get(name).is_some())
}

/// Removes the optional dependencies of these names from a document of the registry.
pub(super) fn without(document: Vec<u8>, names: &BTreeSet<String>) -> Vec<u8> {
    if names.is_empty() {
        return document;
    }
    let Ok(mut parsed) = serde_json::from_slice::<Value>(&document) else { return document };
    let versions = parsed.get_mut("versions").and_then(Value::as_object_mut);
    let mut is_changed = false;
    for version in versions.into_iter().flat_map(Map::values_mut) {
        for name in names {
            is_changed |= remove_optional(version, name);
        }
    }
    if is_changed { serde_json::to_vec(&parsed).unwrap_or(document) } else { document }
}

fn remove_optional(version: &mut Value, name: &str) -> bool {
    let mut take = |field: &str| {
        let named = version.get_mut(field).and_then(Value::as_object_mut);
        named.is_some_and(|named| named.remove(name).is_some())
    };
    let is_there = take("optionalDependencies");
    // Registries repeat optional dependencies among all dependencies.
    if is_there {
        take("dependencies");
    }
    is_there
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_package_is_known_by_the_error() {
        for (error, name) in [
            ("npm package 'a' does not exist.", "a"),
            ("Could not find npm package '@b/c' matching '^1'.", "@b/c"),
            ("Failed caching npm package '@b/c@1.0.0'", "@b/c"),
            ("Failed loading http://r/d for package \"d\"", "d"),
        ] {
            assert_eq!(name_in(error), Some(name));
        }
        assert_eq!(name_in("no such file"), None);
    }

    #[test]
    fn what_is_optional_goes_and_what_is_needed_stays() {
        let version =
            |optional: Value, all: Value| json!({"optionalDependencies": optional, "dependencies": all});
        let document = json!({"versions": {
            "1.0.0": version(json!({"a": "1"}), json!({"a": "1", "b": "1"})),
            "2.0.0": version(json!({}), json!({"a": "1"})),
        }});
        let names = ["a".to_owned()].into();
        let left = without(document.to_string().into_bytes(), &names);
        let left: Value = serde_json::from_slice(&left).unwrap();
        assert_eq!(left["versions"]["1.0.0"], version(json!({}), json!({"b": "1"})));
        assert_eq!(left["versions"]["2.0.0"], document["versions"]["2.0.0"]);
        assert!(has_optional(&document, "a") && !has_optional(&document, "b"));
        assert!(depends_on(&document, "b") && !depends_on(&document, "c"));
        let document = json!({"versions": {"1.0.0": version(json!({}), json!({"a": "npm:c@1"}))}});
        assert!(depends_on(&document, "c") && !depends_on(&document, "b"));
    }
}
