//! The bridge's client side, run as people and pipelines run it.

use std::process::{Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use super::Bridge;
use crate::process::{binary, forget_settings};
use crate::within;

/// The result of a command.
#[derive(Debug)]
pub struct Outcome {
    /// The exit status.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// Returns the output of `--json`: one document on standard output.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:#?}"))
    }
}

/// Runs `switchyard` with these arguments and `--to` the bridge.
pub async fn run(bridge: &Bridge, arguments: &[&str]) -> Outcome {
    let to = format!("http://{}", bridge.client.address);
    run_with(&[arguments, &["--to", &to]].concat(), &[]).await
}

/// Runs `switchyard` with these arguments and this in its environment, and nothing else of
/// Switchyard's.
pub async fn run_with(arguments: &[&str], environment: &[(&str, &str)]) -> Outcome {
    let mut command = command(arguments, environment);
    let Output { status, stdout, stderr } =
        within("the command ends", command.output()).await.expect("the command can be run");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Outcome { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// A command that runs until it is stopped. Dropping it kills it.
#[derive(Debug)]
pub struct Following {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Following {
    /// Starts `switchyard` with these arguments and `--to` the bridge.
    pub fn start(bridge: &Bridge, arguments: &[&str]) -> Self {
        let to = format!("http://{}", bridge.client.address);
        let mut command = command(&[arguments, &["--to", &to]].concat(), &[]);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command can be run");
        let stdout = child.stdout.take().expect("standard output is piped");
        Self { child, lines: BufReader::new(stdout).lines() }
    }

    /// Waits until it prints a line with this in it.
    ///
    /// # Panics
    /// When it ends without one.
    pub async fn printed(&mut self, what: &str) -> String {
        loop {
            let line = within("a line is printed", self.lines.next_line()).await;
            let line = line.expect("standard output is text");
            let line = line.unwrap_or_else(|| panic!("the command ended without a line with {what:?}"));
            if line.contains(what) {
                return line;
            }
        }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        kill_process(pid.expect("it runs"), signal).expect("a child can be signalled");
    }

    /// Waits until it ends. Returns its standard error too.
    pub async fn ended(self) -> (ExitStatus, String) {
        let output = within("the command ends", self.child.wait_with_output()).await;
        let Output { status, stderr, .. } = output.expect("a child can be waited for");
        (status, String::from_utf8_lossy(&stderr).into_owned())
    }
}

fn command(arguments: &[&str], environment: &[(&str, &str)]) -> tokio::process::Command {
    // A shell's background job ignores SIGINT, and so would all that it starts.
    let mut command = Command::new("env");
    command.arg("--default-signal=INT").arg(binary("switchyard"));
    forget_settings(&mut command);
    command.args(arguments).envs(environment.iter().copied());
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}
