//! The members of a workspace of npm, pnpm or yarn, by their names.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::files::{inside, read_text};

/// Folders in which members are looked for besides those that `workspaces` names: pnpm has its own file for them.
const PARENTS: [&str; 4] = ["packages", "apps", "services", ""];

/// Folders that `workspaces` names, and members in all of them. Large workspaces have some hundreds.
const MAX_PARENTS: usize = 16;
const MAX_MEMBERS: usize = 400;

/// Bytes in a member's package.json. One has 2 KiB on average.
const MAX_PACKAGE: u64 = 64 << 10;

/// The folder, relative to the project in `dir`, of the member that is called `name` or lies in a folder of that name.
pub(super) fn find(dir: &Path, package: Option<&Value>, name: &str) -> Option<String> {
    let own = inside(name).filter(|path| !path.is_empty() && name_of(dir, path).is_some());
    own.or_else(|| {
        let named = patterns(package).into_iter().filter_map(|pattern| {
            inside(pattern.split('*').next().unwrap_or_default()).filter(|_| pattern.contains('*'))
        });
        let parents = named.take(MAX_PARENTS).chain(PARENTS.map(str::to_owned));
        let plain = patterns(package).into_iter().filter(|pattern| !pattern.contains('*')).filter_map(inside);
        let mut members = plain.chain(parents.flat_map(|parent| below(dir, &parent))).take(MAX_MEMBERS);
        members.find(|folder| name_of(dir, folder).is_some_and(|found| found == name))
    })
}

/// The patterns of `workspaces`: a list, or the `packages` of an object.
fn patterns(package: Option<&Value>) -> Vec<&str> {
    let workspaces = package.and_then(|package| package.get("workspaces"));
    let list = workspaces.and_then(|list| list.as_array().or_else(|| list.get("packages")?.as_array()));
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The folders in `parent`, by name.
fn below(dir: &Path, parent: &str) -> Vec<String> {
    let entries = fs::read_dir(dir.join(parent)).into_iter().flatten().flatten().take(MAX_MEMBERS);
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut names: Vec<_> = folders.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| name != "node_modules" && !name.starts_with('.'));
    names.sort();
    let path = |name: String| if parent.is_empty() { name } else { format!("{parent}/{name}") };
    names.into_iter().map(path).collect()
}

/// The name in the package.json of a folder; empty where it has none. `None` without such a file.
fn name_of(dir: &Path, folder: &str) -> Option<String> {
    let text = read_text(&dir.join(folder).join(super::PACKAGE_FILE), MAX_PACKAGE).ok()?;
    let package = serde_json::from_str::<Value>(&text).ok()?;
    Some(package.get("name").and_then(Value::as_str).unwrap_or_default().to_owned())
}
