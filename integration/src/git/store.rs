//! The folder of a bare repository, as git's commands for it see it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::process::Command;

use super::command::{EPOCH, git, run};

#[derive(Debug)]
pub(super) struct Store {
    pub(super) path: PathBuf,
    /// The number of commits made so far.
    commits: AtomicU64,
}

impl Store {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, commits: AtomicU64::new(0) }
    }

    pub(super) fn git(&self) -> Command {
        let mut command = git(&self.path);
        command.arg("--git-dir").arg(&self.path);
        command
    }

    /// The time of the next commit, in seconds since 1970.
    pub(super) fn tick(&self) -> u64 {
        EPOCH + self.commits.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns the id of a branch's head, if there is such a branch.
    pub(super) async fn head(&self, branch: &str) -> Option<String> {
        let wanted = format!("refs/heads/{branch}");
        let refs = ["for-each-ref", "--format=%(objectname) %(refname)", &wanted];
        let refs = run(self.git().args(refs), b"").await;
        // The pattern also matches branches below a folder of this name.
        let mut refs = refs.lines().filter_map(|line| line.split_once(' '));
        refs.find(|(_, name)| *name == wanted).map(|(id, _)| id.to_owned())
    }
}
