//! The field `switchyard.include` of a configuration: the files and folders beside a project that are
//! part of its versions.

use std::path::{Path, PathBuf};

use serde_json::Value;
use switchyard_contract::digest;
use switchyard_contract::event::Diagnostic;

use crate::config::in_file;

/// Entries of one project. Each is walked and watched separately; a project with more of them should
/// include their folder.
const MAX_ENTRIES: usize = 100;

const FIELD: &str = "switchyard.include";

/// A folder or a file: `../` and a plain path below the projects root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Include(String);

/// Reads the field's `value` in the configuration `file`. Each entry comes once.
///
/// # Errors
/// The value is not a list, or an entry cannot lie beside the project.
pub fn read_list(file: &str, value: &Value) -> Result<Vec<Include>, Diagnostic> {
    let shape = || {
        let fix = "must be a list of folders and files beside the project (\"../shared\", \"../deno.json\")";
        in_file(file, format!("\"{FIELD}\" in {file} {fix}"))
    };
    let listed = value.as_array().ok_or_else(shape)?;
    if listed.len() > MAX_ENTRIES {
        let message =
            format!("\"{FIELD}\" in {file} has too many entries: at most {MAX_ENTRIES} are possible");
        return Err(in_file(file, message));
    }
    let mut entries = Vec::new();
    for entry in listed {
        let text = entry.as_str().ok_or_else(shape)?;
        let include = Include::parse(text).map_err(|why| entry_diagnostic(file, text, why))?;
        if !entries.contains(&include) {
            entries.push(include);
        }
    }
    Ok(entries)
}

/// Returns the diagnostic for the invalid entry `text` in the configuration `file`.
pub fn entry_diagnostic(file: &str, text: &str, why: &str) -> Diagnostic {
    in_file(file, format!("\"{FIELD}\" in {file} names {text:?}, which {why}"))
}

impl Include {
    /// Reads an entry.
    ///
    /// # Errors
    /// The entry cannot lie beside the project. The text completes "names \"…\", which …".
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let begins =
            "does not begin with \"../\": name a folder or a file beside the project, such as \"../shared\"";
        let below = text.strip_prefix("../").ok_or(begins)?;
        let below = below.strip_suffix('/').unwrap_or(below);
        if below.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err("is not a plain path below the projects root: name a path such as \"../shared\"");
        }
        // Covers the bridge's folder, a router's default folder and tokens for registries.
        if below.starts_with('.') {
            return Err("is hidden: rename it, or remove the entry");
        }
        if !digest::is_counted(below) || digest::check_path(below).is_err() {
            return Err(
                "is never part of a version (history, packages, temporary files of editors): remove the entry",
            );
        }
        Ok(Self(format!("../{below}")))
    }

    /// Returns the path relative to the project.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the path relative to the projects root, with `/` between its parts.
    pub fn below_root(&self) -> &Path {
        Path::new(&self.0[3..])
    }

    /// Returns the entry of the projects root that holds it: a project, unless that is a file or begins
    /// with `_`.
    pub fn owner(&self) -> &str {
        let below = &self.0[3..];
        below.split_once('/').map_or(below, |(owner, _)| owner)
    }

    /// Returns the folders that may hold its packages, relative to the project: in the folder, or beside
    /// the file.
    pub fn packages(&self) -> [PathBuf; 2] {
        let path = Path::new(&self.0);
        [path.join("node_modules"), path.with_file_name("node_modules")]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<Vec<String>, Diagnostic> {
        let included = read_list("deno.json", &value)?;
        Ok(included.iter().map(|include| include.as_str().to_owned()).collect())
    }

    #[test]
    fn folders_and_files_beside_the_project_are_named_once_each() {
        let named = read(json!(["../shared/", "../deno.json", "../shared", "../libs/a b", "../_x"])).unwrap();
        assert_eq!(named, ["../shared", "../deno.json", "../libs/a b", "../_x"]);
    }

    #[test]
    fn a_path_that_cannot_lie_beside_the_project_is_reported_with_file_and_field() {
        for (entry, why) in [
            ("/etc", "does not begin"),
            ("shared", "does not begin"),
            ("./lib", "does not begin"),
            ("..", "does not begin"),
            ("../", "is not a plain path"),
            ("../..", "is not a plain path"),
            ("../../shared", "is not a plain path"),
            ("../a/../b", "is not a plain path"),
            ("..//a", "is not a plain path"),
            ("../.switchyard-bridge/records", "is hidden"),
            ("../.env", "is hidden"),
            ("../node_modules", "is never part"),
            ("../shared/.git", "is never part"),
            ("../a\nb", "is never part"),
        ] {
            let error = read(json!([entry])).unwrap_err();
            assert_eq!(error.file.as_deref(), Some("deno.json"));
            let begin = format!("\"switchyard.include\" in deno.json names {entry:?}, which {why}");
            assert!(error.message.starts_with(&begin), "{}", error.message);
        }
        for shape in [json!("../shared"), json!([1]), json!({})] {
            assert!(read(shape).unwrap_err().message.contains("must be a list"));
        }
        assert!(read(json!(vec!["../x"; MAX_ENTRIES + 1])).unwrap_err().message.contains("too many"));
    }
}
