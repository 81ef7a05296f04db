//! The router's standard error, line by line, while it runs.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use serde_json::Value;
use tokio::sync::watch;

/// A log that is still being written. Clones see the same lines.
#[derive(Clone, Debug)]
pub struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    count: watch::Receiver<usize>,
    gate: Arc<Gate>,
}

/// `true` while nothing is read.
#[derive(Debug, Default)]
struct Gate {
    is_closed: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn set(&self, is_closed: bool) {
        *self.is_closed.lock().unwrap_or_else(PoisonError::into_inner) = is_closed;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let is_closed = self.is_closed.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_while(is_closed, |is_closed| *is_closed));
    }
}

impl Log {
    /// Reads in a thread of its own, which ends with the stream.
    pub(crate) fn read(stream: impl Read + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (counter, count) = watch::channel(0);
        let written = lines.clone();
        let gate = Arc::new(Gate::default());
        let reading = gate.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let mut lines = written.lock().unwrap_or_else(PoisonError::into_inner);
                lines.push(line);
                counter.send_replace(lines.len());
                drop(lines);
                reading.pass();
            }
        });
        Self { lines, count, gate }
    }

    /// Stops reading from the next line on: output of the server stays in its pipe.
    pub fn pause(&self) {
        self.gate.set(true);
    }

    /// Resumes reading.
    pub fn resume(&self) {
        self.gate.set(false);
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The lines that are JSON, parsed.
    pub fn records(&self) -> Vec<Value> {
        self.lines().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// All lines as one text, to look into and to show.
    pub fn text(&self) -> String {
        self.lines().join("\n")
    }

    /// Waits for the last line.
    pub async fn ended(&self) {
        let mut count = self.count.clone();
        while count.changed().await.is_ok() {}
    }

    /// Waits for a matching line of JSON, including lines already written. `None` if the log ends
    /// without one.
    pub async fn wait_for(&self, matches: impl Fn(&Value) -> bool) -> Option<Value> {
        let mut count = self.count.clone();
        loop {
            let ended = count.has_changed().is_err();
            count.borrow_and_update();
            if let Some(record) = self.records().into_iter().find(&matches) {
                return Some(record);
            }
            if ended || count.changed().await.is_err() {
                return self.records().into_iter().find(&matches);
            }
        }
    }
}
