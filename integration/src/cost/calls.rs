//! The system calls of a router and its cells, as strace writes them down.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use tempfile::TempDir;

use super::on_few_cores;
use crate::process::{is_installed, shown};
use crate::router::{Builder, Router};
use crate::usage::threads_called;

/// Calls that wait for events, or let others run. Their number depends on what runs when.
const WAITS: [&str; 4] = ["epoll_wait", "futex", "restart_syscall", "sched_yield"];

/// Calls for memory. Their number depends on when heaps grow, and when V8 collects garbage.
const HEAP: [&str; 4] = ["madvise", "mmap", "mprotect", "munmap"];

/// The names of the router's threads that serve connections begin with this.
const SERVING: &str = "http-";

/// A running record of system calls.
#[derive(Debug)]
pub struct CallTrace {
    file: PathBuf,
    /// Bytes of the file that were read.
    read: u64,
    _folder: TempDir,
}

/// The number of each system call, without waits and calls for memory.
#[derive(Debug, Default)]
pub struct Calls(BTreeMap<String, usize>);

impl CallTrace {
    /// Has the router's calls recorded, and those of its cells, from its start on.
    ///
    /// # Panics
    /// strace is not installed.
    pub fn of(router: Builder) -> (Builder, Self) {
        assert!(is_installed("strace"), "strace is not installed: run `make test`, which installs it");
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let file = folder.path().join("calls");
        // -D: the tracer is a grandchild, and the router the child.
        let strace = ["strace", "-D", "-f", "-qq", "-o", &shown(&file)].map(str::to_owned);
        let router = router.wrapped(on_few_cores().into_iter().chain(strace));
        (router, Self { file, read: 0, _folder: folder })
    }

    /// Returns the calls since the last time: those of the router's threads that serve connections,
    /// and those of the main thread of the cell with this id.
    pub fn take(&mut self, router: &Router, cell: u32) -> (Calls, Calls) {
        let text = self.rest();
        let serving = threads_called(router.pid().as_raw_nonzero().get().unsigned_abs(), SERVING);
        (Calls::of(&text, &serving), Calls::of(&text, &BTreeSet::from([cell])))
    }

    /// Returns the lines that are new.
    fn rest(&mut self) -> String {
        let file = File::open(&self.file).expect("strace has made its file");
        let length = file.metadata().expect("a file has a length").len() - self.read;
        let mut bytes = vec![0; usize::try_from(length).expect("a trace fits into memory")];
        file.read_exact_at(&mut bytes, self.read).expect("a trace can be read");
        // strace may be writing the last line.
        bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1));
        self.read += bytes.len() as u64;
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Calls {
    fn of(trace: &str, threads: &BTreeSet<u32>) -> Self {
        let mut calls = Self::default();
        for (thread, name) in trace.lines().filter_map(call) {
            let is_work = !WAITS.contains(&name) && !HEAP.contains(&name);
            if is_work && threads.contains(&thread) {
                *calls.0.entry(name.to_owned()).or_default() += 1;
            }
        }
        calls
    }

    /// The number of all.
    pub fn all(&self) -> usize {
        self.0.values().sum()
    }

    /// The number of those with this name.
    pub fn called(&self, name: &str) -> usize {
        self.0.get(name).copied().unwrap_or_default()
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls: Vec<_> = self.0.iter().map(|(name, count)| format!("{count} {name}")).collect();
        f.write_str(&calls.join(", "))
    }
}

/// Returns the thread and the name of the call that begins in a line. `None`: another one is
/// resumed, or it is a signal.
fn call(line: &str) -> Option<(u32, &str)> {
    let (thread, rest) = line.split_once(' ')?;
    let (name, _) = rest.trim_start().split_once('(')?;
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then_some((thread.parse().ok()?, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_has_each_call_of_its_threads_once() {
        let trace = "\
            10    recvfrom(9, \"GET (\", 8192, 0, NULL, NULL) = 3\n\
            10    epoll_wait(3,  <unfinished ...>\n\
            11    sendto(10, \"x\", 1, MSG_NOSIGNAL, NULL, 0 <unfinished ...>\n\
            12    write(1, \"other\", 5) = 5\n\
            11    <... sendto resumed>) = 1\n\
            10    <... epoll_wait resumed>[{events=EPOLLIN, data=f(1)}], 1024, 0) = 1\n\
            11    --- SIGSTOP {si_signo=SIGSTOP, si_code=SI_USER (1)} ---\n\
            11    sendto(10, \"y\", 1, MSG_NOSIGNAL, NULL, 0) = 1\n\
            11    madvise(0x7f, 4096, MADV_DONTNEED) = 0\n";
        let calls = Calls::of(trace, &BTreeSet::from([10, 11]));
        assert_eq!(calls.to_string(), "1 recvfrom, 2 sendto");
        assert_eq!((calls.all(), calls.called("sendto"), calls.called("read")), (3, 2, 0));
    }
}
