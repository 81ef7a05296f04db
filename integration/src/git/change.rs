//! A commit as a list of changes, written with `git fast-import`: one process for any number of
//! files, and no work tree.

use sha2::{Digest as _, Sha256};

use super::command::{AUTHOR, EMAIL, run};
use super::store::Store;

/// A commit that is not made yet: see [`Repository::on`](super::Repository::on). Paths are relative
/// to the repository.
#[derive(Debug)]
#[must_use = "nothing is written before it is committed"]
pub struct Change<'a> {
    store: &'a Store,
    branch: String,
    is_unrelated: bool,
    /// Seconds since 1970.
    time: Option<u64>,
    /// Commands of fast-import.
    edits: Vec<u8>,
}

impl<'a> Change<'a> {
    pub(super) fn new(store: &'a Store, branch: &str) -> Self {
        Self { store, branch: branch.to_owned(), is_unrelated: false, time: None, edits: Vec::new() }
    }

    /// Replaces the branch's history: the commit has no parent and no files but its own.
    pub fn unrelated(mut self) -> Self {
        self.is_unrelated = true;
        self
    }

    /// Commits at this time, in seconds since 1970. The id is another one in each run then.
    pub fn at(mut self, time: u64) -> Self {
        self.time = Some(time);
        self
    }

    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.entry("100644", path, content.as_ref())
    }

    pub fn executable(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.entry("100755", path, content.as_ref())
    }

    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry("120000", path, target.as_bytes())
    }

    /// Names a commit of another repository, as a submodule does. No `.gitmodules` is written.
    pub fn gitlink(mut self, path: &str, commit: &str) -> Self {
        self.edits.extend(format!("M 160000 {commit} {}\n", quoted(path)).into_bytes());
        self
    }

    /// Writes what git has instead of a file that is in LFS.
    pub fn lfs_pointer(self, path: &str, content: &[u8]) -> Self {
        let digest: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
        let size = content.len();
        let pointer =
            format!("version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {size}\n");
        self.file(path, pointer)
    }

    /// Removes a file, or a folder with all that is in it.
    pub fn remove(mut self, path: &str) -> Self {
        self.edits.extend(format!("D {}\n", quoted(path)).into_bytes());
        self
    }

    /// Writes the commit and moves the branch. Returns the commit's id.
    ///
    /// # Panics
    /// git refuses it: for example a path with `..`.
    pub async fn commit(self, message: &str) -> String {
        let Self { store, branch, is_unrelated, time, edits } = self;
        let tick = store.tick();
        let time = time.unwrap_or(tick);
        let mut stream = format!("commit refs/heads/{branch}\nmark :1\n").into_bytes();
        for who in ["author", "committer"] {
            stream.extend(format!("{who} {AUTHOR} <{EMAIL}> {time} +0000\n").into_bytes());
        }
        data(&mut stream, message.as_bytes());
        if !is_unrelated && let Some(head) = store.head(&branch).await {
            stream.extend(format!("from {head}\n").into_bytes());
        }
        stream.extend(edits);
        stream.extend(b"\nget-mark :1\ndone\n");
        run(store.git().args(["fast-import", "--quiet", "--done", "--force"]), &stream).await
    }

    fn entry(mut self, mode: &str, path: &str, content: &[u8]) -> Self {
        self.edits.extend(format!("M {mode} inline {}\n", quoted(path)).into_bytes());
        data(&mut self.edits, content);
        self
    }
}

fn data(stream: &mut Vec<u8>, content: &[u8]) {
    stream.extend(format!("data {}\n", content.len()).into_bytes());
    stream.extend(content);
    stream.push(b'\n');
}

fn quoted(path: &str) -> String {
    format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
