//! The bridge's client side, run as people and pipelines run it.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::Bridge;
use crate::process::{binary, forget_settings};
use crate::within;

/// What a command came to.
#[derive(Debug)]
pub struct Outcome {
    /// The exit status.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// What `--json` printed: one document on standard output.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:#?}"))
    }
}

/// Runs `switchyard-bridge` with these arguments and `--to` the bridge.
pub async fn run(bridge: &Bridge, arguments: &[&str]) -> Outcome {
    let to = format!("http://{}", bridge.client.address);
    run_with(&[arguments, &["--to", &to]].concat(), &[]).await
}

/// Runs `switchyard-bridge` with these arguments and this in its environment, and nothing else of
/// Switchyard's.
pub async fn run_with(arguments: &[&str], environment: &[(&str, &str)]) -> Outcome {
    let mut command = Command::new(binary("switchyard-bridge"));
    forget_settings(&mut command);
    command.args(arguments).envs(environment.iter().copied());
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let Output { status, stdout, stderr } =
        within("the command ends", command.output()).await.expect("the command can be run");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Outcome { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}
