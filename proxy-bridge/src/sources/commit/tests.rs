//! The module as a whole, with the real git.

mod content;
mod differences;
mod lfs;
mod previews;
mod refusals;
mod signatures;
mod submodules;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs, io::Write as _};

use super::{AppliedProject, OtherMirrors, ReadCommit, ReadError, ReceiveError, read};
use crate::git::{Git, GitError, GitSettings, Mirror, MirrorLimits, ObjectId, Remote, Resolved};
use crate::sources::settings::{SourceSettings, SourcesFile};
use crate::tree::Tree;
use crate::upload_limits::UploadLimits;
use switchyard_contract::project::ProjectName;

const APPS: &str = r#"projects = [{ path = "apps/*" }]"#;

/// A repository and the settings of a source that follows it.
struct Scene {
    dir: tempfile::TempDir,
    settings: SourceSettings,
    mirror: Arc<Mirror>,
    others: Others,
}

/// Mirrors of submodules, each opened once.
struct Others {
    git: Git,
    dir: PathBuf,
    open: tokio::sync::Mutex<BTreeMap<String, Arc<Mirror>>>,
}

impl OtherMirrors for Others {
    async fn open_other(&self, _: &SourceSettings, remote: Remote) -> Result<Arc<Mirror>, GitError> {
        let mut open = self.open.lock().await;
        let url = remote.url.to_string();
        if let Some(mirror) = open.get(&url) {
            return Ok(mirror.clone());
        }
        let mirror = Arc::new(Mirror::open(self.git.clone(), &self.dir, remote, LIMITS).await?);
        open.insert(url, mirror.clone());
        Ok(mirror)
    }
}

const LIMITS: MirrorLimits = MirrorLimits { budget: 100 << 20, free: 0 };

impl Scene {
    /// `lines` are those of the source's settings; `{dir}` in them is the scene's folder.
    async fn new(lines: &str) -> Self {
        Self::in_folder(tempfile::tempdir().unwrap(), lines).await
    }

    async fn in_folder(dir: tempfile::TempDir, lines: &str) -> Self {
        let lines = lines.replace("{dir}", dir.path().to_str().unwrap());
        let repository = dir.path().join("repository");
        fs::create_dir(&repository).unwrap();
        let file = dir.path().join("sources.toml");
        let url = format!("file://{}", repository.display());
        fs::write(&file, format!("[[source]]\nname = \"shop\"\nurl = \"{url}\"\n{lines}\n")).unwrap();
        let settings =
            SourcesFile::open(&file, &[dir.path().to_owned()]).unwrap().get("shop").unwrap().clone();
        let git = GitSettings {
            program: "git".into(),
            search_path: env::var_os("PATH").unwrap(),
            home: dir.path().join("home"),
            askpass: dir.path().join("askpass"),
            user: None,
            local: vec![dir.path().to_owned()],
            timeout: Duration::from_secs(60),
        };
        let git = Git::find(git).await.unwrap();
        let remote = Remote { url: settings.url.clone(), credential: None };
        let mirrors = dir.path().join("mirrors");
        let mirror = Mirror::open(git.clone(), &mirrors, remote, LIMITS).await.unwrap();
        let others = Others { git, dir: mirrors, open: tokio::sync::Mutex::default() };
        let scene = Self { dir, settings, mirror: Arc::new(mirror), others };
        scene.git(&["init", "-q", "-b", "main", "."], "");
        scene
    }

    fn repository(&self) -> PathBuf {
        self.dir.path().join("repository")
    }

    /// Runs git in the repository, and returns what it printed.
    fn git(&self, args: &[&str], input: &str) -> String {
        self.git_in(&self.repository(), args, input)
    }

    fn git_in(&self, repository: &Path, args: &[&str], input: &str) -> String {
        let config = ["user.name=a", "user.email=a@b", "core.protectNTFS=false", "core.autocrlf=false"];
        let mut child = Command::new("git")
            .args(config.iter().flat_map(|line| ["-c", line]))
            .args(args)
            .current_dir(repository)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "git {args:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.repository().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.repository().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
    }

    /// Commits `files`, added to what is there.
    fn commit(&self, files: &[(&str, &str)]) -> ObjectId {
        for (path, content) in files {
            self.put(path, content);
        }
        self.git(&["add", "-A", "-f", "."], "");
        self.git(&["commit", "-q", "--allow-empty", "-m", "x"], "");
        self.git(&["rev-parse", "HEAD"], "").parse().unwrap()
    }

    /// Makes `tree` the newest commit.
    fn commit_tree(&self, tree: &str) -> ObjectId {
        let commit = self.git(&["commit-tree", "-m", "x", tree], "");
        self.git(&["update-ref", "refs/heads/main", &commit], "");
        commit.parse().unwrap()
    }

    async fn read_within(&self, commit: &ObjectId, limits: &UploadLimits) -> Result<ReadCommit, ReadError> {
        let resolved = Resolved { commit: commit.clone(), name: Some("refs/heads/main".to_owned()) };
        self.mirror.fetch("shop", &resolved).await.unwrap();
        read(&self.mirror, &self.others, &self.settings, commit, limits).await
    }

    async fn read(&self, commit: &ObjectId) -> ReadCommit {
        self.read_within(commit, &UploadLimits::default()).await.unwrap()
    }

    /// Reads a commit that is not valid, and returns what is said.
    async fn refusal(&self, commit: &ObjectId) -> String {
        match self.read_within(commit, &UploadLimits::default()).await {
            Err(ReadError::Invalid(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    /// An empty staging folder.
    fn staging(&self) -> PathBuf {
        tempfile::tempdir_in(self.dir.path()).unwrap().keep()
    }

    async fn receive(&self, read: &ReadCommit, project: &str) -> Result<Tree, ReceiveError> {
        read.receive(&self.mirror, &name(project), &self.staging(), &UploadLimits::default()).await
    }

    /// Commits `files` and receives a project that is not valid. Returns what is said.
    async fn unreceived(&self, project: &str, files: &[(&str, &str)]) -> String {
        let read = self.read(&self.commit(files)).await;
        match self.receive(&read, project).await {
            Err(ReceiveError::Invalid(text)) => text,
            other => panic!("{other:?}"),
        }
    }
}

fn name(text: &str) -> ProjectName {
    ProjectName::parse(text).unwrap()
}

/// The projects that are live after a deploy of the commit.
fn applied(read: &ReadCommit) -> BTreeMap<ProjectName, AppliedProject> {
    let live = read.projects().iter().map(|(name, ids)| {
        let (path, key, tree) = (ids.path.clone(), ids.key.clone(), ids.tree.clone());
        (name.clone(), AppliedProject { path, key, tree, digest: None })
    });
    live.collect()
}

/// All files below `folder`, by their paths relative to it, with their contents.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![folder.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap()) {
            if entry.file_type().unwrap().is_dir() {
                left.push(entry.path());
            } else {
                let path = entry.path().strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                found.insert(path, fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}
