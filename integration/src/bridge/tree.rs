//! The content of a folder, for comparisons.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::output;

/// Every file, folder and link below a folder, by its path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree(BTreeMap<PathBuf, Entry>);

#[derive(Clone, PartialEq, Eq)]
enum Entry {
    Folder,
    File { mode: u32, content: Vec<u8> },
    Link(PathBuf),
}

impl Tree {
    /// Reads a folder. A missing folder is empty.
    pub fn of(folder: &Path) -> Self {
        let mut tree = Self::default();
        tree.read(folder, Path::new(""));
        tree
    }

    /// All projects of a volume, without what the bridge keeps beside them.
    pub fn of_projects(volume: &Path) -> Self {
        let mut tree = Self::default();
        for entry in fs::read_dir(volume).expect("a volume can be read") {
            let name = entry.expect("a volume can be read").file_name();
            if name != ".switchyard-bridge" {
                tree.read(&volume.join(&name), Path::new(&name));
            }
        }
        tree
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The paths of all that is no folder.
    pub fn files(&self) -> Vec<String> {
        let files = self.0.iter().filter(|(_, entry)| **entry != Entry::Folder);
        files.map(|(path, _)| path.to_string_lossy().into_owned()).collect()
    }

    fn read(&mut self, folder: &Path, inner: &Path) {
        let Ok(entries) = fs::read_dir(folder) else {
            return;
        };
        for entry in entries {
            let entry = entry.expect("a folder can be read");
            let (path, inner) = (entry.path(), inner.join(entry.file_name()));
            let metadata = path.symlink_metadata().expect("an entry can be looked at");
            let found = if metadata.is_dir() {
                self.read(&path, &inner);
                Entry::Folder
            } else if metadata.is_symlink() {
                Entry::Link(fs::read_link(&path).expect("a link can be read"))
            } else {
                let content = fs::read(&path).expect("a file can be read");
                Entry::File { mode: metadata.permissions().mode(), content }
            };
            self.0.insert(inner, found);
        }
    }
}

impl fmt::Debug for Entry {
    /// The beginning of a file identifies it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder => write!(f, "folder"),
            Self::Link(target) => write!(f, "link to {}", target.display()),
            Self::File { mode, content } => {
                let shown = String::from_utf8_lossy(&content[..content.len().min(80)]);
                write!(f, "{mode:o} {} bytes {shown:?}", content.len())
            }
        }
    }
}

/// The digest of a project as coreutils compute it: the value that everybody else must come to.
pub fn digest(project: &Path) -> String {
    let script = r"find -L . \( -name node_modules -o -name .git \) -prune -o -type f -printf '%P\n' |
        LC_ALL=C sort | tr '\n' '\0' | xargs -r0 sha256sum | sha256sum | cut -d ' ' -f 1";
    let printed = output(Command::new("sh").args(["-c", script]).current_dir(project));
    String::from_utf8(printed).expect("a digest is text").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use switchyard_contract::digest::Digest;

    use super::*;

    #[test]
    fn the_digest_of_a_folder_is_that_of_the_files_that_count() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["main.ts", "lib/x y.txt", "node_modules/x/index.js", ".git/HEAD"] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let empty: Digest = empty.parse().unwrap();
        let expected = Digest::of_files(["lib/x y.txt", "main.ts"].map(|path| (path, *empty.as_bytes())));
        assert_eq!(digest(folder.path()), expected.to_string());
    }
}
