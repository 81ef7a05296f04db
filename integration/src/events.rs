//! Follows the router's events, and waits for the one that a test is about.

use std::sync::{Arc, Mutex, PoisonError};

use switchyard_contract::event::{Event, EventType};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::client::{Client, Streaming, request, with_header};
use crate::within;

/// One follower. What is waited for is taken: a second wait for the same is for the next of its kind.
#[derive(Debug)]
pub struct Events {
    incoming: mpsc::UnboundedReceiver<Event>,
    /// Came while something else was waited for.
    passed: Vec<Event>,
    all: Arc<Mutex<Vec<Event>>>,
    reader: JoinHandle<()>,
}

impl Events {
    /// Follows `GET /events` of an admin listener, after the event with that sequence or from now on.
    pub async fn follow(admin: &Client, after: Option<u64>) -> Self {
        let mut request = with_header(request("/events"), "accept", "text/event-stream");
        if let Some(after) = after {
            request = with_header(request, "last-event-id", &after.to_string());
        }
        let mut connection = admin.connect().await;
        let stream = connection.stream(request).await;
        assert_eq!(stream.status(), 200, "GET /events");
        let (sender, incoming) = mpsc::unbounded_channel();
        let all = Arc::new(Mutex::new(Vec::new()));
        let reader = tokio::spawn(read(stream, sender, all.clone()));
        Self { incoming, passed: Vec::new(), all, reader }
    }

    /// Waits for an event that matches, in the order in which they came.
    pub async fn wait(&mut self, what: &str, matches: impl Fn(&Event) -> bool) -> Event {
        if let Some(index) = self.passed.iter().position(&matches) {
            return self.passed.remove(index);
        }
        let next = async {
            loop {
                let event = self.incoming.recv().await?;
                if matches(&event) {
                    return Some(event);
                }
                self.passed.push(event);
            }
        };
        let found = within(what, next).await;
        found.unwrap_or_else(|| panic!("the events ended before: {what}"))
    }

    pub async fn wait_for(&mut self, kind: EventType, project: &str) -> Event {
        let what = format!("{} of {project}", kind.as_str());
        self.wait(&what, |event| event.kind == kind && event.data.project == project).await
    }

    pub async fn wait_live(&mut self, project: &str) -> Event {
        self.wait_for(EventType::ReloadLive, project).await
    }

    pub async fn wait_failed(&mut self, project: &str) -> Event {
        self.wait_for(EventType::ReloadFailed, project).await
    }

    pub async fn wait_removed(&mut self, project: &str) -> Event {
        self.wait_for(EventType::ProjectRemoved, project).await
    }

    pub async fn wait_retired(&mut self, project: &str) -> Event {
        self.wait_for(EventType::VersionRetired, project).await
    }

    /// All that ever came, also what was waited for.
    pub fn all(&self) -> Vec<Event> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the number of events of a kind for a project.
    pub fn count(&self, kind: EventType, project: &str) -> usize {
        self.all().iter().filter(|event| event.kind == kind && event.data.project == project).count()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read(mut stream: Streaming, sender: mpsc::UnboundedSender<Event>, all: Arc<Mutex<Vec<Event>>>) {
    let mut buffer = String::new();
    // No deadline: there may be no event for long.
    while let Some(Ok(chunk)) = stream.next_unbounded().await {
        buffer.push_str(&chunk);
        while let Some(end) = buffer.find("\n\n") {
            let message: String = buffer.drain(..end + 2).collect();
            let Some(event) = parse(&message) else {
                continue;
            };
            all.lock().unwrap_or_else(PoisonError::into_inner).push(event.clone());
            if sender.send(event).is_err() {
                return;
            }
        }
    }
}

/// None for a comment, which keeps the connection alive.
fn parse(message: &str) -> Option<Event> {
    let field = |name: &str| {
        message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim_start)
    };
    let event: Event = serde_json::from_str(field("data")?).expect("data: is an event");
    assert_eq!(field("event"), Some(event.kind.as_str()), "{message}");
    assert_eq!(field("id"), Some(event.data.sequence.to_string().as_str()), "{message}");
    Some(event)
}
