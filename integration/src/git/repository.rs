//! Bare repositories, and the ways in which a push changes one.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::process::Command;

use super::change::Change;
use super::command::{git, run};
use super::store::Store;

/// The branch that HEAD names.
const MAIN: &str = "main";

/// A bare repository, `repo.git`, in a temporary folder of its own. Ids of commits are the same in
/// each run. It accepts what the forges do: partial clones, and fetches of a commit by its id.
#[derive(Debug)]
pub struct Repository {
    folder: TempDir,
    store: Store,
}

impl Repository {
    /// An empty repository with SHA-1 ids.
    pub async fn create() -> Self {
        Self::with_ids("sha1").await
    }

    /// An empty repository with ids of this kind: `sha1` or `sha256`.
    pub async fn with_ids(kind: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let store = Store::new(folder.path().join("repo.git"));
        let repository = Self { folder, store };
        let mut command = git(repository.root());
        command.args(["init", "--quiet", "--bare", "--template=", "--object-format", kind]);
        command.args(["--initial-branch", MAIN]).arg(repository.path());
        run(&mut command, b"").await;
        let config = repository.path().join("config");
        let mut text = std::fs::read_to_string(&config).expect("git has written its settings");
        text.push_str(
            "[uploadpack]\n\tallowFilter = true\n\tallowAnySHA1InWant = true\n[core]\n\tfsync = none\n\
             [gc]\n\tauto = 0\n[receive]\n\tautogc = false\n",
        );
        std::fs::write(config, text).expect("a file can be written");
        repository
    }

    /// The folder `repo.git`.
    pub fn path(&self) -> PathBuf {
        self.store.path.clone()
    }

    /// The folder that servers serve: `repo.git` is in it, and nothing else that is a repository.
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Commits these files to `main`, on top of those that it has. Returns the commit's id.
    pub async fn commit(&self, files: &[(&str, &str)], message: &str) -> String {
        let change = files.iter().fold(self.on(MAIN), |change, (path, text)| change.file(path, text));
        change.commit(message).await
    }

    /// Begins a commit to a branch, which is made if it is not there.
    pub fn on(&self, branch: &str) -> Change<'_> {
        Change::new(&self.store, branch)
    }

    /// Makes a branch at the head of `main`, or moves it there. Returns the commit's id.
    pub async fn branch(&self, name: &str) -> String {
        let head = self.head(MAIN).await.expect("main has a commit");
        self.force_push(name, &head).await;
        head
    }

    /// Sets a branch to any commit, as a forced push does.
    pub async fn force_push(&self, branch: &str, commit: &str) {
        self.update_ref(&["--no-deref", &format!("refs/heads/{branch}"), commit]).await;
    }

    pub async fn delete_branch(&self, name: &str) {
        self.update_ref(&["-d", &format!("refs/heads/{name}")]).await;
    }

    /// Makes a tag without a message, or moves it.
    pub async fn tag(&self, name: &str, commit: &str) {
        self.update_ref(&[&format!("refs/tags/{name}"), commit]).await;
    }

    /// Makes a tag that is an object of its own, or moves it. Returns the tag's id, which is not the
    /// commit's.
    pub async fn annotated_tag(&self, name: &str, commit: &str, message: &str) -> String {
        run(self.git().args(["tag", "--annotate", "--force", "-m", message, name, commit]), b"").await;
        run(self.git().args(["rev-parse", &format!("refs/tags/{name}")]), b"").await
    }

    pub async fn delete_tag(&self, name: &str) {
        self.update_ref(&["-d", &format!("refs/tags/{name}")]).await;
    }

    /// Commits a tree as it is given, without git's checks of names, as a hostile client could push
    /// it: entries are mode (`100644`, `120000`, `160000`), name and content (for `160000`: a
    /// commit's id). The branch has only this commit then. Returns its id.
    pub async fn commit_unchecked(&self, branch: &str, entries: &[(&str, &str, &str)]) -> String {
        let mut tree = Vec::new();
        for (mode, name, content) in entries {
            let (kind, id) = match *mode {
                "160000" => ("commit", (*content).to_owned()),
                _ => ("blob", self.blob(content).await),
            };
            tree.extend(format!("{mode} {kind} {id}\t{name}\0").into_bytes());
        }
        let tree = run(self.git().args(["mktree", "-z", "--missing"]), &tree).await;
        let commit = run(self.git().args(["commit-tree", "-m", "unchecked", &tree]), b"").await;
        self.force_push(branch, &commit).await;
        commit
    }

    /// Returns the id of a branch's head, if there is such a branch.
    pub async fn head(&self, branch: &str) -> Option<String> {
        self.store.head(branch).await
    }

    /// Runs git in the repository and returns its output.
    ///
    /// # Panics
    /// It fails.
    pub async fn git_output(&self, arguments: &[&str]) -> String {
        run(self.git().args(arguments), b"").await
    }

    fn git(&self) -> Command {
        self.store.git()
    }

    async fn blob(&self, content: &str) -> String {
        run(self.git().args(["hash-object", "-w", "--stdin"]), content.as_bytes()).await
    }

    async fn update_ref(&self, arguments: &[&str]) {
        run(self.git().arg("update-ref").args(arguments), b"").await;
    }
}
