//! The files of a commit: their names, modes, ids and sizes.

use super::command::Call;
use super::{GitError, Mirror, ObjectId};

/// Bytes of an entry without its name: mode, type, id, size, and what is between them.
const ENTRY: u64 = 100;

/// Bound of a listing, in bytes: about a million files.
const MAX_LISTING: u64 = 128 << 20;

/// One file below a folder of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// Relative to the folder, with `/` between its parts.
    pub path: String,
    pub mode: TreeMode,
    pub id: ObjectId,
    /// In bytes; 0 for a submodule.
    pub size: u64,
}

/// The kind of a [`TreeEntry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeMode {
    File,
    Executable,
    /// Its content is where it leads.
    Symlink,
    /// A commit of another repository.
    Gitlink,
}

/// Bounds of a folder, checked before a file of it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeLimits {
    pub files: u64,
    /// Of all files together.
    pub bytes: u64,
    /// Of one path.
    pub path_bytes: u64,
}

impl Mirror {
    /// Lists all files of the folder `path` of `commit`; of the whole commit if it is empty.
    ///
    /// # Errors
    /// [`GitError::Refused`] for a folder that is not there, and for names that are not UTF-8;
    /// [`GitError::TooLarge`]; [`GitError::Damaged`].
    pub async fn tree(
        &self,
        commit: &ObjectId,
        path: &str,
        limits: TreeLimits,
    ) -> Result<Vec<TreeEntry>, GitError> {
        let ids = self.tree_ids(commit, &[path]).await?;
        let Some(Some(id)) = ids.into_iter().next() else {
            return Err(GitError::Refused(format!("commit {} has no folder {path:?}", commit.short())));
        };
        let args = ["ls-tree", "-r", "-z", "-l", "--full-tree", id.as_str()];
        let most = limits.files.saturating_add(1).saturating_mul(ENTRY.saturating_add(limits.path_bytes));
        let call = Call { most: most.min(MAX_LISTING), ..Call::local(self.path(), &args) };
        let printed = self.git().output(call).await.map_err(damaged)?;
        parse(&printed, limits)
    }

    /// Returns the id of the folder or file `path` of `commit`, if there is one.
    ///
    /// # Errors
    /// See [`tree_ids`](Self::tree_ids).
    pub async fn tree_id(&self, commit: &ObjectId, path: &str) -> Result<Option<ObjectId>, GitError> {
        Ok(self.tree_ids(commit, &[path]).await?.into_iter().next().flatten())
    }

    /// Returns the ids of folders and files of `commit`, in the order of `paths`. The empty path is
    /// the whole commit.
    ///
    /// # Errors
    /// [`GitError::Damaged`] if the mirror lacks the commit or a folder of it: never `None` for what
    /// is only unreadable.
    pub async fn tree_ids(
        &self,
        commit: &ObjectId,
        paths: &[&str],
    ) -> Result<Vec<Option<ObjectId>>, GitError> {
        let mut call = Call::local(self.path(), &["cat-file", "--batch-check"]);
        let mut input = format!("{commit}^{{tree}}\n");
        for path in paths {
            check_path(path)?;
            input.push_str(&format!("{commit}:{path}\n"));
        }
        call.most = (input.len() as u64).saturating_add(ENTRY.saturating_mul(paths.len() as u64 + 1));
        call.input = input.into_bytes();
        let printed = self.git().output(call).await?;
        let printed = String::from_utf8_lossy(&printed);
        let mut found = printed.lines().map(found);
        if !matches!(found.next(), Some(Some(_))) {
            return Err(GitError::Damaged(format!("commit {commit} is missing")));
        }
        let found = found.collect::<Vec<_>>();
        if found.len() != paths.len() {
            return Err(GitError::Other("git answered something else than it was asked".to_owned()));
        }
        let missing = paths.iter().zip(&found).filter(|(_, id)| id.is_none()).map(|(path, _)| *path);
        self.check_missing(commit, &missing.collect::<Vec<_>>()).await?;
        Ok(found)
    }

    /// Makes sure that `paths` are not in the commit: `cat-file` says "missing" for damage too.
    async fn check_missing(&self, commit: &ObjectId, paths: &[&str]) -> Result<(), GitError> {
        if paths.is_empty() {
            return Ok(());
        }
        let mut args = vec!["ls-tree", "-z", "--full-tree", commit.as_str(), "--"];
        args.extend(paths);
        let printed = self.git().output(Call::local(self.path(), &args)).await.map_err(damaged)?;
        for entry in printed.split(|c| *c == 0).filter(|entry| !entry.is_empty()) {
            // A submodule is in the commit, but its objects are not in the mirror.
            if !entry.starts_with(b"160000 ") {
                let entry = String::from_utf8_lossy(entry);
                return Err(GitError::Damaged(format!("an object is missing: {entry:?}")));
            }
        }
        Ok(())
    }
}

/// Reads a line of `cat-file --batch-check`.
fn found(line: &str) -> Option<ObjectId> {
    let mut words = line.split(' ');
    let id = words.next()?.parse().ok()?;
    matches!(words.next(), Some("tree" | "blob")).then_some(id)
}

pub(super) fn check_path(path: &str) -> Result<(), GitError> {
    let odd = |part: &str| matches!(part, "" | "." | "..");
    if !path.is_empty() && path.split('/').any(odd) || path.chars().any(char::is_control) {
        return Err(GitError::Refused(format!("{path:?} is no path in a repository")));
    }
    Ok(())
}

/// A mirror holds all trees of what it holds: one that cannot be listed is damaged.
pub(super) fn damaged(error: GitError) -> GitError {
    match error {
        GitError::Other(text) | GitError::Refused(text) => GitError::Damaged(text),
        other => other,
    }
}

/// Reads what `ls-tree -r -z -l` prints.
fn parse(printed: &[u8], limits: TreeLimits) -> Result<Vec<TreeEntry>, GitError> {
    let mut entries = Vec::new();
    let mut bytes = 0_u64;
    for line in printed.split(|c| *c == 0).filter(|line| !line.is_empty()) {
        let entry = entry(line)?;
        bytes = bytes.saturating_add(entry.size);
        if bytes > limits.bytes {
            return Err(GitError::TooLarge { bytes, budget: limits.bytes });
        }
        if entry.path.len() as u64 > limits.path_bytes {
            return Err(GitError::Refused(format!("the path {:?} is too long", entry.path)));
        }
        if entries.len() as u64 >= limits.files {
            return Err(GitError::Refused(format!("there are more than {} files", limits.files)));
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// Reads an entry of `ls-tree -z -l`.
pub(super) fn entry(line: &[u8]) -> Result<TreeEntry, GitError> {
    let shown = || String::from_utf8_lossy(line).into_owned();
    let odd = || GitError::Damaged(format!("an entry of a tree cannot be read: {:?}", shown()));
    let tab = line.iter().position(|c| *c == b'\t').ok_or_else(odd)?;
    let (about, path) = (line.get(..tab).unwrap_or_default(), line.get(tab + 1..).unwrap_or_default());
    let path = std::str::from_utf8(path).map_err(|_| {
        let path = path.escape_ascii();
        GitError::Refused(format!("the name of the file \"{path}\" is not UTF-8: rename it"))
    })?;
    let about = std::str::from_utf8(about).map_err(|_| odd())?;
    let mut words = about.split_ascii_whitespace();
    let (mode, kind, id, size) = (words.next(), words.next(), words.next(), words.next());
    let mode = match (mode, kind) {
        (Some("120000"), Some("blob")) => TreeMode::Symlink,
        (Some("160000"), Some("commit")) => TreeMode::Gitlink,
        (Some("100755"), Some("blob")) => TreeMode::Executable,
        (Some(mode), Some("blob")) if mode.starts_with("100") => TreeMode::File,
        _ => return Err(odd()),
    };
    let id = id.and_then(|id| id.parse().ok()).ok_or_else(odd)?;
    let size = match (mode, size) {
        (TreeMode::Gitlink, Some("-")) => 0,
        (_, Some(size)) => size.parse().map_err(|_| odd())?,
        _ => return Err(odd()),
    };
    if path.is_empty() {
        return Err(odd());
    }
    Ok(TreeEntry { path: path.to_owned(), mode, id, size })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: TreeLimits = TreeLimits { files: 3, bytes: 100, path_bytes: 10 };

    fn line(mode: &str, size: &str, path: &str) -> String {
        let kind = if mode == "160000" { "commit" } else { "blob" };
        format!("{mode} {kind} {} {size:>7}\t{path}\0", "0a1b".repeat(10))
    }

    #[test]
    fn entries_of_all_kinds_are_read() {
        let printed = line("100644", "12", "a\tb") + &line("100755", "0", "b") + &line("160000", "-", "c");
        let entries = parse(printed.as_bytes(), LIMITS).unwrap();
        let read = entries.iter().map(|entry| (entry.path.as_str(), entry.mode, entry.size));
        assert_eq!(
            read.collect::<Vec<_>>(),
            [("a\tb", TreeMode::File, 12), ("b", TreeMode::Executable, 0), ("c", TreeMode::Gitlink, 0)]
        );
        let link = parse(line("120000", "4", "d").as_bytes(), LIMITS).unwrap();
        assert_eq!(link[0].mode, TreeMode::Symlink);
    }

    #[test]
    fn bounds_are_kept() {
        let of = |printed: String| parse(printed.as_bytes(), LIMITS).unwrap_err().to_string();
        assert!(of(line("100644", "101", "a")).contains("limit is 100"));
        assert!(of(line("100644", "1", "a").repeat(4)).contains("more than 3 files"));
        assert!(of(line("100644", "1", "12345678901")).contains("too long"));
    }

    #[test]
    fn what_is_no_entry_is_damage() {
        for printed in ["x\0", "100644 blob zz 1\ta\0", "040000 tree 0 -\ta\0", "100644 blob\ta\0"] {
            let error = parse(printed.as_bytes(), LIMITS).unwrap_err();
            assert!(matches!(error, GitError::Damaged(_)), "{printed:?}: {error}");
        }
    }
}
