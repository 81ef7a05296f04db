//! The module as a whole, with the real git.

mod bounds;
mod branches;
mod content;
mod failures;
mod following;
mod leftovers;
mod signatures;
mod submodules;

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs, io::Write as _};

use super::{Git, GitError, GitSettings, GitUrl, Mirror, MirrorLimits, ObjectId, RefTarget, Remote};

const LIMITS: MirrorLimits = MirrorLimits { budget: 100 << 20, free: 0 };

/// A repository to follow, in a temporary folder, with room for a mirror.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        place.run(&["init", "-q", "-b", "main", "."], "");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn repository(&self) -> PathBuf {
        let path = self.path("repository");
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// Runs git in the repository, and returns what it printed.
    fn run(&self, args: &[&str], input: &str) -> String {
        let mut child = Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.protectNTFS=false"])
            .args(args)
            .current_dir(self.repository())
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

    /// Commits `files` on the present branch, added to what is there.
    fn commit(&self, files: &[(&str, &str)]) -> ObjectId {
        for (name, content) in files {
            let path = self.repository().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        self.run(&["add", "-A", "."], "");
        self.run(&["commit", "-q", "--allow-empty", "-m", "x"], "");
        self.head()
    }

    fn head(&self) -> ObjectId {
        self.run(&["rev-parse", "HEAD"], "").parse().unwrap()
    }

    fn url(&self) -> GitUrl {
        GitUrl::parse(&format!("file://{}", self.repository().display()), false).unwrap()
    }

    fn remote(&self) -> Remote {
        Remote { url: self.url(), credential: None }
    }

    fn settings(&self) -> GitSettings {
        GitSettings {
            program: "git".into(),
            search_path: env::var_os("PATH").unwrap(),
            home: self.path("home"),
            askpass: self.path("askpass"),
            timeout: Duration::from_secs(60),
            user: None,
            // That of all places.
            local: vec![env::temp_dir()],
        }
    }

    async fn git(&self) -> Git {
        Git::find(self.settings()).await.unwrap()
    }

    async fn mirror(&self) -> Mirror {
        self.mirror_within(LIMITS).await.unwrap()
    }

    async fn mirror_within(&self, limits: MirrorLimits) -> Result<Mirror, GitError> {
        Mirror::open(self.git().await, &self.path("mirrors"), self.remote(), limits).await
    }

    /// A program, in place of git or of what git starts.
    fn program(&self, name: &str, text: impl AsRef<OsStr>) -> PathBuf {
        let path = self.path(name);
        // Another process writes it: a program that is open for writing in this one may not be started.
        let mut writer = Command::new("tee");
        let mut writer = writer.arg(&path).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        writer.stdin.take().unwrap().write_all(text.as_ref().as_encoded_bytes()).unwrap();
        assert!(writer.wait().unwrap().success());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

fn main_branch() -> RefTarget {
    RefTarget::branch("main").unwrap()
}

/// Fetches what `target` names now.
async fn fetch(mirror: &Mirror, target: &RefTarget) -> Result<ObjectId, GitError> {
    let resolved = mirror.resolve(target).await?;
    mirror.fetch("shop", &resolved).await?;
    Ok(resolved.commit)
}

/// All files below `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
