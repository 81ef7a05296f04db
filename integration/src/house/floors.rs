//! Floors: a module imports modules on lower floors only, and heavy dependencies only where they
//! are at home.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::imports::Target;
use super::source::{Crate, SourceFile, Workspace};
use super::tables::{Floors, Homes};

/// A line that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    pub path: PathBuf,
    pub line: usize,
    /// The rule, what breaks it, and how to fix it.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.text)
    }
}

/// Returns the imports of `krate` that lead to the same floor or to a higher one.
pub fn floor_violations(krate: &Crate, floors: &Floors) -> Vec<Violation> {
    let mut violations: Vec<_> = krate.product().flat_map(|file| of_file(file, krate, floors)).collect();
    violations.dedup();
    violations
}

fn of_file(file: &SourceFile, krate: &Crate, floors: &Floors) -> Vec<Violation> {
    let Some(room) = file.room() else { return Vec::new() };
    let Some(floor) = floors.0.get(room) else { return Vec::new() };
    let broken = file.imports.iter().filter_map(|import| {
        let Target::Inside(path) = &import.target else { return None };
        let target = path.first().map_or("", String::as_str);
        let text = match floors.0.get(target) {
            _ if target == room => return None,
            Some(other) if other < floor => return None,
            Some(other) if other == floor => format!(
                "{room} imports {target}, which is on the same floor ({floor}) of {}: siblings never import each \
                 other. Move what both need to a lower floor, or pass it in as a value",
                krate.name
            ),
            Some(other) => format!(
                "{room} (floor {floor} of {}) imports {target} (floor {other}): imports go down only. Move what it \
                 needs to a lower floor, or have the caller pass it in",
                krate.name
            ),
            None => format!(
                "{room} (floor {floor} of {}) imports {:?} from the crate's root: imports go down only. Move it into \
                 a module",
                krate.name,
                path.join("::")
            ),
        };
        Some(Violation { path: file.path.clone(), line: import.line, text })
    });
    broken.collect()
}

/// Returns the imports of crates on the same floor or a higher one, and those of heavy dependencies
/// away from their homes. Tests and their harness may import everything.
pub fn home_violations(workspace: &Workspace, crates: &Floors, homes: &Homes) -> Vec<Violation> {
    let own: BTreeMap<_, _> =
        workspace.crates.iter().map(|krate| (krate.import_name(), krate.name.as_str())).collect();
    let mut violations = Vec::new();
    for krate in workspace.crates.iter().filter(|krate| krate.name != "integration") {
        for file in krate.product() {
            for import in &file.imports {
                let Target::Crate(name) = &import.target else { continue };
                let wrong = match own.get(name) {
                    Some(other) => wrong_crate(&krate.name, other, crates),
                    None => away_from_home(krate, file, name, homes),
                };
                let path = file.path.clone();
                violations.extend(wrong.map(|text| Violation { path, line: import.line, text }));
            }
        }
    }
    violations.dedup();
    violations
}

fn wrong_crate(krate: &str, other: &str, floors: &Floors) -> Option<String> {
    let (from, to) = (floors.0.get(krate)?, floors.0.get(other)?);
    let is_down = krate == other || to < from;
    (!is_down).then(|| {
        format!(
            "the crate {krate} (floor {from}) imports the crate {other} (floor {to}): imports go down only"
        )
    })
}

fn away_from_home(krate: &Crate, file: &SourceFile, name: &str, homes: &Homes) -> Option<String> {
    let is_named = |pattern: &String| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    };
    let (_, allowed) = homes.0.iter().find(|(names, _)| names.iter().any(is_named))?;
    let module = [std::slice::from_ref(&krate.name), &file.module].concat().join("::");
    let is_home = |home: &String| module == *home || module.starts_with(&format!("{home}::"));
    (!allowed.iter().any(is_home)).then(|| {
        format!(
            "{module} imports {name}, whose home is {}: call that module instead, or, if this is a second home for \
             a good reason, add it to the table of homes in ARCHITECTURE.md",
            allowed.join(", ")
        )
    })
}
