//! The process of a git server: its log is read from the start, and it ends with all that it has
//! started.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::net::TcpStream;

use crate::eventually;
use crate::log::Log;
use crate::process::show_after_panic;

/// A server in a process group of its own. Dropping it kills the group.
#[derive(Debug)]
pub(super) struct Server {
    name: &'static str,
    child: Child,
    pub(super) log: Log,
}

impl Server {
    /// Starts a server and does not wait for it.
    pub(super) fn spawn(name: &'static str, mut command: Command) -> Self {
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{name} is not installed ({error}): tools/deps test"));
        let log = Log::read(child.stderr.take().expect("standard error is piped"));
        Self { name, child, log }
    }

    /// Starts a server and returns when it listens.
    ///
    /// # Panics
    /// It ends instead.
    pub(super) async fn start(name: &'static str, command: Command, address: SocketAddr) -> Self {
        let mut server = Self::spawn(name, command);
        server.ready(|| async move { TcpStream::connect(address).await.is_ok() }).await;
        server
    }

    /// Waits until a question is answered with yes.
    ///
    /// # Panics
    /// The server ends before.
    pub(super) async fn ready<F: Future<Output = bool>>(&mut self, mut ask: impl FnMut() -> F) {
        let Self { name, child, log } = self;
        eventually(&format!("{name} listens"), || {
            let status = child.try_wait().expect("a child can be waited for");
            assert!(status.is_none(), "{name} ended ({status:?}):\n{}", log.text());
            ask()
        })
        .await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.child);
        // Those in groups of their own, such as the sessions of sshd.
        let started = descendants(pid);
        let _ = kill_process_group(pid, Signal::KILL);
        for pid in started {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = self.child.wait();
        show_after_panic(self.name, &self.log);
    }
}

/// The processes that a process has started, and those that these have started.
fn descendants(pid: Pid) -> Vec<Pid> {
    let pid = pid.as_raw_nonzero();
    // Empty on a kernel without this file: then only the group is killed.
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| Pid::from_raw(child.parse().ok()?));
    children.flat_map(|child| std::iter::once(child).chain(descendants(child))).collect()
}
