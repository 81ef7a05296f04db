//! The processes that a bridge starts, looked at as often as possible while they live.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use switchyard_integration::bridge::Bridge;
use switchyard_integration::usage::children;
use tempfile::TempDir;

/// Between two looks. A git takes some milliseconds.
const PACE: Duration = Duration::from_micros(300);

/// The scripts of shells: the bridge's bounds of a git, the program of a file:// URL, and ssh.
const SCRIPTS: [&str; 4] = ["ulimit -c 0 && ", "git-upload-pack '", "git upload-pack '", "ssh -F /dev/null "];

/// A process as it was seen once. One that starts another program is seen as two.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seen {
    /// The name of the program's file.
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<String>,
}

/// Looks until it is finished or dropped.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<BTreeSet<Seen>>>,
}

/// A folder in which a hostile program would leave a file.
pub(crate) struct Trap(TempDir);

impl Watch {
    pub(crate) fn of(bridge: &Bridge) -> Self {
        let pid = bridge.pid().as_raw_nonzero().get().cast_unsigned();
        let stop = Arc::<AtomicBool>::default();
        let stopping = Arc::clone(&stop);
        let thread = std::thread::spawn(move || look(pid, &stopping));
        Self { stop, thread: Some(thread) }
    }

    /// Returns all that was seen, which is something.
    pub(crate) fn finish(mut self) -> BTreeSet<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.thread.take().expect("it runs").join().expect("the thread ends");
        assert!(seen.iter().any(|seen| seen.program == "git"), "no git was seen: {seen:#?}");
        seen
    }

    /// Checks that nothing ran but git, its helpers and ssh.
    pub(crate) fn saw_only_git(self) {
        let mut others = BTreeMap::new();
        for seen in self.finish() {
            if !is_of_git(&seen) {
                others.insert(seen.program, seen.arguments);
            }
        }
        assert!(others.is_empty(), "{others:#?}");
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Trap {
    pub(crate) fn set() -> Self {
        Self(tempfile::tempdir().expect("a folder can be made"))
    }

    /// A command of a shell without blanks or quotes in its file's name, which leaves a file.
    pub(crate) fn command(&self, name: &str) -> String {
        format!("touch {}", self.file(name).display())
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a program that leaves a file of its name.
    pub(crate) fn program(&self, at: &Path) {
        let name = at.file_name().expect("a file has a name").to_string_lossy();
        fs::create_dir_all(at.parent().expect("a folder can be made")).expect("a folder can be made");
        fs::write(at, format!("#!/bin/sh\n{}\n", self.command(&name))).expect("a file can be written");
        fs::set_permissions(at, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("the mode of a file can be set");
    }

    /// # Panics
    /// Something has run.
    pub(crate) fn was_not_reached(&self) {
        let left: Vec<_> = fs::read_dir(self.0.path())
            .expect("the folder can be read")
            .flatten()
            .map(|entry| entry.path())
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

fn look(pid: u32, stop: &AtomicBool) -> BTreeSet<Seen> {
    let mut all = BTreeSet::new();
    while !stop.load(Ordering::Relaxed) {
        let mut left = children(pid);
        while let Some(pid) = left.pop() {
            all.extend(seen(pid));
            left.extend(children(pid));
        }
        std::thread::sleep(PACE);
    }
    all
}

fn seen(pid: u32) -> Option<Seen> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let list = |name: &str| {
        let bytes = fs::read(folder.join(name)).ok()?;
        let parts = bytes.split(|byte| *byte == 0).filter(|part| !part.is_empty());
        Some(parts.map(|part| String::from_utf8_lossy(part).into_owned()).collect())
    };
    loop {
        let program = fs::read_link(folder.join("exe")).ok()?;
        let (arguments, environment) = (list("cmdline")?, list("environ")?);
        // Otherwise it has become another program between two looks.
        if fs::read_link(folder.join("exe")).ok()? == program {
            let program = program.file_name()?.to_string_lossy().into_owned();
            return Some(Seen { program, arguments, environment });
        }
    }
}

/// `switchyard`: the bridge before it starts a program, and the answer to git's question for a
/// password.
fn is_of_git(seen: &Seen) -> bool {
    match seen.program.as_str() {
        "git" | "ssh" | "ssh-keygen" | "switchyard" => true,
        "sh" | "dash" | "bash" | "busybox" => {
            let is_script = |argument: &String| SCRIPTS.iter().any(|script| argument.starts_with(script));
            // Empty: it is just ending.
            seen.arguments.is_empty() || seen.arguments.iter().any(is_script)
        }
        program => program.starts_with("git-"),
    }
}
