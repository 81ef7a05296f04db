//! The meaning of a file event for a project: what kind of path it is about, and what happened to
//! the file.

use std::path::Path;

use notify_debouncer_full::notify::event::{AccessKind, AccessMode, CreateKind};
use notify_debouncer_full::notify::{Event, EventKind};
use switchyard_contract::digest;

use super::inotify::MOVED_IN;
use crate::project::{NODE_MODULES, has_packages, is_of_packages};

/// The kind of a path in a project.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PathKind {
    /// Never part of a version: history, caches, leftovers of editors.
    Ignored,
    /// In a `node_modules`, or such a folder itself.
    Packages {
        /// The path is a folder of packages itself: a `node_modules`, a scope or a store.
        holds_packages: bool,
    },
    /// Part of the project's files.
    Source,
}

/// The activity that an event reports of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileActivity {
    Created,
    /// Opened for reading or writing.
    Opened,
    Written,
    /// Closed after it was open for writing.
    Closed,
    /// Moved to this path, complete or not.
    MovedIn,
    /// Removed or moved away.
    Gone,
    /// A folder has appeared. Its files may have been written before it was watched.
    Folder,
    Other,
}

impl PathKind {
    /// Classifies a path relative to the project.
    pub(super) fn of(below: &Path) -> Self {
        let parts: Vec<_> = below.iter().collect();
        if let Some(at) = parts.iter().position(|part| *part == NODE_MODULES) {
            let inside = parts.get(at + 1).map(|name| name.to_string_lossy());
            return match inside {
                Some(name) if !is_of_packages(&name) => Self::Ignored,
                Some(name) => Self::Packages { holds_packages: has_packages(&name) && parts.len() == at + 2 },
                None => Self::Packages { holds_packages: true },
            };
        }
        if !parts.is_empty() && !digest::is_counted(below.as_os_str().as_encoded_bytes()) {
            return Self::Ignored;
        }
        Self::Source
    }
}

/// Returns the activity that an event reports of its file, or `None` if the event says nothing
/// about the content.
pub(super) fn file_activity(event: &Event) -> Option<FileActivity> {
    let is_folder = || event.paths.first().is_some_and(|path| path.is_dir());
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(FileActivity::Closed),
        EventKind::Access(AccessKind::Open(AccessMode::Write)) => Some(FileActivity::Written),
        EventKind::Access(AccessKind::Open(_)) => Some(FileActivity::Opened),
        MOVED_IN if is_folder() => Some(FileActivity::Folder),
        MOVED_IN => Some(FileActivity::MovedIn),
        EventKind::Access(_) => None,
        EventKind::Create(CreateKind::File) => Some(FileActivity::Created),
        EventKind::Create(_) => Some(FileActivity::Folder),
        EventKind::Any => Some(FileActivity::Gone),
        _ => Some(FileActivity::Other),
    }
}

/// Returns `true` if there may be other directories after the event than before.
pub(super) fn is_restructuring(kind: &EventKind, path: &Path) -> bool {
    match *kind {
        MOVED_IN => true,
        EventKind::Access(_) => false,
        // A symbolic link counts as a file, and may lead to a directory.
        EventKind::Create(CreateKind::File) => path.is_symlink(),
        EventKind::Create(_) | EventKind::Any => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_sources_packages_and_leftovers_are_distinguished() {
        let packages = |holds_packages| PathKind::Packages { holds_packages };
        for (path, expected) in [
            ("", PathKind::Source),
            ("src/main.ts", PathKind::Source),
            (".git/HEAD", PathKind::Ignored),
            ("main.ts~", PathKind::Ignored),
            ("node_modules", packages(true)),
            ("lib/node_modules/@scope", packages(true)),
            ("node_modules/@scope/a", packages(false)),
            ("node_modules/a", packages(false)),
            ("node_modules/.cache/x", PathKind::Ignored),
        ] {
            assert_eq!(PathKind::of(Path::new(path)), expected, "{path}");
        }
    }
}
