//! Starts and ends `switchyard dev`, with its output in a pipe or on a terminal.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

use crate::client::Client;
use crate::log::Log;
use crate::process::{binary, forget_settings};
use crate::{eventually, within};

/// The settings of `dev`, with a folder for its state.
#[derive(Debug)]
pub struct Builder {
    folder: PathBuf,
    state: TempDir,
    flags: Vec<String>,
    env: Vec<(String, String)>,
}

/// A running `switchyard dev`. Dropping it kills it.
#[derive(Debug)]
pub struct Dev {
    pub public: Client,
    pub api: Client,
    /// What it has printed.
    pub output: Log,
    child: Child,
    /// The keys, on a terminal.
    keys: Option<ChildStdin>,
    state: TempDir,
}

impl Dev {
    pub fn builder(folder: &Path) -> Builder {
        Builder {
            folder: folder.to_owned(),
            state: tempfile::tempdir().expect("a temporary folder can be made"),
            flags: Vec::new(),
            env: Vec::new(),
        }
    }

    /// Waits until it has printed a line that contains all of `parts`.
    pub async fn printed(&self, parts: &[&str]) -> String {
        let has_all = |line: &&String| parts.iter().all(|part| line.contains(part));
        eventually(&format!("a line with {parts:?}"), || async {
            self.output.lines().iter().any(|line| has_all(&line))
        })
        .await;
        self.output.lines().iter().rfind(has_all).cloned().unwrap_or_default()
    }

    /// The folder that `XDG_STATE_HOME` names.
    pub fn state(&self) -> &Path {
        self.state.path()
    }

    /// Presses keys on the terminal.
    pub fn press(&mut self, keys: &str) {
        let terminal = self.keys.as_mut().expect("it has a terminal");
        terminal.write_all(keys.as_bytes()).and_then(|()| terminal.flush()).expect("keys can be pressed");
    }

    /// Sends a signal to the process, which must have no terminal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a child can be signalled");
    }

    /// Waits for the end.
    pub async fn ended(mut self) -> (ExitStatus, Log) {
        let output = self.output.clone();
        within("it ends", output.ended()).await;
        let status = self.child.wait().expect("a child can be waited for");
        (status, output)
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_dir(self.state.path().join("switchyard")).into_iter().flatten().flatten();
            let log = log.filter_map(|entry| std::fs::read_to_string(entry.path().join("dev.log")).ok());
            show(&self.output.text(), &log.collect::<String>());
        }
        // A terminal that is gone ends what runs on it.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

#[expect(clippy::print_stderr, reason = "the output of a failed test's server belongs beside the failure")]
fn show(output: &str, log: &str) {
    eprintln!("---- the output ----\n{output}\n---- its log ----\n{log}\n----");
}

impl Builder {
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts with its output in a pipe, and returns when it says where it listens.
    pub async fn start(self) -> Dev {
        let mut command = Command::new(binary("switchyard"));
        command.args(self.arguments()).stdin(Stdio::null());
        self.spawn(command, false).await
    }

    /// Starts on a terminal. `after` is a shell command that runs there when it has ended.
    pub async fn start_on_terminal(self, before: &str, after: &str) -> Dev {
        let words = std::iter::once(binary("switchyard").display().to_string()).chain(self.arguments());
        let quoted: Vec<_> = words.map(|word| format!("'{word}'")).collect();
        let line = format!("{before}; {}; {after}", quoted.join(" "));
        let mut command = Command::new("script");
        command.args(["--quiet", "--flush", "--return", "--command"]).arg(line).arg("/dev/null");
        command.env("TERM", "xterm-256color").stdin(Stdio::piped());
        self.spawn(command, true).await
    }

    fn arguments(&self) -> Vec<String> {
        let folder = self.folder.display().to_string();
        let own = ["dev", &folder, "--listen", ":0", "--api", "localhost:0", "--admin", "127.0.0.1:0"];
        let own = own.map(str::to_owned).into_iter();
        let (before, after): (Vec<_>, Vec<_>) = match self.flags.iter().position(|flag| flag == "--") {
            Some(at) => (self.flags[..at].to_vec(), self.flags[at + 1..].to_vec()),
            None => (self.flags.clone(), Vec::new()),
        };
        own.chain(before)
            .chain(["--".to_owned(), "--spares".to_owned(), "1".to_owned()])
            .chain(after)
            .collect()
    }

    async fn spawn(self, mut command: Command, has_terminal: bool) -> Dev {
        forget_settings(&mut command);
        command.env_remove("NO_COLOR").env("XDG_STATE_HOME", self.state.path());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .process_group(0)
            .spawn()
            .expect("a server can be started");
        let output = Log::read(child.stdout.take().expect("standard output is piped"));
        let keys = child.stdin.take().filter(|_| has_terminal);
        let unknown = || Client::new(SocketAddr::from(([127, 0, 0, 1], 1)));
        let mut dev = Dev { public: unknown(), api: unknown(), output, child, keys, state: self.state };
        let address = |line: &str| {
            let url = line.split("http://").nth(1).unwrap_or_default();
            let port = url.split([':', '/', '\x1b']).nth(1).and_then(|port| port.trim().parse::<u16>().ok());
            SocketAddr::from(([127, 0, 0, 1], port.unwrap_or_else(|| panic!("no port in {line:?}"))))
        };
        dev.public = Client::new(address(&dev.printed(&["Projects", "http://"]).await));
        dev.api = Client::new(address(&dev.printed(&["API", "http://"]).await));
        dev
    }
}
