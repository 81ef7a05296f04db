//! The files of a project by the names that commands and configurations give them, as Node resolves
//! those, and the names that are tried when nothing names an entry.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::config::MAX_CONFIG;

/// The extensions of programs, in the order in which they are tried.
pub(super) const EXTENSIONS: [&str; 8] = ["ts", "tsx", "mts", "cts", "js", "jsx", "mjs", "cjs"];

/// Node's own order, then the extensions that Node does not know.
const RESOLVED: [&str; 8] = ["js", "mjs", "cjs", "ts", "mts", "cts", "tsx", "jsx"];

pub(super) const STEMS: [&str; 5] = ["main", "index", "mod", "server", "app"];

/// The program that Express's generator writes.
pub(super) const PROGRAM_FILE: &str = "bin/www";

/// The folders in which compilers and frameworks put their output.
const OUTPUT_FOLDERS: [&str; 8] =
    ["dist", "build", ".output", ".next", "out", "output", "_fresh", ".svelte-kit"];

/// `O_NONBLOCK` of Linux: opening a pipe in the place of a file must not block forever.
const NONBLOCK: i32 = 0o4000;

/// The result of resolving a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Resolved {
    /// A program, by its path relative to the project.
    Program(String),
    /// A file that is something else, such as a page.
    NoProgram(String),
    Missing,
    Outside,
}

/// Resolves the name of a file or folder in `dir` as Node does: unchanged, with an extension, or as
/// a folder with a package.json or an index.
pub(super) fn resolve(dir: &Path, name: &str) -> Resolved {
    let Some(path) = inside(name) else { return Resolved::Outside };
    match file(dir, &path).or_else(|| folder(dir, &path)) {
        None => Resolved::Missing,
        Some(found) if is_program(&found) => Resolved::Program(found),
        Some(found) => Resolved::NoProgram(found),
    }
}

/// The path without `.` segments. `None` if it is absolute or contains `..`.
pub(super) fn inside(name: &str) -> Option<String> {
    let parts: Vec<_> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    (!name.starts_with('/') && !parts.contains(&"..")).then(|| parts.join("/"))
}

fn file(dir: &Path, path: &str) -> Option<String> {
    if path.is_empty() {
        return None;
    }
    let with_extension = RESOLVED.iter().map(|extension| format!("{path}.{extension}"));
    [path.to_owned()].into_iter().chain(with_extension).find(|path| dir.join(path).is_file())
}

fn folder(dir: &Path, path: &str) -> Option<String> {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
    let named = read_object(&dir.join(below(super::PACKAGE_FILE))).and_then(|package| {
        let main = inside(package.get("main")?.as_str()?)?;
        file(dir, &below(&main)).or_else(|| file(dir, &below(&format!("{main}/index"))))
    });
    named.or_else(|| file(dir, &below("index")))
}

fn is_program(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    // `bin/www`, and `next`
    name.rsplit_once('.').is_none_or(|(_, extension)| EXTENSIONS.contains(&extension))
}

/// The first file of a conventional name in `folder`, which is empty or ends with `/`.
pub(super) fn conventional(dir: &Path, folder: &str) -> Option<String> {
    let mut names = STEMS
        .iter()
        .flat_map(|stem| EXTENSIONS.iter().map(move |extension| format!("{folder}{stem}.{extension}")));
    names.find(|name| dir.join(name).is_file())
}

/// Returns true for a path that is tried when nothing names an entry.
pub(super) fn is_conventional(path: &str) -> bool {
    let name = path.strip_prefix("src/").unwrap_or(path);
    let is_name = |(stem, extension)| STEMS.contains(&stem) && EXTENSIONS.contains(&extension);
    path == PROGRAM_FILE || name.split_once('.').is_some_and(is_name)
}

/// Reads the JSON object in a file of a package or a build. `None` if the file is not a JSON
/// object, or too large.
pub(super) fn read_object(path: &Path) -> Option<Value> {
    let text = read_text(path, MAX_CONFIG).ok()?;
    serde_json::from_str(&text).ok().filter(Value::is_object)
}

/// The text of a plain file of at most `most` bytes.
///
/// # Errors
/// The file cannot be read, is larger, or is not a plain file.
pub(super) fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let mut text = String::new();
    let file: File = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > most {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    file.take(most).read_to_string(&mut text)?;
    Ok(text)
}

/// The folder of a framework's or compiler's output that a path is in.
pub(super) fn output_folder(path: &str) -> Option<String> {
    let path = inside(path)?;
    let first = path.split('/').next().unwrap_or_default();
    OUTPUT_FOLDERS.contains(&first).then(|| first.to_owned())
}
