//! Prometheus as operators run it: the server and its checks, with the files of
//! `examples/observability`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;
use crate::eventually;
use crate::log::Log;
use crate::port::Port;

/// A running Prometheus. Dropping it ends it.
#[derive(Debug)]
pub struct Prometheus {
    client: Client,
    log: Log,
    _process: Process,
    _folder: TempDir,
    _port: Port,
}

#[derive(Debug)]
struct Process(Child);

/// The folder `examples/observability`.
pub fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/observability")
}

/// Runs `promtool` in a folder.
///
/// # Panics
/// If promtool reports a problem.
pub fn promtool(folder: &Path, arguments: &[&str]) {
    let run = Command::new("promtool").args(arguments).current_dir(folder).stdin(Stdio::null()).output();
    let output = run.expect("promtool is installed: tools/deps test");
    let printed = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "promtool {arguments:?}: {}", printed.concat());
}

/// Copies the example, and writes the tokens that its scrapes need.
pub fn with_tokens() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    for name in ["prometheus.yml", "alerts.yml", "alerts.test.yml"] {
        fs::copy(example().join(name), folder.path().join(name)).expect("the example has the file");
    }
    for name in ["router.token", "bridge.token"] {
        fs::write(folder.path().join(name), "a-token-0123456789\n").expect("a file can be written");
    }
    folder
}

impl Prometheus {
    /// Starts it with the example's settings, at a faster pace, and returns when it is ready.
    pub async fn start(router: SocketAddr, bridge: SocketAddr) -> Self {
        let (folder, port) = (with_tokens(), Port::reserve());
        let config = folder.path().join("prometheus.yml");
        let mut text = fs::read_to_string(&config).expect("it was copied");
        for (from, to) in [
            ("127.0.0.1:8001", router.to_string()),
            ("127.0.0.1:9000", bridge.to_string()),
            ("15s", "200ms".to_owned()),
        ] {
            assert!(text.contains(from), "{from:?} is not in\n{text}");
            text = text.replace(from, &to);
        }
        fs::write(&config, text).expect("a file can be written");
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg(format!("--web.listen-address={}", port.address));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("prometheus is installed: tools/deps test");
        let log = Log::read(child.stderr.take().expect("standard error is piped"));
        let (mut process, client) = (Process(child), Client::new(port.address));
        eventually("Prometheus is ready", || {
            let status = process.0.try_wait().expect("a child can be waited for");
            assert!(status.is_none(), "Prometheus ended: {}", log.text());
            let client = client.clone();
            async move {
                match client.try_connect().await {
                    Ok(mut connection) => connection.get("/-/ready").await.status == 200,
                    Err(_) => false,
                }
            }
        })
        .await;
        Self { client, log, _process: process, _folder: folder, _port: port }
    }

    /// The series that an expression has now.
    ///
    /// # Panics
    /// If the expression is invalid.
    pub async fn query(&self, expression: &str) -> Vec<Value> {
        let data = self.get(&format!("/api/v1/query?query={}", encoded(expression))).await;
        data["result"].as_array().unwrap_or_else(|| panic!("no series in {data}")).clone()
    }

    /// Waits until an expression has series, and returns them.
    pub async fn series(&self, expression: &str) -> Vec<Value> {
        let what = format!("Prometheus has data for {expression}");
        eventually(&what, || async { !self.query(expression).await.is_empty() }).await;
        self.query(expression).await
    }

    /// The `data` of an answer of its API.
    ///
    /// # Panics
    /// The answer is an error.
    pub async fn get(&self, path: &str) -> Value {
        let reply = self.client.get(path).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        reply.json()["data"].take()
    }
}

/// Encodes a value of a query.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        if std::thread::panicking() {
            show(&self.log);
        }
    }
}

#[expect(clippy::print_stderr, reason = "the log of a failed test's Prometheus belongs beside the failure")]
fn show(log: &Log) {
    eprintln!("---- Prometheus' log ----\n{}\n---- end of it ----", log.text());
}
