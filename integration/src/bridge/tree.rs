//! What a folder holds, to compare before and after.

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
    /// Of a folder that is not there, an empty one.
    pub fn of(folder: &Path) -> Self {
        let mut tree = Self::default();
        tree.read(folder, Path::new(""));
        tree
    }

    /// All projects of a volume, without what the bridge keeps beside them.
    pub fn of_projects(volume: &Path) -> Self {
        let mut tree = Self::of(volume);
        tree.0.retain(|path, _| !path.starts_with(".switchyard-bridge"));
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
    /// The beginning of a file is enough to tell which it is.
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
