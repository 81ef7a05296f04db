//! The thread that writes files to the staging folder, and the queue before it.

use std::path::PathBuf;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::ReceiveError;
use crate::tree::Tree;
use crate::upload::{FileSink, UploadError, receive_files};
use crate::upload_limits::UploadLimits;
use switchyard_contract::project::ProjectName;

/// Batches of steps before the thread: half a megabyte.
const WAITING: usize = 8;

/// The queue, of batches. When all its ends are dropped before [`Step::Done`], nothing is placed.
pub(super) type Steps = mpsc::Sender<Vec<Step>>;

/// A step of storing files.
#[derive(Debug)]
pub(super) enum Step {
    /// The file with this path, relative to the project, begins.
    Begin(String),
    Bytes(Bytes),
    End,
    /// A symbolic link with this path, and where it leads.
    Link(String, String),
    /// All files were given.
    Done,
}

/// A failure to store files.
#[derive(Debug)]
pub(super) enum StoreError {
    Upload(UploadError),
    /// The reader ended without [`Step::Done`].
    Interrupted,
}

impl From<UploadError> for StoreError {
    fn from(error: UploadError) -> Self {
        Self::Upload(error)
    }
}

/// Starts the thread. The files end at `into/<project>`; `into` is made.
pub(super) fn start(
    project: ProjectName,
    into: PathBuf,
    limits: UploadLimits,
) -> (Steps, JoinHandle<Result<Tree, StoreError>>) {
    let (steps, mut received) = mpsc::channel(WAITING);
    let thread = tokio::task::spawn_blocking(move || {
        std::fs::create_dir(&into).map_err(|error| UploadError::volume("make the staging folder", error))?;
        receive_files(&project, &into, &limits, |sink| store(sink, &mut received))
    });
    (steps, thread)
}

fn store(sink: &mut FileSink, batches: &mut mpsc::Receiver<Vec<Step>>) -> Result<(), StoreError> {
    let mut current = String::new();
    let steps = std::iter::from_fn(|| batches.blocking_recv()).flatten();
    for step in steps {
        match step {
            Step::Begin(path) => {
                sink.begin(&path)?;
                current = path;
            }
            Step::Bytes(bytes) => sink.write(&bytes).map_err(|mut error| {
                error.part.get_or_insert_with(|| current.clone());
                error
            })?,
            Step::End => sink.end(),
            Step::Link(path, target) => sink.link(&path, target)?,
            Step::Done => return Ok(()),
        }
    }
    Err(StoreError::Interrupted)
}

/// Returns the error for a thread that ended without its own.
pub(super) fn stopped() -> ReceiveError {
    let error = std::io::Error::other("the writer ended early");
    ReceiveError::Volume(UploadError::volume("write the files", error))
}
