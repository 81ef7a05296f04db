//! The mark in the state folder that a bridge has called: from then on it starts crons, also while it
//! is away.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use switchyard_program::atomic_file;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

/// The name of the mark in the state folder.
const NAME: &str = "bridge-seen";

/// The mark, in memory and on disk.
#[derive(Debug, Clone)]
pub(crate) struct BridgeMark {
    path: Arc<Path>,
    seen: Arc<watch::Sender<bool>>,
}

impl BridgeMark {
    /// Looks for the mark in the state folder. Blocks.
    pub(crate) fn open(state: &Path) -> Self {
        let path = state.join(NAME);
        let is_seen = path.exists();
        Self { path: path.into(), seen: Arc::new(watch::Sender::new(is_seen)) }
    }

    /// Notes a call that only a bridge makes. It is on disk when this returns.
    pub(crate) async fn note(&self) {
        if self.seen.send_replace(true) {
            return;
        }
        tracing::info!("a bridge has called: it starts the crons of all projects from now on");
        let path: PathBuf = self.path.to_path_buf();
        let written =
            spawn_blocking(move || atomic_file::write(&path, b"", 0o600).map_err(|error| (path, error)));
        // A panic is logged.
        if let Ok(Err((path, error))) = written.await {
            tracing::error!(
                "{} cannot be written: after a restart this router starts crons besides the bridge, until the \
                 bridge calls again: {error}",
                path.display()
            );
        }
    }

    /// Waits until a bridge has called.
    pub(super) async fn seen(&self) {
        // The sender lives as long as this.
        let _ = self.seen.subscribe().wait_for(|seen| *seen).await;
    }

    #[cfg(test)]
    fn is_seen(&self) -> bool {
        *self.seen.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_of_a_bridge_is_known_after_a_restart() {
        let state = tempfile::tempdir().unwrap();
        let mark = BridgeMark::open(state.path());
        assert!(!mark.is_seen());
        mark.note().await;
        mark.note().await;
        mark.seen().await;
        assert!(BridgeMark::open(state.path()).is_seen());
    }
}
