//! The resources of a process, as the kernel reports them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The resources that have to return to their earlier value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    pub threads: usize,
    pub descriptors: usize,
    pub sockets: usize,
    pub children: usize,
    /// Children that have ended and were not waited for (zombies).
    pub zombies: usize,
    /// Files and folders below the run folder.
    pub files: usize,
    /// Bytes of memory that are its own.
    pub memory: usize,
}

impl Usage {
    /// Returns the usage of a process that keeps temporary files in a folder. Files that vanish
    /// meanwhile do not count.
    pub fn of(pid: u32, folder: &Path) -> Self {
        let children = children(pid);
        let zombies = children.iter().filter(|child| state(**child) == Some('Z')).count();
        Self {
            threads: list(&format!("/proc/{pid}/task")),
            descriptors: list(&format!("/proc/{pid}/fd")),
            sockets: sockets(pid).len(),
            children: children.len(),
            zombies,
            files: below(folder),
            memory: memory(pid),
        }
    }
}

impl Usage {
    /// To show: names, and numbers as text.
    pub fn rows(&self) -> [(&'static str, String); 7] {
        [
            ("threads", self.threads.to_string()),
            ("descriptors", self.descriptors.to_string()),
            ("sockets", self.sockets.to_string()),
            ("children", self.children.to_string()),
            ("zombies", self.zombies.to_string()),
            ("temporary files", self.files.to_string()),
            ("memory MB", format!("{:.1}", self.memory as f64 / 1e6)),
        ]
    }
}

/// The inodes of the sockets that a process has open.
fn sockets(pid: u32) -> BTreeSet<u64> {
    let held = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let targets = held.filter_map(|entry| fs::read_link(entry.path()).ok());
    let inode = |target: std::path::PathBuf| {
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok()
    };
    targets.filter_map(inode).collect()
}

/// The files of the Unix sockets that a process has open.
pub fn socket_files(pid: u32) -> Vec<PathBuf> {
    let held = sockets(pid);
    let names = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let named = names.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(6);
        Some((fields.next()?.parse::<u64>().ok()?, fields.next()?))
    });
    named
        .filter(|(inode, path)| held.contains(inode) && path.starts_with('/'))
        .map(|(_, path)| PathBuf::from(path))
        .collect()
}

/// The processes that its threads have started.
pub fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let texts = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    texts
        .flat_map(|text| text.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// The threads of a process whose names begin with `prefix`.
pub fn threads_called(pid: u32, prefix: &str) -> BTreeSet<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let called = tasks.filter(|task| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.starts_with(prefix))
    });
    called.filter_map(|task| task.file_name().to_str()?.parse().ok()).collect()
}

/// Returns true if all threads of a process are stopped by a signal.
pub fn is_stopped(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut states = tasks.filter_map(|task| state_in(&task.path().join("stat")));
    // T, or t while a debugger is attached.
    states.all(|state| matches!(state, 'T' | 't'))
}

/// The nice values of the threads of a process.
pub fn nice_values(pid: u32) -> BTreeSet<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let stats = tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
    let nice = |stat: String| stat.rsplit(')').next()?.split_whitespace().nth(16)?.parse().ok();
    stats.filter_map(nice).collect()
}

fn state(pid: u32) -> Option<char> {
    state_in(Path::new(&format!("/proc/{pid}/stat")))
}

fn state_in(file: &Path) -> Option<char> {
    let stat = fs::read_to_string(file).ok()?;
    stat.rsplit(')').next()?.trim_start().chars().next()
}

fn memory(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
    let kilobytes = line.split_ascii_whitespace().next().and_then(|number| number.parse::<usize>().ok());
    kilobytes.unwrap_or_default() * 1024
}

fn list(folder: &str) -> usize {
    fs::read_dir(folder).map(Iterator::count).unwrap_or_default()
}

fn below(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| 1 + if entry.path().is_dir() { below(&entry.path()) } else { 0 }).sum()
}

/// Raises this process's limit of descriptors to what the kernel lets it have, for many connections.
pub fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("up to the maximum");
}
