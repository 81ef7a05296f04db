//! A server under test: its log is read from the start, and it ends with its owner.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde_json::Value;

use crate::log::Log;
use crate::{eventually, within};

/// Ends with its owner, so that a test that fails leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Process(Child);

/// A server that has ended.
#[derive(Debug)]
pub struct ServerExit {
    pub status: ExitStatus,
    pub log: Log,
}

impl Process {
    /// Removes the settings of the user who runs the tests.
    pub(crate) fn start(command: Command) -> (Self, Log) {
        Self::start_with_input(command, Stdio::null())
    }

    /// The same with something else as standard input.
    pub(crate) fn start_with_input(mut command: Command, input: Stdio) -> (Self, Log) {
        forget_settings(&mut command);
        command.stdin(input).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a server can be started");
        let stderr = child.stderr.take().expect("standard error is piped");
        (Self(child), Log::read(stderr))
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("a server can be signalled");
    }

    /// Returns the record with the addresses on which the server listens.
    ///
    /// # Panics
    /// When it ends before that.
    pub(crate) async fn listening(&mut self, log: &Log) -> Value {
        let listening = log.wait_for(|record| record["message"] == "listening");
        let Some(record) = within("a server says where it listens", listening).await else {
            let ended = self.ended(log.clone()).await;
            panic!("a server ended before it listened ({}):\n{}", ended.status, ended.log.text());
        };
        record
    }

    pub(crate) async fn ended(&mut self, log: Log) -> ServerExit {
        self.has_ended(&log).await;
        ServerExit { status: self.0.wait().expect("a child can be waited for"), log }
    }

    /// Waits for the end, and for the last line of the log. The exit status is there to be read later.
    ///
    /// The end of the log alone is not the end of the process: the kernel closes the descriptors of one
    /// that is killed by turns, so its locks and listeners may be there for longer.
    pub(crate) async fn has_ended(&self, log: &Log) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        eventually("a server ends", || {
            let ended = waitid(WaitId::Pid(self.pid()), options).expect("a child can be waited for");
            std::future::ready(ended.is_some())
        })
        .await;
        within("the log ends with the server", log.ended()).await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The address in a field of the record of [`Process::listening`].
pub(crate) fn address(record: &Value, field: &str) -> SocketAddr {
    let text = record[field].as_str().unwrap_or_default();
    text.parse().unwrap_or_else(|_| panic!("no address in {field:?} of {record}"))
}

/// Shows a server's log beside the failure of the test that is over.
pub(crate) fn show_after_panic(name: &str, log: &Log) {
    if std::thread::panicking() {
        show(name, log);
    }
}

#[expect(clippy::print_stderr, reason = "the log of a failed test's server belongs beside the failure")]
fn show(name: &str, log: &Log) {
    eprintln!("---- the {name}'s log ----\n{}\n---- end of the {name}'s log ----", log.text());
}

pub(crate) fn forget_settings(command: &mut Command) {
    // Nor the user's file.
    command.env("XDG_CONFIG_HOME", "/nonexistent");
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("SWITCHYARD_") || text.starts_with("OTEL_") {
            command.env_remove(name);
        }
    }
}

/// A release binary of this workspace.
///
/// # Panics
/// When it was not built.
pub fn binary(name: &str) -> PathBuf {
    let exe = std::env::current_exe().expect("a test knows where it is");
    // target/<profile>/deps/<test>
    let target = exe.ancestors().nth(3).expect("a test runs below a target folder");
    let path = target.join("release").join(name);
    assert!(fs::exists(&path).unwrap_or(false), "{} is missing: run `make build` first", path.display());
    path
}

/// Returns true if a program is installed on this machine.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Runs a program to its end and returns its output.
///
/// # Panics
/// The program fails.
pub(crate) fn output(command: &mut Command) -> Vec<u8> {
    let output = command.output().expect("a program can be run");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {stderr}", output.status);
    output.stdout
}

/// A path as a program's argument.
pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string()
}
