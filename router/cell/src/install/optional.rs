//! Optional packages: one that cannot be had is left out, as npm does, where Deno's resolver gives
//! up. It is taken out of the registry's word on the packages that would have it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use serde_json::{Map, Value};

/// How an error begins to name the package that it is about.
const BEFORE_NAME: [&str; 3] = ["npm package '", "npm package \"", "for package \""];

/// Bytes of the registry's word on one package.
const MAX_LIST: u64 = 256 << 20;

/// The package that an error is about, when it is optional to another one that the registry was
/// asked for.
pub(super) fn unavailable(error: &str, folder: &Path) -> Option<String> {
    // One that is there and is not what it should be.
    if error.contains("checksum") {
        return None;
    }
    let name = name_in(error)?;
    let is_optional = |list: &Value| has_optional(list, name);
    find_list(folder, name, is_optional).map(|_| name.to_owned())
}

fn name_in(error: &str) -> Option<&str> {
    let rest = BEFORE_NAME.iter().find_map(|before| error.split_once(before)).map(|(_, rest)| rest)?;
    let named = rest.split(['\'', '"']).next()?;
    let end = named.rfind('@').filter(|at| *at > 0).unwrap_or(named.len());
    Some(&named[..end]).filter(|name| !name.is_empty())
}

/// The package, of those that the registry was asked for, that depends on `name`.
pub(super) fn dependent(name: &str, folder: &Path) -> Option<String> {
    let list = find_list(folder, name, |list| depends_on(list, name))?;
    list["name"].as_str().map(str::to_owned)
}

/// Returns the registry's word on a package that has `name` in it and is `wanted`.
fn find_list(folder: &Path, name: &str, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
    let mut folders = vec![folder.join("npm")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder {
                folders.push(entry.path());
            } else if entry.file_name() == "registry.json" {
                let mut text = String::new();
                let read =
                    File::open(entry.path()).and_then(|file| file.take(MAX_LIST).read_to_string(&mut text));
                let list = read.is_ok() && text.contains(name);
                let list = list.then(|| serde_json::from_str(&text).ok()).flatten();
                if let Some(list) = list.filter(&wanted) {
                    return Some(list);
                }
            }
        }
    }
    None
}

fn depends_on(list: &Value, name: &str) -> bool {
    let alias = format!("npm:{name}");
    let mut versions = list["versions"].as_object().into_iter().flatten();
    versions.any(|(_, version)| {
        let fields = ["dependencies", "optionalDependencies", "peerDependencies"];
        let mut named = fields.iter().filter_map(|field| version[field].as_object()).flatten();
        named.any(|(key, value)| {
            let value = value.as_str().and_then(|value| value.strip_prefix(&alias));
            key == name || value.is_some_and(|rest| rest.is_empty() || rest.starts_with('@'))
        })
    })
}

fn has_optional(list: &Value, name: &str) -> bool {
    let versions = list["versions"].as_object().into_iter().flatten();
    versions.into_iter().any(|(_, version)| version["optionalDependencies"].get(name).is_some())
}

/// The registry's word on a package without the optional ones of these names.
pub(super) fn without(list: Vec<u8>, names: &BTreeSet<String>) -> Vec<u8> {
    if names.is_empty() {
        return list;
    }
    let Ok(mut parsed) = serde_json::from_slice::<Value>(&list) else { return list };
    let versions = parsed.get_mut("versions").and_then(Value::as_object_mut);
    let mut is_other = false;
    for version in versions.into_iter().flat_map(Map::values_mut) {
        for name in names {
            is_other |= take_out(version, name);
        }
    }
    if is_other { serde_json::to_vec(&parsed).unwrap_or(list) } else { list }
}

fn take_out(version: &mut Value, name: &str) -> bool {
    let mut take = |field: &str| {
        let named = version.get_mut(field).and_then(Value::as_object_mut);
        named.is_some_and(|named| named.remove(name).is_some())
    };
    let is_there = take("optionalDependencies");
    // Registries name them a second time among all others.
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
        let list = json!({"versions": {
            "1.0.0": version(json!({"a": "1"}), json!({"a": "1", "b": "1"})),
            "2.0.0": version(json!({}), json!({"a": "1"})),
        }});
        let names = ["a".to_owned()].into();
        let left = without(list.to_string().into_bytes(), &names);
        let left: Value = serde_json::from_slice(&left).unwrap();
        assert_eq!(left["versions"]["1.0.0"], version(json!({}), json!({"b": "1"})));
        assert_eq!(left["versions"]["2.0.0"], list["versions"]["2.0.0"]);
        assert!(has_optional(&list, "a") && !has_optional(&list, "b"));
        assert!(depends_on(&list, "b") && !depends_on(&list, "c"));
        let list = json!({"versions": {"1.0.0": version(json!({}), json!({"a": "npm:c@1"}))}});
        assert!(depends_on(&list, "c") && !depends_on(&list, "b"));
    }
}
