//! A debugger that speaks Chrome's DevTools protocol, driven by the test.

use std::collections::VecDeque;

use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderName, HeaderValue};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::client::Client;
use crate::within;

/// Attached to one process.
#[derive(Debug)]
pub struct Debugger {
    socket: WebSocketStream<TcpStream>,
    /// Messages that arrived and that the test has not read yet.
    events: VecDeque<Value>,
    last_call: u64,
}

impl Debugger {
    /// Attaches to the target that an answer of `/json/list` describes.
    pub async fn attach(admin: &Client, target: &Value) -> Self {
        let url = target["webSocketDebuggerUrl"].as_str().expect("a target has a URL");
        let path = url.strip_prefix(&format!("ws://{}", admin.address));
        let path = path.unwrap_or_else(|| panic!("{url} leads elsewhere"));
        Self::open(admin, path).await
    }

    /// Attaches at a path of the admin listener.
    pub async fn open(admin: &Client, path: &str) -> Self {
        let socket = admin.websocket(path).await.expect("a debugger may attach");
        Self { socket, events: VecDeque::new(), last_call: 0 }
    }

    /// Sends a command and gives its result.
    ///
    /// # Panics
    /// When it is answered with an error.
    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params).await;
        loop {
            let message = self.next(method).await;
            if message["id"] == id {
                assert_eq!(message["error"], Value::Null, "{method}");
                return message["result"].clone();
            }
            self.events.push_back(message);
        }
    }

    /// Sends a command without waiting for what comes of it.
    pub async fn send(&mut self, method: &str, params: Value) -> u64 {
        self.last_call += 1;
        let command = json!({ "id": self.last_call, "method": method, "params": params });
        self.socket.send(Message::text(command.to_string())).await.expect("a command can be sent");
        self.last_call
    }

    /// The parameters of the next event of that name for which `is_it` holds; those before it are forgotten.
    pub async fn event(&mut self, method: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        loop {
            let mut message = match self.events.pop_front() {
                Some(message) => message,
                None => self.next(method).await,
            };
            if message["method"] == method && is_it(&message["params"]) {
                return message["params"].take();
            }
        }
    }

    /// Returns the value of an expression in the project's realm.
    pub async fn evaluate(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let result = self.call("Runtime.evaluate", params).await;
        assert_eq!(result["exceptionDetails"], Value::Null, "{expression}");
        result["result"]["value"].clone()
    }

    /// Has every request stop at a line (from 0) of the scripts whose URL ends so.
    pub async fn break_at(&mut self, file: &str, line: u32) {
        self.call("Debugger.enable", json!({})).await;
        let pattern = format!("{}$", file.replace('.', "\\."));
        let set = self
            .call("Debugger.setBreakpointByUrl", json!({ "urlRegex": pattern, "lineNumber": line }))
            .await;
        assert_eq!(set["locations"][0]["lineNumber"], line, "{set}");
    }

    /// Hangs up without a word.
    pub fn vanish(self) {
        drop(self.socket);
    }

    /// Waits for the other end to close, and gives why it did.
    pub async fn closed(mut self) -> Option<CloseFrame> {
        loop {
            match within("the debugger is sent away", self.socket.next()).await {
                Some(Ok(Message::Close(why))) => return why,
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }

    async fn next(&mut self, what: &str) -> Value {
        loop {
            let message = within(what, self.socket.next()).await.expect("the other end is open");
            if let Message::Text(text) = message.expect("a message can be read") {
                return serde_json::from_str(&text).expect("a message is JSON");
            }
        }
    }
}

/// Returns the debuggable targets that the admin listener lists.
pub async fn targets(admin: &Client) -> Vec<Value> {
    let reply = admin.get("/json/list").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json().as_array().expect("it is a list").clone()
}

/// Returns the refusal of an attempt to attach with this header: its status, and the `type` of the
/// problem.
pub async fn refusal(admin: &Client, path: &str, header: Option<(&str, &str)>) -> (u16, String) {
    let headers = header.into_iter().map(|(name, value)| {
        let name: HeaderName = name.parse().expect("it is a name");
        (name, HeaderValue::from_str(value).expect("it is a value"))
    });
    match admin.websocket_with(path, headers.collect()).await {
        Err(tungstenite::Error::Http(answer)) => {
            let problem: Value = serde_json::from_slice(answer.body().as_deref().unwrap_or_default())
                .expect("a refusal is a problem document");
            let kind = problem["type"].as_str().unwrap_or_default();
            (answer.status().as_u16(), kind.trim_start_matches("urn:switchyard:problem:").to_owned())
        }
        other => panic!("{path} is not refused: {other:?}"),
    }
}
