//! Headless Chromium, driven by its DevTools protocol: pages are opened as people open them.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use futures_util::{SinkExt, StreamExt};
use http::Method;
use rustix::process::{Pid, Signal, geteuid, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::bridge::Bridge;
use crate::client::{Client, with_method};
use crate::process::is_installed;
use crate::{eventually, within};

mod input;
mod look;

pub use input::Key;
pub use look::{Theme, WIDTHS};

/// Debian's name for it.
const PROGRAM: &str = "chromium";

/// A running browser. Dropping it ends it, with all of its processes.
#[derive(Debug)]
pub struct Browser {
    process: Child,
    tools: Client,
    _profile: TempDir,
}

/// One open page.
#[derive(Debug)]
pub struct Page {
    id: String,
    tools: WebSocketStream<TcpStream>,
    calls: u64,
    errors: Vec<String>,
}

impl Browser {
    /// Starts, and returns when pages can be opened.
    ///
    /// # Panics
    /// When it is not installed: what is shown to people is not left untested.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same, with further arguments.
    ///
    /// # Panics
    /// When it is not installed.
    pub async fn start_with(arguments: &[&str]) -> Self {
        assert!(is_installed(PROGRAM), "{PROGRAM} is not installed: run `make test`, which installs it");
        let profile = tempfile::tempdir().expect("a temporary folder can be made");
        let mut command = Command::new(PROGRAM);
        command
            .args(["--headless", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
            .args(["--disable-background-networking", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(arguments)
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        if geteuid().is_root() {
            // Chromium refuses to run as root in a sandbox.
            command.arg("--no-sandbox");
        }
        let process = command.arg("about:blank").spawn().expect("a browser can be started");
        let message = profile.path().join("DevToolsActivePort");
        let mut port = None;
        eventually("the browser says where it listens", || {
            let text = fs::read_to_string(&message).unwrap_or_default();
            port = text.split_once('\n').and_then(|(port, _)| port.parse().ok());
            std::future::ready(port.is_some())
        })
        .await;
        let address = ([127, 0, 0, 1], port.expect("it has been waited for")).into();
        Self { process, tools: Client::new(address), _profile: profile }
    }

    /// Opens a page, and returns when it and all that belongs to it is loaded.
    pub async fn open(&self, url: &str) -> Page {
        self.open_after("", url).await
    }

    /// Opens the bridge's page, at a path of its own.
    pub async fn open_ui(&self, bridge: &Bridge, path: &str) -> Page {
        self.open(&format!("http://{}/ui/{path}", bridge.client.address)).await
    }

    /// Opens a page like [`open`](Self::open), and runs `script` before those of the page.
    pub async fn open_after(&self, script: &str, url: &str) -> Page {
        let page = self.tools.send(with_method(Method::PUT, "/json/new?about:blank")).await.json();
        let id = page["id"].as_str().expect("a page has an id").to_owned();
        let tools = self.tools.websocket(&format!("/devtools/page/{id}")).await;
        let tools = tools.expect("a page can be driven");
        let mut page = Page { id, tools, calls: 0, errors: Vec::new() };
        for domain in ["Page", "Runtime", "Log"] {
            page.call(&format!("{domain}.enable"), json!({})).await;
        }
        // A page behind others counts as hidden. Here all are seen, as in a window each.
        page.call("Emulation.setFocusEmulationEnabled", json!({ "enabled": true })).await;
        page.call("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script })).await;
        page.call("Page.navigate", json!({ "url": url })).await;
        page.until("location.href !== 'about:blank' && document.readyState === 'complete'").await;
        page
    }

    /// Closes a page.
    pub async fn close(&self, page: Page) {
        self.tools.get(&format!("/json/close/{}", page.id)).await;
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // A process that has ended has no group any more, or one that is still ending.
        let _ = kill_process_group(Pid::from_child(&self.process), Signal::KILL);
        let _ = self.process.wait();
    }
}

impl Page {
    /// Returns the value of a JavaScript expression in the page; promises are awaited.
    ///
    /// # Panics
    /// The expression throws, or the page is replaced by another one meanwhile.
    pub async fn evaluate(&mut self, expression: &str) -> Value {
        let got = self.try_evaluate(expression).await;
        got.unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    /// Waits until an expression is true, in this page or in the one that it is replaced by.
    pub async fn until(&mut self, expression: &str) {
        within(expression, async {
            let check = format!("Boolean({expression})");
            loop {
                match self.try_evaluate(&check).await {
                    Ok(Value::Bool(true)) => break,
                    Err(error) if !is_of_replaced_page(&error) => panic!("{expression}: {error}"),
                    _ => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
                }
            }
        })
        .await;
    }

    /// The text that is shown.
    pub async fn text(&mut self) -> String {
        let text = self.evaluate("document.body.innerText").await;
        text.as_str().expect("a page has a text").to_owned()
    }

    /// Errors in the page's console so far: of scripts, of the network, and what was printed as one.
    pub async fn errors(&mut self) -> &[String] {
        // Those that have come before this answer.
        self.evaluate("0").await;
        &self.errors
    }

    async fn try_evaluate(&mut self, expression: &str) -> Result<Value, Value> {
        let call = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut got = self.try_call("Runtime.evaluate", call).await?;
        assert!(got["exceptionDetails"].is_null(), "{expression}: {got}");
        Ok(got["result"]["value"].take())
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        let got = self.try_call(method, params).await;
        got.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Returns the result of a call, or the error that the browser answers.
    async fn try_call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        self.calls += 1;
        let call = json!({ "id": self.calls, "method": method, "params": params });
        self.tools.send(Message::text(call.to_string())).await.expect("the browser is installed");
        loop {
            let message = within(method, self.tools.next()).await.expect("the browser is installed");
            let Ok(Message::Text(text)) = message else { continue };
            let mut message: Value = serde_json::from_str(&text).expect("the browser speaks JSON");
            if message["id"] == self.calls {
                let error = message["error"].take();
                return if error.is_null() { Ok(message["result"].take()) } else { Err(error) };
            }
            self.note(&message);
        }
    }

    fn note(&mut self, message: &Value) {
        let params = &message["params"];
        let is_error = match message["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => true,
            "Runtime.consoleAPICalled" => params["type"] == "error",
            "Log.entryAdded" => params["entry"]["level"] == "error",
            _ => false,
        };
        if is_error {
            self.errors.push(params.to_string());
        }
    }
}

/// Returns true for the errors of a call to a page that is being replaced by another one.
fn is_of_replaced_page(error: &Value) -> bool {
    let message = error["message"].as_str().unwrap_or_default();
    ["navigated", "context was destroyed", "Cannot find"].iter().any(|text| message.contains(text))
}
