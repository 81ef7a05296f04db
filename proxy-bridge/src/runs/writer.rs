//! The records of runs, written in their order.

use std::sync::Arc;
use std::time::Duration;

use backon::{ConstantBuilder, Retryable as _};
use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot};

use crate::ledger::{Ledger, StoredRun};
use crate::routers::{Router, Routers};
use switchyard_contract::run::RunId;

/// Records that wait to be written. The control waits while it is full: the disk does not answer.
const RECORDS: usize = 1024;

/// The pause before the end of a run is recorded again that could not be: no space is left, for
/// example.
const RECORD_AGAIN: Duration = Duration::from_secs(1);

/// Writes the records of runs in their order, by a task of its own.
pub(super) struct Writer(mpsc::Sender<Record>);

/// A record to be written.
pub(super) enum Record {
    /// The state of a run. Who waits for it is told whether it was written.
    State(Box<StoredRun>, Option<oneshot::Sender<bool>>),
    /// The last record of a run; then its router, if it has one, forgets its last attempt.
    End(Box<StoredRun>, Option<Arc<Router>>),
}

impl Writer {
    /// Starts the task. Also returns the runs whose end has been recorded.
    pub(super) fn start(ledger: Ledger, routers: Routers) -> (Self, mpsc::Receiver<RunId>) {
        let (sender, received) = mpsc::channel(RECORDS);
        let (written_sender, written) = mpsc::channel(RECORDS);
        // Ends with the control, which has the only sender.
        tokio::spawn(write(ledger, routers, received, written_sender));
        (Self(sender), written)
    }

    /// Has a record written after those before it.
    pub(super) fn send(&self, record: Record) {
        // The control decides on; a task keeps the record until there is room.
        if let Err(mpsc::error::TrySendError::Full(record)) = self.0.try_send(record) {
            let sender = self.0.clone();
            let mut sending = Box::pin(async move { sender.send(record).await });
            // Takes its place in the line now: a later record must not be written before it.
            if (&mut sending).now_or_never().is_none() {
                tokio::spawn(sending);
            }
        }
    }
}

async fn write(
    ledger: Ledger,
    routers: Routers,
    mut records: mpsc::Receiver<Record>,
    written: mpsc::Sender<RunId>,
) {
    while let Some(record) = records.recv().await {
        match record {
            Record::State(run, noted) => {
                let id = run.run.id;
                let saved = ledger.save(*run).await;
                if let Err(error) = &saved {
                    tracing::warn!(run = %id, "the state of a run is not recorded: {error}");
                }
                if let Some(noted) = noted {
                    let _ = noted.send(saved.is_ok());
                }
            }
            Record::End(run, router) => {
                let (id, attempt) = (run.run.id, run.run.attempt);
                let save = || ledger.save((*run).clone());
                let saved = save
                    .retry(ConstantBuilder::new().with_delay(RECORD_AGAIN).without_max_times())
                    .sleep(tokio::time::sleep)
                    .notify(|error, _| tracing::error!(run = %id, "the end of a run is not recorded yet: {error}"));
                // Without a limit on attempts it does not fail.
                let _ = saved.await;
                let _ = ledger.end_log(id).await;
                let _ = written.send(id).await;
                if let Some(router) =
                    router.filter(|router| routers.list().iter().any(|other| Arc::ptr_eq(other, router)))
                {
                    // A router that does not answer is asked again when it is back.
                    tokio::spawn(async move { router.forget_run(id, attempt).await });
                }
            }
        }
    }
}
