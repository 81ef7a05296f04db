//! A client that sends requests all the time, until it gets the answer of the new code.

use std::time::{Duration, Instant};

use switchyard_integration::client::{Client, Connection, request};
use switchyard_integration::within;

/// Pause between two requests: the resolution of the measurement, and little load.
pub(crate) const PAUSE: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(crate) struct Asker {
    client: Client,
    connection: Connection,
    /// The requests so far.
    pub(crate) requests: usize,
    /// The faults of those without an answer, or whose answer was no 200.
    pub(crate) failures: Vec<String>,
}

impl Asker {
    pub(crate) async fn new(client: &Client) -> Self {
        Self { client: client.clone(), connection: client.connect().await, requests: 0, failures: Vec::new() }
    }

    /// Asks until this text is answered, and returns the milliseconds since `began`.
    ///
    /// # Panics
    /// The deadline of the harness is over.
    pub(crate) async fn until(&mut self, path: &str, text: &str, began: Instant) -> f64 {
        let answered = async {
            while !self.has(path, text).await {
                tokio::time::sleep(PAUSE).await;
            }
        };
        within(&format!("{path} answers {text:?}"), answered).await;
        began.elapsed().as_secs_f64() * 1e3
    }

    async fn has(&mut self, path: &str, text: &str) -> bool {
        self.requests += 1;
        match self.connection.try_send(request(path)).await {
            Ok(reply) if reply.status == 200 => return reply.text() == text,
            Ok(reply) => self.failures.push(format!("{path}: {} {}", reply.status, reply.text())),
            Err(error) => {
                self.failures.push(format!("{path}: {error}"));
                self.connection = self.client.connect().await;
            }
        }
        false
    }
}

/// The answers to one client that sends requests one after the other.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// Milliseconds that each answer took.
    pub(crate) times: Vec<f64>,
    /// Requests without an answer, or whose answer was no 200.
    pub(crate) failed: usize,
}

impl Answers {
    /// Sends requests for `path`, with [`PAUSE`] after each, while `goes_on` returns `true`.
    pub(crate) async fn of(client: &Client, path: &str, goes_on: impl Fn() -> bool) -> Self {
        let mut answers = Self::default();
        let mut connection = client.connect().await;
        while goes_on() {
            let began = Instant::now();
            match connection.try_send(request(path)).await {
                Ok(reply) if reply.status == 200 => answers.times.push(began.elapsed().as_secs_f64() * 1e3),
                _ => answers.failed += 1,
            }
            tokio::time::sleep(PAUSE).await;
        }
        answers
    }
}
