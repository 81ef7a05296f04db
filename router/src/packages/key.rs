//! The key of a version's dependencies: a hash of the files that name them. Versions with equal
//! keys may use the same packages.

use std::fmt;
use std::io;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::manifests;

/// Files in the project's directory that name dependencies.
const FILES: [&str; 10] = [
    "deno.json",
    "deno.jsonc",
    "deno.lock",
    "package.json",
    "package-lock.json",
    "pnpm-lock.yaml",
    "yarn.lock",
    "bun.lock",
    ".npmrc",
    manifests::PNPM_WORKSPACE,
];

/// Words in manifests that name members of a workspace, or dependencies that are folders of the
/// project. The manifests of these are part of the key, too.
const MEMBERS: [&str; 4] = ["\"workspace", "\"file:", "\"link:", "packages:"];

/// Words in manifests for dependencies with copied files, which may differ in each version.
const COPIED: [&str; 2] = ["\"links\"", "\"patch\""];

/// The key of a version's dependencies, which differs if they may differ. Hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DependencyKey(String);

impl DependencyKey {
    /// Returns the key of the version with its project in `checkout`, and all of its files below
    /// `root`. `short` are the digits of its digest. Blocking.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn of(checkout: &Path, root: &Path, short: &str) -> io::Result<Self> {
        let mut hash = Sha256::new();
        let mut texts = String::new();
        for name in FILES {
            let Some(text) = manifests::read(&checkout.join(name))? else { continue };
            add(&mut hash, name, &text);
            if !name.contains("lock") {
                texts.push_str(&String::from_utf8_lossy(&text));
            }
        }
        if let Some(path) = manifests::import_map_path(checkout) {
            add(&mut hash, "importMap", &manifests::read(&path)?.unwrap_or_default());
        }
        let has_any = |words: &[&str]| words.iter().any(|word| texts.contains(word));
        if root != checkout || has_any(&MEMBERS) {
            for path in manifests::all(root) {
                let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
                add(&mut hash, &name, &manifests::read(&path)?.unwrap_or_default());
            }
        }
        if has_any(&COPIED) {
            hash.update(short);
        }
        let digits = hash.finalize();
        Ok(Self(digits.iter().take(8).map(|byte| format!("{byte:02x}")).collect()))
    }
}

fn add(hash: &mut Sha256, name: &str, text: &[u8]) {
    hash.update(name);
    hash.update([0]);
    hash.update(text.len().to_le_bytes());
    hash.update(text);
}

impl fmt::Display for DependencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(files: &[(&str, &str)], short: &str) -> DependencyKey {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        DependencyKey::of(dir.path(), dir.path(), short).unwrap()
    }

    #[test]
    fn a_key_differs_with_the_files_that_name_dependencies_and_with_no_others() {
        let package = ("package.json", r#"{"dependencies": {"a": "1"}}"#);
        let one = key(&[package, ("main.ts", "1")], "1");
        assert_eq!(one, key(&[package, ("main.ts", "2")], "2"));
        assert_ne!(one, key(&[package, ("deno.lock", "{}")], "1"));
        assert_ne!(one, key(&[("package.json", "{}")], "1"));
    }

    #[test]
    fn members_count_with_their_manifests_alone() {
        let workspaces = [r#"{"workspaces": ["b"]}"#, r#"{"dependencies": {"b": "file:./b"}}"#];
        for package in workspaces.map(|text| ("package.json", text)) {
            let one = key(&[package, ("b/package.json", "{}"), ("b/main.ts", "1")], "1");
            assert_eq!(one, key(&[package, ("b/package.json", "{}"), ("b/main.ts", "2")], "2"));
            assert_ne!(one, key(&[package, ("b/package.json", r#"{"dependencies": {}}"#)], "1"));
        }
    }

    #[test]
    fn an_import_map_that_deno_json_names_counts() {
        let deno = ("deno.json", r#"{"importMap": "./map.json"}"#);
        assert_ne!(key(&[deno, ("map.json", "{}")], "1"), key(&[deno, ("map.json", "{ }")], "1"));
    }

    #[test]
    fn copied_dependencies_belong_to_one_version() {
        let deno = ("deno.json", r#"{"links": ["./a"]}"#);
        assert_ne!(key(&[deno], "1"), key(&[deno], "2"));
    }

    #[test]
    fn manifests_beside_the_project_count_when_it_includes_others() {
        let dir = tempfile::tempdir().unwrap();
        let (root, project) = (dir.path(), dir.path().join("a"));
        std::fs::create_dir(&project).unwrap();
        let key = |root| DependencyKey::of(&project, root, "1").unwrap();
        let (alone, with) = (key(&project), key(root));
        std::fs::write(root.join("package.json"), "{}").unwrap();
        assert_eq!(alone, key(&project));
        assert_ne!(with, key(root));
    }
}
