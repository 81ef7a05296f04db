//! A control group for each cell, where the operator has delegated one (cgroup v2): the kernel then bounds the memory and
//! the threads of each cell exactly, and shares the processors fairly between cells that all want them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use switchyard_protocol::Limits;

/// In the order in which they are asked for.
const WANTED: [&str; 3] = ["memory", "pids", "cpu"];

/// Before the number of each cell.
const PREFIX: &str = "cell-";

/// Threads that the runtime itself may have besides workers: V8's and those for blocking calls.
const RUNTIME_THREADS: u32 = 64;

/// The delegated group, below which each cell gets its own.
#[derive(Debug, Clone)]
pub(crate) struct Groups {
    dir: PathBuf,
    controllers: Vec<&'static str>,
}

/// The group of one cell, removed with it.
#[derive(Debug)]
pub(super) struct Group(PathBuf);

impl Groups {
    /// Takes over `dir`: what a router that was killed has left in it goes.
    ///
    /// # Errors
    /// It is no group of the second version, or nothing in it can be had; in words.
    pub(crate) fn open(dir: &Path) -> Result<Self, String> {
        let wrong = |what: &str, error: io::Error| format!("{}: {what}: {error}", dir.display());
        let there = fs::read_to_string(dir.join("cgroup.controllers"))
            .map_err(|error| wrong("it is no control group of cgroup v2", error))?;
        let there: Vec<_> = there.split_ascii_whitespace().collect();
        let controllers: Vec<_> = WANTED.into_iter().filter(|wanted| there.contains(wanted)).collect();
        if controllers.is_empty() {
            return Err(format!("{} has none of {}; delegate them to it", dir.display(), WANTED.join(", ")));
        }
        for controller in &controllers {
            fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}")).map_err(|error| {
                wrong(
                    &format!(
                        "{controller} cannot be had (it must be writable, and have no process of its own)"
                    ),
                    error,
                )
            })?;
        }
        for entry in fs::read_dir(dir).map_err(|error| wrong("it cannot be read", error))?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(PREFIX) {
                // One that still has a process in it stays, and is none of ours.
                let _ = fs::remove_dir(entry.path());
            }
        }
        Ok(Self { dir: dir.to_owned(), controllers })
    }

    /// What is wanted and not there.
    pub(crate) fn missing(&self) -> Vec<String> {
        let missing = WANTED.into_iter().filter(|wanted| !self.controllers.contains(wanted));
        missing.map(|controller| format!("--cgroup: the group has no {controller} controller")).collect()
    }

    /// Puts `process` into a group of its own.
    pub(super) fn enter(&self, id: u64, process: u32) -> io::Result<Group> {
        let group = Group(self.dir.join(format!("{PREFIX}{id}")));
        fs::create_dir(&group.0)?;
        group.write("cgroup.procs", process)?;
        Ok(group)
    }

    pub(super) fn limit(&self, group: &Group, limits: &Limits) -> io::Result<()> {
        if self.controllers.contains(&"memory") {
            group.write("memory.max", limits.memory)?;
            // Where there is no swap there is no such file.
            let _ = group.write("memory.swap.max", 0);
            group.write("memory.oom.group", 1)?;
        }
        if self.controllers.contains(&"pids") {
            group.write("pids.max", limits.workers.saturating_add(RUNTIME_THREADS))?;
        }
        Ok(())
    }
}

impl Group {
    /// Whether the kernel has ended the process for its memory.
    pub(super) fn ran_out_of_memory(&self) -> bool {
        let events = fs::read_to_string(self.0.join("memory.events")).unwrap_or_default();
        let kills = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.is_some_and(|kills| kills.trim() != "0")
    }

    fn write(&self, file: &str, value: impl ToString) -> io::Result<()> {
        fs::write(self.0.join(file), value.to_string())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.0) {
            tracing::warn!("{} cannot be removed: {error}", self.0.display());
        }
    }
}
