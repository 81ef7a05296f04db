//! The folders that a version writes to, from which it may import modules.

use std::path::{Path, PathBuf};

use deno_path_util::normalize_path;
use switchyard_protocol::Start;

use super::project_paths::map_tmp;

/// The folders of one version, both free of symbolic links.
#[derive(Debug)]
pub(crate) struct WritableFolders {
    tmp: PathBuf,
    data: PathBuf,
}

impl WritableFolders {
    /// Returns the folders of a version.
    pub(super) fn new(start: &Start) -> Self {
        Self { tmp: start.tmp.clone(), data: start.data.clone() }
    }

    /// Returns `true` if a path that is free of symbolic links lies inside.
    pub(crate) fn contain(&self, path: &Path) -> bool {
        path.starts_with(&self.tmp) || path.starts_with(&self.data)
    }

    /// Resolves a path without symbolic links, if it leads inside.
    pub(crate) fn admit(&self, path: &Path) -> Option<PathBuf> {
        let real = self.locate(path)?.canonicalize().ok()?;
        self.contain(&real).then_some(real)
    }

    /// Returns the path inside that a path names, even if no file exists. `None` if it is outside.
    pub(crate) fn locate(&self, path: &Path) -> Option<PathBuf> {
        let path = normalize_path(path.into());
        if self.contain(&path) { Some(path.into_owned()) } else { map_tmp(&path, &self.tmp) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_the_own_folders_is_admitted_and_nothing_that_links_lead_to() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let written = WritableFolders { tmp: root.join("tmp"), data: root.join("data") };
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
