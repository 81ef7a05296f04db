//! A steady stream of requests that records every answer, to show the effect of a change on
//! clients.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::client::{Client, request};
use crate::{eventually, within};

/// Between two requests of a connection: some hundred requests a second leave the cores to the
/// router.
const PACE: Duration = Duration::from_millis(4);

/// Requests under way. End it with [`Probe::finish`].
#[derive(Debug)]
pub struct Probe {
    stopping: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    connections: Vec<JoinHandle<Vec<Answer>>>,
}

/// One request and what came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub connection: usize,
    pub began: Instant,
    pub ended: Instant,
    /// The answer's status, or the reason for a missing answer.
    pub status: Result<u16, String>,
    /// `x-switchyard-version`
    pub version: String,
    /// The body, which reveals the version of the project's code.
    pub label: String,
}

/// Everything that was answered, by connection and then by time.
#[derive(Debug)]
pub struct Report {
    pub answers: Vec<Answer>,
}

impl Probe {
    /// Sends `GET path` over two keep-alive connections, each request after the answer to the one
    /// before.
    pub async fn start(client: &Client, path: &str) -> Self {
        Self::with_connections(client, path, 2).await
    }

    pub async fn with_connections(client: &Client, path: &str, count: usize) -> Self {
        let (stopping, answered) = <(Arc<AtomicBool>, Arc<AtomicU64>)>::default();
        let connection = |index| {
            let (client, path) = (client.clone(), path.to_owned());
            tokio::spawn(keep_asking(index, client, path, stopping.clone(), answered.clone()))
        };
        let connections = (0..count).map(connection).collect();
        let probe = Self { stopping, answered, connections };
        probe.pass(count as u64).await;
        probe
    }

    /// Returns when that many more requests were answered.
    pub async fn pass(&self, count: u64) {
        let target = self.answered() + count;
        eventually("the probe is answered", || std::future::ready(self.answered() >= target)).await;
    }

    /// Returns the number of requests that were answered so far, successfully or not.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }

    /// Sends a few more requests, stops, and reports.
    pub async fn finish(self) -> Report {
        self.pass(4 * self.connections.len() as u64).await;
        self.stopping.store(true, Ordering::SeqCst);
        let mut answers = Vec::new();
        for connection in self.connections {
            let joined = within("the probe's last answer", connection).await;
            answers.extend(joined.expect("the probe does not panic"));
        }
        Report { answers }
    }
}

async fn keep_asking(
    index: usize,
    client: Client,
    path: String,
    stopping: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
) -> Vec<Answer> {
    let mut answers = Vec::new();
    let mut kept = None;
    while !stopping.load(Ordering::SeqCst) {
        let began = Instant::now();
        let reply = async {
            let connection = match kept.take() {
                Some(connection) => kept.insert(connection),
                None => kept.insert(client.try_connect().await?),
            };
            connection.try_send(request(&path)).await
        }
        .await;
        let mut answer = Answer {
            connection: index,
            began,
            ended: Instant::now(),
            status: Ok(0),
            version: String::new(),
            label: String::new(),
        };
        match reply {
            Ok(reply) => {
                answer.status = Ok(reply.status);
                answer.version = reply.version().unwrap_or_default().to_owned();
                answer.label = reply.text().trim_end().to_owned();
                if reply.ends_connection() {
                    kept = None;
                }
            }
            Err(error) => {
                answer.status = Err(format!("{error:#}"));
                kept = None;
            }
        }
        answers.push(answer);
        answered.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(PACE).await;
    }
    answers
}

impl Report {
    /// Every request was answered with 200 and a version.
    pub fn no_failures(&self) -> &Self {
        let failed = |answer: &&Answer| answer.status != Ok(200) || answer.version.is_empty();
        let failures: Vec<_> = self.answers.iter().filter(failed).take(5).collect();
        assert!(failures.is_empty(), "of {} requests failed: {failures:#?}", self.answers.len());
        self
    }

    /// Checks that only these labels were received, in this order: once a version has answered a
    /// request, no later request was answered by an earlier version, on any connection.
    pub fn versions_monotonic(&self, order: &[&str]) -> &Self {
        let position = |answer: &Answer| {
            let found = order.iter().position(|label| *label == answer.label);
            found.unwrap_or_else(|| panic!("not one of {order:?}: {answer:#?}"))
        };
        let mut by_end: Vec<_> = self.answers.iter().map(|answer| (answer.ended, position(answer))).collect();
        by_end.sort();
        let mut newest_by = BTreeMap::from([(by_end[0].0, 0)]);
        let mut newest = 0;
        for (ended, position) in by_end {
            newest = newest.max(position);
            newest_by.insert(ended, newest);
        }
        for answer in &self.answers {
            let seen_before = newest_by.range(..answer.began).next_back().map_or(0, |(_, newest)| *newest);
            assert!(
                position(answer) >= seen_before,
                "answered by an older version than {:?}, which had answered before: {answer:#?}",
                order[seen_before],
            );
        }
        self
    }

    /// Each label belongs to one version and each version to one label.
    pub fn none_mixed(&self) -> &Self {
        let (mut by_version, mut by_label) = (BTreeMap::new(), BTreeMap::new());
        for Answer { version, label, .. } in &self.answers {
            let known = *by_version.entry(version).or_insert(label);
            assert_eq!(known, label, "{version} answered with two labels");
            let known = *by_label.entry(label).or_insert(version);
            assert_eq!(known, version, "{label:?} came from two versions");
        }
        self
    }

    /// Every request that began after that moment was answered with the label.
    pub fn after(&self, moment: Instant, label: &str) -> &Self {
        let mut later = self.answers.iter().filter(|answer| answer.began > moment).peekable();
        assert!(later.peek().is_some(), "no request was made after the change");
        if let Some(stray) = later.find(|answer| answer.label != label) {
            panic!("not answered with {label:?}: {stray:#?}");
        }
        self
    }
}

#[cfg(test)]
mod tests;
