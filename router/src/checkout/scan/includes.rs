//! The includes of a project that a listing covers: each is checked when it is listed, so that a
//! configuration that has changed since grants nothing.

use std::io;
use std::path::{Path, PathBuf};

use super::ListError;
use crate::project::{Include, IncludeList, included};
use crate::root::{Place, find_with};

/// The reason why a project may not include a path: the predicate of a sentence about the include,
/// as in "is hidden: rename it".
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct IncludeRefusal(String);

impl From<String> for IncludeRefusal {
    fn from(reason: String) -> Self {
        Self(reason)
    }
}

/// The check of one include in the real directory of the volume. Called at each listing.
pub(crate) type IncludeCheck<'a> = &'a dyn Fn(&Path, &Include) -> Result<(), IncludeRefusal>;

/// The source of the list of includes.
#[derive(Clone, Copy)]
pub(crate) enum IncludeSource<'a> {
    /// The project's configuration. Each include has to pass the check.
    Configuration(IncludeCheck<'a>),
    /// The same for an override: the includes that are not beside it lie in this folder, the volume.
    Override(IncludeCheck<'a>, &'a Path),
    /// Everything beside the project: it lies in a checkout, which was made with its includes.
    Checkout,
}

/// Returns the includes of the project in the real directory `root`, each with the real directory
/// of the `volume` that it lies in.
///
/// # Errors
/// The configuration or one of its includes is not valid, or the volume has moved.
pub(super) fn permitted(
    volume: Option<PathBuf>,
    root: &Path,
    source: IncludeSource<'_>,
) -> Result<Vec<(Include, PathBuf)>, ListError> {
    let included = match source {
        IncludeSource::Configuration(_) => {
            included(&Place::on_volume(root.to_owned())).map_err(ListError::Invalid)?
        }
        IncludeSource::Override(_, volume) => {
            let place = Place { dir: root.to_owned(), volume: Some(volume.to_owned()) };
            included(&place).map_err(ListError::Invalid)?
        }
        IncludeSource::Checkout => IncludeList::in_checkout(root),
    };
    let Some(volume) = volume.filter(|_| !included.entries.is_empty()) else { return Ok(Vec::new()) };
    let mut folders = vec![volume.canonicalize().map_err(|_| ListError::Moved)?];
    if let IncludeSource::Override(_, volume) = source {
        // A volume that is missing has no includes.
        folders.extend(volume.canonicalize());
    }
    let checked = included.entries.iter().map(|include| {
        let folder = find_with(folders.iter().map(PathBuf::as_path), include.below_root());
        let volume = folder.unwrap_or(root);
        let checked = match check(volume, root, include, source) {
            Ok(()) => Ok((include.clone(), volume.to_owned())),
            Err(refusal) => Err(ListError::Invalid(included.entry_diagnostic(include, &refusal.to_string()))),
        };
        (include, checked)
    });
    // Implied includes that the project may not have are left out.
    let is_needed =
        |include: &Include, checked: &Result<_, _>| checked.is_ok() || !included.is_implied(include);
    checked.filter(|(include, checked)| is_needed(include, checked)).map(|(_, checked)| checked).collect()
}

/// Checks that `include` may be read, and is a file or folder beside the project.
fn check(
    volume: &Path,
    root: &Path,
    include: &Include,
    source: IncludeSource<'_>,
) -> Result<(), IncludeRefusal> {
    let refused = |reason: &str| Err(IncludeRefusal(reason.to_owned()));
    if let IncludeSource::Configuration(check) | IncludeSource::Override(check, _) = source {
        check(volume, include)?;
    }
    let path = volume.join(include.below_root());
    let real = match path.canonicalize() {
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return refused("does not exist: create it, or remove the entry");
        }
        Err(error) => return refused(&format!("cannot be read: {error}")),
    };
    if real != path {
        return refused("leads through a symbolic link: name the link's target below the projects root");
    }
    if real.starts_with(root) || root.starts_with(&real) {
        return refused("is the project itself, or part of it: remove the entry");
    }
    if !real.is_dir() && !real.is_file() {
        return refused("is neither a folder nor a file: remove the entry");
    }
    Ok(())
}
