//! Follows a deploy while it goes on, by `accept: text/event-stream`.

use http::Request;
use serde_json::Value;

use crate::client::{Body, Client, Connection, Streaming};

/// The server-sent events of one deploy.
#[derive(Debug)]
pub struct Phases {
    stream: Streaming,
    buffer: String,
    /// The phases that were reported, each once.
    pub seen: Vec<String>,
    _connection: Connection,
}

/// One server-sent event.
#[derive(Debug, Clone)]
pub struct Message {
    /// The event's type: `phase` or `done`.
    pub event: String,
    /// The event's JSON.
    pub data: Value,
}

impl Phases {
    /// Returns when the upload has been received.
    ///
    /// # Panics
    /// When the answer is no stream of events.
    pub async fn begin(client: &Client, request: Request<Body>) -> Self {
        let mut connection = client.connect().await;
        let stream = connection.stream(request).await;
        assert_eq!(stream.status(), 200, "the answer is not a stream of events");
        Self { stream, buffer: String::new(), seen: Vec::new(), _connection: connection }
    }

    /// The next event; none at the end, also where the bridge was killed.
    pub async fn next(&mut self) -> Option<Message> {
        loop {
            while let Some(end) = self.buffer.find("\n\n") {
                let text: String = self.buffer.drain(..end + 2).collect();
                if let Some(message) = parse(&text) {
                    self.note(&message);
                    return Some(message);
                }
            }
            let chunk = self.stream.try_next().await?.ok()?;
            self.buffer.push_str(&chunk);
        }
    }

    fn note(&mut self, message: &Message) {
        let phase = message.data["phase"].as_str();
        if let (Some(phase), "phase") = (phase, message.event.as_str())
            && self.seen.last().is_none_or(|last| last != phase)
        {
            self.seen.push(phase.to_owned());
        }
    }

    /// Returns when the deploy has come to the phase, or is over.
    pub async fn until(&mut self, phase: &str) {
        while !self.seen.iter().any(|seen| seen == phase) {
            match self.next().await {
                Some(message) if message.event == "done" => return,
                Some(_) => {}
                None => return,
            }
        }
    }

    /// Returns the id of the deploy, which is in each event.
    pub async fn deploy(&mut self) -> String {
        let message = self.next().await.expect("an event arrives");
        let deploy = message.data["deploy"].as_str();
        deploy.unwrap_or_else(|| panic!("no deploy in {message:?}")).to_owned()
    }

    /// Returns the status and the body that the answer would have had without events.
    ///
    /// # Panics
    /// The events end without `done`.
    pub async fn done(&mut self) -> (u16, Value) {
        while let Some(message) = self.next().await {
            if message.event == "done" {
                let status = message.data["status"].as_u64().expect("`done` has a status");
                return (status as u16, message.data["body"].clone());
            }
        }
        panic!("the events ended before `done`, after {:?}", self.seen);
    }
}

/// None for a comment.
fn parse(text: &str) -> Option<Message> {
    let field = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim_start)
    };
    let data = field("data")?;
    let data = serde_json::from_str(data).unwrap_or_else(|error| panic!("{error} in {data}"));
    Some(Message { event: field("event").unwrap_or("message").to_owned(), data })
}
