//! A service manager: it hears what a server reports, and opens sockets for it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixDatagram, UnixStream};

use crate::log::Log;
use crate::process::{self, Process, ServerExit};
use crate::router::State;
use crate::within;

/// The socket that a server reports to.
#[derive(Debug)]
pub struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Manager {
    /// # Panics
    /// The socket cannot be made.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket can be made");
        Self { socket, folder }
    }

    /// The value of `NOTIFY_SOCKET`.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("notify")
    }

    /// The next report.
    ///
    /// # Panics
    /// There is none.
    pub async fn next(&self) -> String {
        let mut message = [0; 4096];
        let received = within("the server reports its state", self.socket.recv(&mut message)).await;
        let length = received.expect("the socket can be read");
        String::from_utf8_lossy(&message[..length]).into_owned()
    }
}

/// A server that was started by hand or by a service manager. Dropping it kills it.
#[derive(Debug)]
pub struct Service {
    pub log: Log,
    process: Process,
    /// Removed with its last owner.
    _state: State,
}

impl Service {
    /// Starts a server with up to two open sockets of these names, as a service manager does.
    ///
    /// # Panics
    /// There are more sockets.
    pub(crate) fn start(command: Command, sockets: Vec<(&str, OwnedFd)>, state: State) -> Self {
        let (process, log) = if sockets.is_empty() {
            Process::start(command)
        } else {
            // The shell becomes the server: it has the process id that LISTEN_PID names.
            let script = "exec 3<&0 4<&1 </dev/null >/dev/null; export LISTEN_PID=$$; exec \"$@\"";
            let mut shell = Command::new("bash");
            shell.args(["-c", script, "bash"]).arg(command.get_program()).args(command.get_args());
            shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
            let names: Vec<_> = sockets.iter().map(|(name, _)| *name).collect();
            shell.env("LISTEN_FDS", names.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
            let mut sockets = sockets.into_iter().map(|(_, socket)| Stdio::from(socket));
            let [stdin, stdout] = [(); 2].map(|()| sockets.next().unwrap_or_else(Stdio::null));
            assert!(sockets.next().is_none(), "two sockets are enough for a test");
            shell.stdout(stdout);
            Process::start_with_input(shell, stdin)
        };
        Self { log, process, _state: state }
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for the end, and for the last line of the log.
    pub async fn ended(mut self) -> ServerExit {
        self.process.ended(self.log.clone()).await
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        process::show_after_panic("server", &self.log);
    }
}

/// Sends a request to a server at a path. Returns the whole response, or `None` if nobody listens
/// there.
pub async fn get_at(socket: &Path, target: &str) -> Option<String> {
    let mut stream = UnixStream::connect(socket).await.ok()?;
    let request = format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut response = String::new();
    within("the response at a path", stream.read_to_string(&mut response)).await.ok()?;
    Some(response)
}
