//! The stream of changes that pages follow: for each project, the version that is live and the error
//! of the newest one, when either has changed.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream;
use serde::Serialize;
use switchyard_contract::event::Diagnostic;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::live::{LiveTable, ProjectEntry};

/// Pause between two comments, by which a client that is gone is noticed.
const COMMENT_EVERY: Duration = Duration::from_secs(15);

/// Server-sent events, one for each change of a project. Begins with one for each project.
pub(super) struct Changes(Pin<Box<dyn Stream<Item = Bytes> + Send>>);

/// The data of one event.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Change {
    project: String,
    /// The digest of the live version, shortened. Empty without one.
    version: String,
    /// The reason why the newest version is not live.
    error: Option<Diagnostic>,
}

/// The state of one stream.
struct Follower {
    live: Arc<LiveTable>,
    changed: watch::Receiver<()>,
    known: BTreeMap<String, Change>,
    waiting: VecDeque<Change>,
}

impl Changes {
    /// Follows all projects of `live`.
    pub(super) fn follow(live: Arc<LiveTable>) -> Self {
        let mut changed = live.subscribe();
        changed.mark_changed();
        let follower = Follower { live, changed, known: BTreeMap::new(), waiting: VecDeque::new() };
        Self(Box::pin(stream::unfold(follower, Follower::next)))
    }

    /// Polls for the next piece. The stream ends with the router.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Changes")
    }
}

impl Follower {
    async fn next(mut self) -> Option<(Bytes, Self)> {
        loop {
            if let Some(change) = self.waiting.pop_front() {
                let json = serde_json::to_string(&change).ok()?;
                return Some((Bytes::from(format!("data: {json}\n\n")), self));
            }
            match timeout(COMMENT_EVERY, self.changed.changed()).await {
                Ok(changed) => changed.ok()?,
                Err(_) => return Some((Bytes::from_static(b":\n\n"), self)),
            }
            self.compare();
        }
    }

    /// Queues what differs from the last look at the table. The queue is never longer than the table:
    /// it is empty when this is called.
    fn compare(&mut self) {
        let table = self.live.load();
        let now: BTreeMap<_, _> =
            table.values().map(|entry| (entry.project.to_string(), Change::of(entry))).collect();
        self.waiting
            .extend(now.values().filter(|change| self.known.get(&change.project) != Some(*change)).cloned());
        self.known = now;
    }
}

impl Change {
    fn of(entry: &ProjectEntry) -> Self {
        Self {
            project: entry.project.to_string(),
            version: entry
                .live
                .as_ref()
                .map(|live| live.version.digest.short().to_string())
                .unwrap_or_default(),
            error: entry.failed.as_ref().map(|failed| failed.error.clone()),
        }
    }
}
