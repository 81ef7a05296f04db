//! The dependencies that package.json and deno.json name, as far as they have to be known before
//! packages are fetched.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde_json::Value;
use switchyard_detect::config::parse;
use switchyard_detect::entry::{CONFIG_FILES, PACKAGE_FILE};

/// Maximum size of a file in bytes. The lock file of ten thousand packages has a tenth of it.
const MAX_FILE: u64 = 64 << 20;

/// Maximum number of folders of a version that are searched for manifests of a workspace.
const MAX_FOLDERS: usize = 10_000;

/// Maximum depth of nested conditions in the `imports` of package.json.
const MAX_CONDITIONS: usize = 8;

/// The file in which pnpm lists the members of a workspace.
pub(super) const PNPM_WORKSPACE: &str = "pnpm-workspace.yaml";

/// An alias for files of the project: `@/` for `./src/`, `#lib/*` for `./lib/*.js`.
#[derive(Debug)]
pub(super) struct ImportAlias {
    key: String,
    target: String,
}

impl ImportAlias {
    /// Returns the path, relative to the project, that `name` stands for, if the alias matches it.
    pub(super) fn target(&self, name: &str) -> Option<String> {
        if let Some((before, after)) = self.key.split_once('*') {
            let part = name.strip_prefix(before)?.strip_suffix(after)?;
            return Some(self.target.replacen('*', part, 1));
        }
        if self.key.ends_with('/') {
            return Some(format!("{}{}", self.target, name.strip_prefix(&self.key)?));
        }
        (name == self.key).then(|| self.target.clone())
    }
}

/// Returns the aliases for files of the project in `checkout`.
pub(super) fn aliases(checkout: &Path) -> Vec<ImportAlias> {
    let package = package(checkout);
    let configurations = [config(checkout), import_map(checkout)];
    let maps = configurations.iter().map(|config| &config["imports"]).chain([&package["imports"]]);
    let entries = maps.filter_map(Value::as_object).flatten();
    entries.flat_map(|(key, value)| targets(key, value, MAX_CONDITIONS)).collect()
}

fn targets(key: &str, value: &Value, depth: usize) -> Vec<ImportAlias> {
    match value {
        Value::String(target) if target.starts_with('.') => {
            vec![ImportAlias { key: key.to_owned(), target: target.clone() }]
        }
        Value::Object(conditions) if depth > 0 => {
            conditions.values().flat_map(|value| targets(key, value, depth - 1)).collect()
        }
        _ => Vec::new(),
    }
}

/// Returns `true` if the project in `checkout` names packages or modules that it needs for serving,
/// or members of a workspace.
pub(crate) fn has_dependencies(checkout: &Path) -> bool {
    let package = package(checkout);
    let is_named = |field| package[field].as_object().is_some_and(|named| !named.is_empty());
    let config = config(checkout);
    ["dependencies", "optionalDependencies", "peerDependencies"].into_iter().any(is_named)
        || [&package["workspaces"], &config["workspace"]].iter().any(|members| !members.is_null())
        || checkout.join(PNPM_WORKSPACE).exists()
        || [config, import_map(checkout)].iter().any(maps_elsewhere)
}

/// Returns the names of the project's development dependencies.
pub(crate) fn dev_dependencies(checkout: &Path) -> BTreeSet<String> {
    let package = package(checkout);
    package["devDependencies"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
}

/// Returns `true` if an import map leads to packages, or to modules that are imported by URL.
fn maps_elsewhere(map: &Value) -> bool {
    let scopes = map["scopes"].as_object().into_iter().flatten().map(|(_, imports)| imports);
    let targets = [&map["imports"]].into_iter().chain(scopes).filter_map(Value::as_object).flatten();
    let schemes = ["npm:", "jsr:", "http:", "https:", "catalog:"];
    let is_elsewhere = |target: &str| schemes.iter().any(|scheme| target.starts_with(scheme));
    targets.filter_map(|(_, target)| target.as_str()).any(is_elsewhere)
}

fn package(checkout: &Path) -> Value {
    let text = read(&checkout.join(PACKAGE_FILE)).ok().flatten();
    text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

fn config(checkout: &Path) -> Value {
    let found = CONFIG_FILES.into_iter().find_map(|file| Some((file, read(&checkout.join(file)).ok()??)));
    let parsed = found.and_then(|(file, text)| parse(file, &String::from_utf8_lossy(&text)).ok());
    parsed.unwrap_or_default()
}

/// Returns the path of the project's import map, if that is not deno.json itself.
pub(super) fn import_map_path(checkout: &Path) -> Option<PathBuf> {
    let config = config(checkout);
    let path = config["importMap"].as_str().filter(|path| !path.contains(':'))?;
    Some(checkout.join(path))
}

fn import_map(checkout: &Path) -> Value {
    let text = import_map_path(checkout).and_then(|path| read(&path).ok().flatten());
    let parsed = text.and_then(|text| parse(CONFIG_FILES[0], &String::from_utf8_lossy(&text)).ok());
    parsed.unwrap_or_default()
}

/// Returns the manifests of all members that a workspace in `root` may have, sorted by path.
pub(super) fn all(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    let mut left = MAX_FOLDERS;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            let name = entry.file_name();
            if kind.is_dir() && name != "node_modules" && left > 0 {
                left -= 1;
                folders.push(entry.path());
            } else if kind.is_file()
                && ["deno.json", "deno.jsonc", PACKAGE_FILE, PNPM_WORKSPACE].iter().any(|it| name == *it)
            {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

/// Returns the content of a file, or `None` if there is no such file.
///
/// # Errors
/// The file cannot be read.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
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

    fn with(files: &[(&str, &str)], check: impl Fn(&Path) -> bool) -> bool {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        check(dir.path())
    }

    #[test]
    fn dependencies_that_are_needed_for_serving_count() {
        let package = |text: &str| with(&[("package.json", text)], has_dependencies);
        assert!(!package("{}") && !package("no JSON") && !package(r#"{"dependencies": {}}"#));
        assert!(!package(r#"{"devDependencies": {"a": "1"}}"#));
        for field in ["dependencies", "optionalDependencies", "peerDependencies"] {
            assert!(package(&format!("{{\"{field}\": {{\"a\": \"1\"}}}}")), "{field}");
        }
        assert!(
            package(r#"{"workspaces": ["a"]}"#) && with(&[("pnpm-workspace.yaml", "")], has_dependencies)
        );
    }

    #[test]
    fn import_maps_count_when_they_lead_out_of_the_project() {
        let deno = |text: &str| with(&[("deno.jsonc", text)], has_dependencies);
        assert!(!deno("{}") && !deno(r#"{"imports": {"@/": "./src/"}}"#));
        assert!(deno(r#"{"imports": {"a": "npm:a@1"}} // comment"#));
        assert!(deno(r#"{"scopes": {"./x/": {"a": "https://a/b.ts"}}}"#));
        let map = [
            ("deno.json", r#"{"importMap": "./map.json"}"#),
            ("map.json", r#"{"imports": {"a": "jsr:@a/a"}}"#),
        ];
        assert!(with(&map, has_dependencies));
    }

    #[test]
    fn names_of_development_dependencies_are_known() {
        let package = [("package.json", r#"{"devDependencies": {"a": "1", "@b/c": "2"}}"#)];
        assert!(with(&package, |dir| dev_dependencies(dir) == ["a".to_owned(), "@b/c".to_owned()].into()));
    }
}
