//! What tells whether two versions of a project may use the same packages: the files that name dependencies.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// In the project's directory.
const FILES: [&str; 9] = [
    "deno.json",
    "deno.jsonc",
    "deno.lock",
    "package.json",
    "package-lock.json",
    "pnpm-lock.yaml",
    "yarn.lock",
    "bun.lock",
    ".npmrc",
];

/// What is said in deno.json and package.json of dependencies that are files, or that other files name.
const ELSEWHERE: [&str; 6] = ["\"importMap\"", "\"workspace", "\"links\"", "\"patch\"", "\"file:", "\"link:"];

/// Of one file. A lock of ten thousand packages has a tenth of it.
const MAX_FILE: u64 = 64 << 20;

/// Differs where dependencies may differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key(String);

impl Key {
    /// Of the version in `checkout`, shown as `short`, which is all of it or `!is_alone`: what lies beside it may name
    /// dependencies too.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn of(checkout: &Path, short: &str, is_alone: bool) -> io::Result<Self> {
        let mut hash = Sha256::new();
        for name in FILES {
            let Some(text) = read(&checkout.join(name))? else { continue };
            hash.update(name);
            hash.update([0]);
            hash.update(text.len().to_le_bytes());
            hash.update(&text);
            if matches!(name, "deno.json" | "deno.jsonc" | "package.json") {
                let text = String::from_utf8_lossy(&text);
                if ELSEWHERE.iter().any(|word| text.contains(word)) {
                    hash.update(short);
                }
            }
        }
        if !is_alone {
            hash.update(short);
        }
        let digits = hash.finalize();
        Ok(Self(digits.iter().take(8).map(|byte| format!("{byte:02x}")).collect()))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether its package.json names packages.
pub(crate) fn has_dependencies(checkout: &Path) -> bool {
    let text = read(&checkout.join("package.json")).ok().flatten();
    let package = text.and_then(|text| serde_json::from_slice::<Value>(&text).ok()).unwrap_or_default();
    let names_any =
        |field| package.get(field).and_then(Value::as_object).is_some_and(|named| !named.is_empty());
    ["dependencies", "devDependencies", "optionalDependencies"].into_iter().any(names_any)
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut text)?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(files: &[(&str, &str)], short: &str) -> Key {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        Key::of(dir.path(), short, true).unwrap()
    }

    #[test]
    fn it_differs_with_what_names_dependencies_and_with_nothing_else() {
        let package = ("package.json", r#"{"dependencies": {"a": "1"}}"#);
        let one = key(&[package, ("main.ts", "1")], "1");
        assert_eq!(one, key(&[package, ("main.ts", "2")], "2"));
        assert_ne!(one, key(&[package, ("deno.lock", "{}")], "1"));
        assert_ne!(one, key(&[("package.json", "{}")], "1"));
    }

    #[test]
    fn dependencies_that_are_files_are_the_versions_own() {
        let package = ("package.json", r#"{"dependencies": {"a": "file:./a"}}"#);
        assert_ne!(key(&[package], "1"), key(&[package], "2"));
    }

    #[test]
    fn those_of_what_lies_beside_it_too() {
        let dir = tempfile::tempdir().unwrap();
        let key = |short| Key::of(dir.path(), short, false).unwrap();
        assert_ne!(key("1"), key("2"));
    }

    #[test]
    fn dependencies_of_any_kind_count() {
        let dir = tempfile::tempdir().unwrap();
        let with = |text: &str| {
            std::fs::write(dir.path().join("package.json"), text).unwrap();
            has_dependencies(dir.path())
        };
        assert!(!has_dependencies(dir.path()) && !with("{}") && !with("no JSON"));
        assert!(!with(r#"{"dependencies": {}}"#) && with(r#"{"devDependencies": {"a": "1"}}"#));
    }
}
