//! Spans that cells send, each read within its project's share and passed on to the export. A cell
//! is not trusted: it says neither whose its spans are, nor how fast they are read.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use switchyard_contract::project::ProjectName;
use switchyard_telemetry::wire::{BATCH_SPANS, Header, MAX_BATCH, SOCKET};
use switchyard_telemetry::{Origin, SpanCounts, Tracing};
use tokio::io::AsyncReadExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::output::AssignedVersion;
use crate::user::User;
use crate::version::Version;

/// Spans of a project in a second. Each costs some 20 microseconds of a processor.
const RATE: f64 = 1000.0;

/// Spans of a project at once: a quarter of the export's usual queue, so that no project fills it.
const BURST: f64 = 512.0;

/// Bytes that cost as much as a span: most take less.
const SPAN_BYTES: usize = 8 * 1024;

/// The time until a cell connects. A busy machine starts processes slowly.
const CONNECT: Duration = Duration::from_secs(60);

/// The way of spans from the cells to the export.
#[derive(Debug)]
pub(crate) struct SpanRelay {
    tracing: Tracing,
    /// The rest of the share of each project that has sent spans.
    shares: Mutex<HashMap<ProjectName, Share>>,
}

/// The spans that a project may send now.
#[derive(Debug)]
struct Share {
    left: f64,
    at: Instant,
}

impl SpanRelay {
    pub(crate) fn new(tracing: Tracing) -> Arc<Self> {
        Arc::new(Self { tracing, shares: Mutex::default() })
    }

    /// The share of their own traces that cells export.
    pub(super) fn ratio(&self) -> f64 {
        self.tracing.ratio()
    }

    /// Makes the socket that a cell connects to at its start.
    ///
    /// # Errors
    /// The socket cannot be made, or given to the cell's user.
    pub(super) fn listen(&self, dir: &Path, user: Option<User>) -> io::Result<UnixListener> {
        let path = dir.join(SOCKET);
        let listener = UnixListener::bind(&path)?;
        user.map_or(Ok(()), |user| user.give(&path))?;
        Ok(listener)
    }

    /// Reads what one cell sends. Ends with the cell.
    pub(super) async fn follow(self: Arc<Self>, listener: UnixListener, assigned: AssignedVersion) {
        let Ok(Ok((mut socket, _))) = timeout(CONNECT, listener.accept()).await else { return };
        drop(listener);
        while let Some((spans, batch)) = read_batch(&mut socket).await {
            // Batches before the assignment are not the project's.
            let Some(assignment) = assigned.get() else { continue };
            if batch.is_empty() {
                // The cell has dropped them.
                self.tracing.count_over_limit(spans as u64);
                continue;
            }
            let allowed = self.take(&assignment.version.project, spans, batch.len());
            if allowed < spans {
                self.tracing.count_over_limit((spans - allowed) as u64);
            }
            if allowed > 0 && !self.pass_on(&assignment.version, batch, [allowed, spans]).await {
                tracing::warn!(project.name = %assignment.version.project, "a cell has sent malformed spans");
                return;
            }
        }
    }

    pub(super) fn counts(&self) -> SpanCounts {
        self.tracing.counts()
    }

    /// Forgets the share of a project that is gone.
    pub(super) fn forget(&self, project: &ProjectName) {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner).remove(project);
    }

    /// Takes as many spans as are left from a project's share. None, if not all bytes are.
    fn take(&self, project: &ProjectName, spans: usize, bytes: usize) -> usize {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let share = shares.entry(project.clone()).or_default();
        share.take(spans, bytes, Instant::now())
    }

    /// Returns false if the batch is malformed.
    async fn pass_on(&self, version: &Version, batch: Vec<u8>, counts: [usize; 2]) -> bool {
        let origin = Origin { project: version.project.to_string(), version: version.to_string() };
        let tracing = self.tracing.clone();
        // Not on the main thread: a batch may take milliseconds.
        spawn_blocking(move || tracing.relay(&origin, &batch, counts)).await.unwrap_or(false)
    }
}

impl Default for Share {
    fn default() -> Self {
        Self { left: BURST, at: Instant::now() }
    }
}

impl Share {
    fn take(&mut self, spans: usize, bytes: usize, now: Instant) -> usize {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.left = (self.left + since * RATE).min(BURST);
        let allowed = spans.min(self.left as usize);
        let cost = allowed.max(bytes / SPAN_BYTES);
        if cost as f64 > self.left {
            return 0;
        }
        self.left -= cost as f64;
        allowed
    }
}

/// Returns the number of spans in a batch, as the cell says, and the batch. `None`: the cell has
/// ended, or sends something else.
async fn read_batch(socket: &mut UnixStream) -> Option<(usize, Vec<u8>)> {
    let mut header = [0; Header::LENGTH];
    socket.read_exact(&mut header).await.ok()?;
    let Header { spans, bytes } = Header::read(header);
    if bytes > MAX_BATCH || spans > BATCH_SPANS {
        return None;
    }
    let mut batch = vec![0; bytes];
    socket.read_exact(&mut batch).await.ok()?;
    Some((spans, batch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_has_a_burst_and_then_a_rate() {
        let now = Instant::now();
        let mut share = Share { left: BURST, at: now };
        for _ in 0..4 {
            assert_eq!(share.take(128, 1000, now), 128);
        }
        assert_eq!(share.take(128, 1000, now), 0);
        let later = now + Duration::from_millis(100);
        assert_eq!((share.take(128, 1000, later), share.take(1, 1000, later)), (100, 0));
        let much_later = later + Duration::from_secs(3600);
        assert_eq!((share.take(600, 1000, much_later), share.take(1, 1000, much_later)), (512, 0));
    }

    #[test]
    fn large_batches_cost_more_than_their_spans() {
        let now = Instant::now();
        let mut share = Share { left: BURST, at: now };
        for _ in 0..4 {
            assert_eq!(share.take(1, MAX_BATCH, now), 1);
        }
        assert_eq!(share.take(1, MAX_BATCH, now), 0);
    }
}
