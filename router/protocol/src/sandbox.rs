//! The sandbox layers of the operating system that a kernel supports.

use serde::{Deserialize, Serialize};

/// The sandbox layers that a cell can have on this kernel, as `switchyard-cell --probe-sandbox`
/// prints them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxSupport {
    /// The version of Landlock's interface: 1 confines files, 4 TCP ports, 6 signals. 0: no
    /// Landlock.
    pub landlock: i32,
    /// `true`: the kernel takes filters of system calls.
    pub seccomp: bool,
}

impl SandboxSupport {
    /// Returns the layers that this kernel does not support, each with the kernel that brings it
    /// and the consequence. Empty if all are supported.
    pub fn missing(self) -> Vec<&'static str> {
        let landlock = [
            (
                1,
                "Landlock for files (Linux 5.13): only Deno's permissions keep a project to its own files, \
                 and links in node_modules lead out",
            ),
            (4, "Landlock for TCP (Linux 6.7): only the process itself keeps a project from opening ports"),
            (6, "Landlock for signals (Linux 6.12): only seccomp keeps a project from signalling others"),
        ];
        let missing = landlock.into_iter().filter(|(since, _)| self.landlock < *since);
        let seccomp = (!self.seccomp).then_some("seccomp: a project's process may make any system call");
        missing.map(|(_, layer)| layer).chain(seccomp).collect()
    }
}
