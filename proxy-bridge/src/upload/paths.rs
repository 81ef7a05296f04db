//! Names that are safe on every system that may read the volume, and distinct on all of them.

use std::collections::HashMap;

use unicode_normalization::UnicodeNormalization as _;

use super::UploadError;
use crate::upload_limits::UploadLimits;
use switchyard_contract::digest::check_path;

/// Longest path in bytes. Tools cut off longer ones; Linux allows 4,096, the volume's own path
/// included.
const MAX_PATH: usize = 1024;

/// Names that Windows gives to devices, with any extension.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];
const NUMBERED_DEVICES: [&str; 2] = ["com", "lpt"];

/// Returns the path of a file or folder in an upload: relative, with `/` between and without `./`
/// before.
///
/// # Errors
/// The path is not safe; the error says which part of it.
pub(super) fn clean<'p>(given: &'p str, limits: &UploadLimits) -> Result<&'p str, UploadError> {
    let bad = |detail: String| UploadError::bad("filename", detail).part(given);
    let mut path = given;
    while let Some(rest) = path.strip_prefix("./") {
        path = rest;
    }
    check_path(path).map_err(|error| bad(error.to_string()))?;
    if path.is_empty() || path == "." {
        return Err(bad("the file has no name: give each part a filename, its path in the project".into()));
    }
    if path.starts_with('/') {
        return Err(bad(format!("{path:?} is an absolute path: make it relative to the project")));
    }
    let bytes = path.as_bytes();
    if bytes.len() > 1 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' {
        return Err(bad(format!("{path:?} begins with a drive letter: make it relative to the project")));
    }
    if path.contains('\\') {
        return Err(bad(format!("{path:?} has a backslash: write / between folders")));
    }
    if path.len() > MAX_PATH {
        return Err(bad(format!("a path has more than {MAX_PATH} bytes: shorten it")));
    }
    for name in path.split('/') {
        check_name(name, limits).map_err(|what| match what {
            NameError::Name(what) => bad(format!("{path:?}: {what}")),
            NameError::Long => {
                bad(format!("a name has more than {} bytes (--max-name): shorten it", limits.name))
            }
        })?;
    }
    Ok(path)
}

enum NameError {
    Name(String),
    Long,
}

fn check_name(name: &str, limits: &UploadLimits) -> Result<(), NameError> {
    let wrong = |what: String| Err(NameError::Name(what));
    match name {
        "" => return wrong("a folder has no name: write one / between folders".into()),
        "." | ".." => return wrong(format!("invalid name {name:?}: a path may not leave the project")),
        _ => {}
    }
    if name.len() > limits.name {
        return Err(NameError::Long);
    }
    if name.ends_with(['.', ' ']) {
        return wrong(format!("{name:?} ends with a dot or a blank, which Windows drops: rename it"));
    }
    if is_device(name) {
        return wrong(format!("{name:?} is the name of a device on Windows: rename it"));
    }
    Ok(())
}

fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end().to_lowercase();
    let numbered = NUMBERED_DEVICES.iter().any(|device| {
        let mut rest = stem.strip_prefix(device).unwrap_or_default().chars();
        matches!((rest.next(), rest.next()), (Some('1'..='9' | '¹' | '²' | '³'), None))
    });
    numbered || DEVICES.contains(&stem.as_str())
}

/// Folds the differences that a file system ignores which ignores case and Unicode form.
fn fold(path: &str) -> String {
    path.nfc().collect::<String>().to_uppercase().to_lowercase().nfc().collect()
}

/// All names of an upload, to find two that are one somewhere.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// By folded path: the path as it was written, and `true` for a folder.
    known: HashMap<String, (String, bool)>,
}

impl Names {
    /// Returns the number of files and folders.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Returns true if the folder has an entry of this name, or one that is equal on some systems.
    pub(super) fn has(&self, path: &str) -> bool {
        self.known.contains_key(&fold(path))
    }

    pub(super) fn is_folder(&self, path: &str) -> bool {
        self.known.get(&fold(path)).is_some_and(|(known, is_folder)| known == path && *is_folder)
    }

    /// Adds a file, or a folder, and the folders that it is in.
    ///
    /// # Errors
    /// It is there already, or another name is the same on some systems.
    pub(super) fn add(&mut self, path: &str, is_folder: bool) -> Result<(), UploadError> {
        let slashes = path.match_indices('/').map(|(at, _)| &path[..at]);
        for folder in slashes {
            self.add_one(folder, true).map_err(|refused| refused.part(path))?;
        }
        self.add_one(path, is_folder).map_err(|refused| refused.part(path))
    }

    fn add_one(&mut self, path: &str, is_folder: bool) -> Result<(), UploadError> {
        let Some((other, was_folder)) = self.known.get(&fold(path)) else {
            self.known.insert(fold(path), (path.to_owned(), is_folder));
            return Ok(());
        };
        if other != path {
            let detail = format!(
                "{path:?} and {other:?} are the same name where case or Unicode form does not \
                 count: rename one of them"
            );
            return Err(UploadError::bad("filename", detail));
        }
        match (is_folder, was_folder) {
            (true, true) => Ok(()),
            (false, false) => {
                Err(UploadError::bad("filename", format!("{path:?} is in the upload twice: send it once")))
            }
            _ => Err(UploadError::bad(
                "filename",
                format!("{path:?} is a file and a folder: send one of them"),
            )),
        }
    }
}
