//! What a project includes from beside itself: folders and files below the projects root, which are part of its versions.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use switchyard_contract::digest;
use switchyard_contract::event::Diagnostic;
use switchyard_contract::project::is_ignored;

use super::{in_file, shares};

/// Each is walked and watched by itself: more of them are a mistake for the folder that they are in.
const MAX_ENTRIES: usize = 100;

const FIELD: &str = "switchyard.include";

/// What one configuration names, and which.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Included {
    file: &'static str,
    pub(crate) entries: Vec<Include>,
    /// So many at the end belong to the project without being named.
    implied: usize,
}

/// A folder or a file: `../` and a plain path below the projects root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Include(String);

impl Included {
    /// Reads the field's `value` in the configuration `file`.
    ///
    /// # Errors
    /// It is no list, or has an entry that cannot lie beside the project.
    pub(crate) fn read(file: &'static str, value: &Value) -> Result<Self, Diagnostic> {
        let shape = || {
            let mend =
                "must be a list of folders and files beside the project (\"../shared\", \"../deno.json\")";
            in_file(file, format!("\"{FIELD}\" in {file} {mend}"))
        };
        let listed = value.as_array().ok_or_else(shape)?;
        if listed.len() > MAX_ENTRIES {
            let message = format!("\"{FIELD}\" in {file} has too many entries: {MAX_ENTRIES} are the most");
            return Err(in_file(file, message));
        }
        let mut entries = Vec::new();
        for entry in listed {
            let text = entry.as_str().ok_or_else(shape)?;
            let include = Include::parse(text).map_err(|why| wrong(file, text, why))?;
            if !entries.contains(&include) {
                entries.push(include);
            }
        }
        Ok(Self { file, entries, implied: 0 })
    }

    /// Adds what belongs to the project without being named, by names directly below the projects root.
    pub(super) fn imply(&mut self, names: &[String]) {
        for include in names.iter().filter_map(|name| Include::parse(&format!("../{name}")).ok()) {
            if !self.entries.contains(&include) {
                self.entries.push(include);
                self.implied += 1;
            }
        }
    }

    /// All that lies beside the project in the checkout `dir`.
    pub(crate) fn made(dir: &Path) -> Self {
        let entries =
            dir.parent().and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<_> = names.filter(|name| dir.file_name() != Some(OsStr::new(name))).collect();
        names.sort();
        let mut all = Self::default();
        all.imply(&names);
        all
    }

    /// Returns `true` for what belongs to the project without being named.
    pub(crate) fn is_implied(&self, include: &Include) -> bool {
        self.entries[self.entries.len() - self.implied..].contains(include)
    }

    /// Says that `include` cannot be, and what would be right.
    pub(crate) fn wrong(&self, include: &Include, why: &str) -> Diagnostic {
        wrong(self.file, include.as_str(), why)
    }
}

fn wrong(file: &str, text: &str, why: &str) -> Diagnostic {
    in_file(file, format!("\"{FIELD}\" in {file} names {text:?}, which {why}"))
}

impl Include {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let begins =
            "does not begin with \"../\": name a folder or a file beside the project, as in \"../shared\"";
        let below = text.strip_prefix("../").ok_or(begins)?;
        let below = below.strip_suffix('/').unwrap_or(below);
        if below.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(
                "leaves the projects root, or is no plain path: name what lies below it, as in \"../shared\"",
            );
        }
        // The bridge's own folder, a router's default one, tokens for registries.
        if below.starts_with('.') {
            return Err("is hidden: rename what is for projects, or take it out");
        }
        if !digest::is_counted(below) || digest::check_path(below).is_err() {
            return Err("is never part of a version (history, packages, an editor's leftover): take it out");
        }
        Ok(Self(format!("../{below}")))
    }

    /// Relative to the project.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Relative to the projects root.
    pub(crate) fn below_root(&self) -> &Path {
        Path::new(&self.0[3..])
    }

    /// Whether `project` may have it: its own and what no project has, yes; else when its owner's deno.json says so.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn leave(&self, volume: &Path, project: &str) -> Result<(), String> {
        let owner = self.owner();
        let folder = volume.join(owner);
        if owner == project || is_ignored(owner) || !folder.is_dir() || shares(&folder, project) {
            return Ok(());
        }
        Err(format!(
            "{owner} does not share with {project}: put \"switchyard\": {{\"share\": [\"{project}\"]}} into \
             {owner}/deno.json, or, if it is no project, give it a name that begins with _"
        ))
    }

    /// What of the projects root it is or lies in: a project, unless that is a file or begins with `_`.
    pub(crate) fn owner(&self) -> &str {
        let below = &self.0[3..];
        below.split_once('/').map_or(below, |(owner, _)| owner)
    }

    /// Where its packages are if it has some, relative to the project: in the folder, or beside the file.
    pub(crate) fn packages(&self) -> [PathBuf; 2] {
        let path = Path::new(&self.0);
        [path.join("node_modules"), path.with_file_name("node_modules")]
    }
}

/// Whether a path relative to a project is that of something included.
pub(crate) fn is_beside(path: &str) -> bool {
    path.starts_with("../")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<Vec<String>, Diagnostic> {
        let included = Included::read("deno.json", &value)?;
        Ok(included.entries.iter().map(|include| include.as_str().to_owned()).collect())
    }

    #[test]
    fn folders_and_files_beside_the_project_are_named_once_each() {
        let named = read(json!(["../shared/", "../deno.json", "../shared", "../libs/a b", "../_x"])).unwrap();
        assert_eq!(named, ["../shared", "../deno.json", "../libs/a b", "../_x"]);
    }

    #[test]
    fn what_cannot_lie_beside_the_project_is_named_with_file_and_field() {
        for (entry, why) in [
            ("/etc", "does not begin"),
            ("shared", "does not begin"),
            ("./lib", "does not begin"),
            ("..", "does not begin"),
            ("../", "leaves"),
            ("../..", "leaves"),
            ("../../shared", "leaves"),
            ("../a/../b", "leaves"),
            ("..//a", "leaves"),
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
