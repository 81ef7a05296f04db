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
    /// Returns the name of each layer. One that this kernel does not support comes with the kernel that brings
    /// it, and the consequence.
    pub fn layers(self) -> [(&'static str, Option<&'static str>); 4] {
        let landlock = |since: i32, missing: &'static str| (self.landlock < since).then_some(missing);
        [
            (
                "landlock-files",
                landlock(
                    1,
                    "Landlock for files (Linux 5.13): only Deno's permissions keep a project to its own files, \
                 and links in node_modules lead out",
                ),
            ),
            (
                "landlock-tcp",
                landlock(
                    4,
                    "Landlock for TCP (Linux 6.7): only the process itself keeps a project from opening ports",
                ),
            ),
            (
                "landlock-signals",
                landlock(
                    6,
                    "Landlock for signals (Linux 6.12): only seccomp keeps a project from signalling others",
                ),
            ),
            ("seccomp", (!self.seccomp).then_some("seccomp: a project's process may make any system call")),
        ]
    }

    /// Returns the layers that this kernel does not support. Empty if all are supported.
    pub fn missing(self) -> Vec<&'static str> {
        self.layers().into_iter().filter_map(|(_, missing)| missing).collect()
    }
}
