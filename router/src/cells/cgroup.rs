//! A control group for each cell, below a group that the operator has delegated (cgroup v2). The
//! kernel then bounds the memory and the threads of each cell exactly, and shares the processors
//! fairly.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use switchyard_protocol::{LOW_NICE, Limits};

use super::Priority;

/// The controllers to enable, in this order.
const WANTED: [&str; 3] = ["memory", "pids", "cpu"];

/// The prefix of a group's name, before the number of its cell.
const PREFIX: &str = "cell-";

/// Threads of the runtime itself besides workers: V8's and those for blocking calls.
const RUNTIME_THREADS: u32 = 64;

/// A control group that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct GroupError(String);

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
    /// Takes over the group `dir` and removes what a killed router has left in it.
    ///
    /// # Errors
    /// `dir` is not a usable group of cgroup v2.
    pub(crate) fn open(dir: &Path) -> Result<Self, GroupError> {
        let wrong = |what: &str, error: io::Error| GroupError(format!("{}: {what}: {error}", dir.display()));
        let there = fs::read_to_string(dir.join("cgroup.controllers"))
            .map_err(|error| wrong("not a control group of cgroup v2", error))?;
        let there: Vec<_> = there.split_ascii_whitespace().collect();
        let controllers: Vec<_> = WANTED.into_iter().filter(|wanted| there.contains(wanted)).collect();
        if controllers.is_empty() {
            let message = format!(
                "{}: none of the controllers {}: delegate them to this group",
                dir.display(),
                WANTED.join(", ")
            );
            return Err(GroupError(message));
        }
        for controller in &controllers {
            fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}")).map_err(|error| {
                wrong(
                    &format!(
                        "{controller} cannot be enabled (the group must be writable and have no process of its own)"
                    ),
                    error,
                )
            })?;
        }
        for entry in fs::read_dir(dir).map_err(|error| wrong("cannot be read", error))?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(PREFIX) {
                // A group with a process in it stays: it is not ours.
                let _ = fs::remove_dir(entry.path());
            }
        }
        Ok(Self { dir: dir.to_owned(), controllers })
    }

    /// Returns true if the kernel bounds this resource for each cell.
    pub(crate) fn has(&self, controller: &str) -> bool {
        self.controllers.contains(&controller)
    }

    /// The controllers that are missing, for the list of weaker sandbox layers.
    pub(crate) fn missing(&self) -> Vec<String> {
        let missing = WANTED.into_iter().filter(|wanted| !self.controllers.contains(wanted));
        missing.map(|controller| format!("--cgroup: the group has no {controller} controller")).collect()
    }

    /// Puts `process` into a group of its own. Blocks.
    pub(super) fn enter(&self, id: u64, process: u32, priority: Priority) -> io::Result<Group> {
        let group = Group(self.dir.join(format!("{PREFIX}{id}")));
        fs::create_dir(&group.0)?;
        // The nice value of a process counts within its group alone.
        if priority == Priority::Low && self.controllers.contains(&"cpu") {
            group.write("cpu.weight.nice", LOW_NICE)?;
        }
        group.write("cgroup.procs", process)?;
        Ok(group)
    }

    pub(super) fn limit(&self, group: &Group, limits: &Limits) -> io::Result<()> {
        if self.controllers.contains(&"memory") {
            group.write("memory.max", limits.memory)?;
            // Without swap there is no such file.
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
    /// Returns true if the kernel has ended the process for its memory.
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
