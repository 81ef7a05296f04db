//! The lock that git holds while it changes the files of a work tree. Between two files it may wait
//! for its disk, for a filter or for a fetch of objects, which no event shows.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::project::open_file;

/// Maximum length of the file `.git` of a linked work tree, which names one folder.
const MAX_LINK: u64 = 8 * 1024;

/// Returns `true` if git is changing the work tree that `folder` is in. `false` if it is in none.
pub(super) fn is_held(folder: &Path) -> bool {
    folder.ancestors().find_map(repository_in).is_some_and(|git| git.join("index.lock").exists())
}

/// Returns git's folder for the work tree at `folder`, or `None` if that is not one.
fn repository_in(folder: &Path) -> Option<PathBuf> {
    let git = folder.join(".git");
    if fs::metadata(&git).ok()?.is_dir() {
        return Some(git);
    }
    let mut link = String::new();
    open_file(&git).ok()?.take(MAX_LINK).read_to_string(&mut link).ok()?;
    // Relative paths begin at the work tree.
    Some(folder.join(link.strip_prefix("gitdir: ")?.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_is_found_from_a_folder_inside_the_work_tree() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("tree/apps/a");
        fs::create_dir_all(&inside).unwrap();
        fs::create_dir(dir.path().join("tree/.git")).unwrap();
        let lock = dir.path().join("tree/.git/index.lock");
        assert!(!is_held(&inside));
        fs::write(&lock, "").unwrap();
        assert!(is_held(&inside));
        assert!(is_held(&dir.path().join("tree")));
        assert!(!is_held(dir.path()));
    }

    #[test]
    fn a_linked_work_tree_has_a_lock_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let [tree, git] = ["linked", "main/.git/worktrees/linked"].map(|path| dir.path().join(path));
        for folder in [&tree, &git] {
            fs::create_dir_all(folder).unwrap();
        }
        for link in [git.display().to_string(), "../main/.git/worktrees/linked".to_owned()] {
            fs::write(tree.join(".git"), format!("gitdir: {link}\n")).unwrap();
            assert!(!is_held(&tree), "{link}");
            fs::write(git.join("index.lock"), "").unwrap();
            assert!(is_held(&tree), "{link}");
            fs::remove_file(git.join("index.lock")).unwrap();
        }
    }
}
