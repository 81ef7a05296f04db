//! Modules that a version writes while it runs, and imports then.

use std::path::{Path, PathBuf};

use deno_path_util::normalize_path;
use switchyard_protocol::Start;

use crate::project_paths::in_own_tmp;

/// The folders that the version may write to. Both free of symbolic links.
#[derive(Debug)]
pub(crate) struct Written {
    tmp: PathBuf,
    data: PathBuf,
}

impl Written {
    pub(crate) fn of(start: &Start) -> Self {
        Self { tmp: start.tmp.clone(), data: start.data.clone() }
    }

    /// Returns `true` if a path that is free of symbolic links lies inside.
    pub(crate) fn contain(&self, path: &Path) -> bool {
        path.starts_with(&self.tmp) || path.starts_with(&self.data)
    }

    /// The file that a path leads to, if that is inside.
    pub(crate) fn admit(&self, path: &Path) -> Option<PathBuf> {
        let real = self.place(path)?.canonicalize().ok()?;
        self.contain(&real).then_some(real)
    }

    /// The place inside that a path names, whether there is something or not.
    pub(crate) fn place(&self, path: &Path) -> Option<PathBuf> {
        let path = normalize_path(path.into());
        if self.contain(&path) { Some(path.into_owned()) } else { in_own_tmp(&path, &self.tmp) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_the_own_folders_is_admitted_and_nothing_that_links_lead_to() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let written = Written { tmp: root.join("tmp"), data: root.join("data") };
        for folder in ["tmp", "data", "other"] {
            std::fs::create_dir(root.join(folder)).unwrap();
            std::fs::write(root.join(folder).join("m.mjs"), "").unwrap();
        }
        std::os::unix::fs::symlink(root.join("other/m.mjs"), root.join("data/link.mjs")).unwrap();
        assert_eq!(written.admit(&root.join("tmp/m.mjs")), Some(root.join("tmp/m.mjs")));
        assert_eq!(written.admit(&root.join("data/m.mjs")), Some(root.join("data/m.mjs")));
        assert_eq!(written.admit(Path::new("/tmp/m.mjs")), Some(root.join("tmp/m.mjs")));
        for path in ["data/link.mjs", "other/m.mjs", "data/../other/m.mjs", "data/none.mjs"] {
            assert_eq!(written.admit(&root.join(path)), None, "{path}");
        }
    }
}
