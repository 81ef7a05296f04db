//! The contents of many files of a mirror, read by one git.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
};
use tokio::process::ChildStdin;
use tokio::sync::mpsc;

use super::command::{Call, tail};
use super::{GitError, Mirror, ObjectId};

/// Bytes of one piece.
const PIECE: usize = 64 * 1024;
/// Batches that wait for the reader.
const WAITING: usize = 8;
/// Pieces of one batch. A hand-over between threads costs more than most files.
const BATCH: usize = 256;
/// Bound of the line before a content.
const MAX_HEADER: u64 = 200;
/// Bound of the wait for git's next bytes. The reader's own time does not count.
const SILENCE: Duration = Duration::from_secs(60);

/// A content to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    pub id: ObjectId,
    /// In bytes, as the tree says.
    pub size: u64,
}

/// A part of a content. An empty content has one piece too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Of the blob, in the order asked.
    pub index: usize,
    pub bytes: Bytes,
    /// True for the last piece of its blob.
    pub last: bool,
}

/// A failure to read blobs: git's, or one of what took the pieces.
#[derive(Debug, thiserror::Error)]
pub enum BlobsError<E> {
    #[error(transparent)]
    Git(#[from] GitError),
    #[error("{0}")]
    Taker(E),
}

/// Gives pieces to the reader in batches of at most [`BATCH`] pieces, and of about [`PIECE`] bytes.
struct Pieces {
    sender: mpsc::Sender<Vec<Piece>>,
    batch: Vec<Piece>,
    bytes: usize,
}

impl Pieces {
    /// Gives a piece. Returns false if nobody takes it.
    async fn send(&mut self, piece: Piece) -> bool {
        self.bytes += piece.bytes.len();
        self.batch.push(piece);
        if self.bytes < PIECE && self.batch.len() < BATCH {
            return true;
        }
        self.flush().await
    }

    /// Gives what was kept back. Returns false if nobody takes it.
    async fn flush(&mut self) -> bool {
        self.bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        batch.is_empty() || self.sender.send(batch).await.is_ok()
    }
}

impl Mirror {
    /// Reads `blobs` in their order, and gives each piece to `take`, which runs on a thread that may
    /// wait for the disk. Returns `take` when all pieces were taken.
    ///
    /// # Errors
    /// The first failure of `take`; [`GitError::Damaged`] for a blob that is missing, or not of its
    /// size.
    pub async fn read_blobs<T, E>(&self, blobs: Vec<Blob>, take: T) -> Result<T, BlobsError<E>>
    where
        T: FnMut(Piece) -> Result<(), E> + Send + 'static,
        E: Send + 'static,
    {
        if blobs.is_empty() {
            return Ok(take);
        }
        hand_over(take, async |sender| {
            let pieces = Pieces { sender, batch: Vec::new(), bytes: 0 };
            self.send_blobs(&blobs, pieces).await
        })
        .await
    }

    async fn send_blobs(&self, blobs: &[Blob], pieces: Pieces) -> Result<(), GitError> {
        let call = Call::local(self.path(), &["cat-file", "--batch", "--buffer"]);
        let mut running = self.git().start(&call).await?;
        let (stdin, stdout, stderr) = (running.stdin(), running.stdout(), running.stderr());
        let stdout = stdout.ok_or_else(|| GitError::Other("git has no output".to_owned()))?;
        let mut other = pin!(async { tokio::join!(ask(stdin, blobs), tail(stderr)).1 });
        let mut read = pin!(copy(BufReader::with_capacity(PIECE, stdout), blobs, pieces));
        let mut errors = None;
        let read = loop {
            tokio::select! {
                read = &mut read => break read,
                printed = &mut other, if errors.is_none() => errors = Some(printed),
            }
        };
        let result = match read {
            Ok(true) => {
                let end = async {
                    let errors = match errors {
                        Some(errors) => errors,
                        None => other.await,
                    };
                    running.end(&errors).await
                };
                let end = tokio::time::timeout(SILENCE, end).await;
                end.unwrap_or(Err(GitError::TimedOut { seconds: SILENCE.as_secs() }))
            }
            // Nobody takes more: the taker says why.
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        running.stop().await;
        result
    }
}

/// Gives what `send` sends to `take`, on a thread that may wait for the disk.
pub(super) async fn hand_over<T, E>(
    mut take: T,
    send: impl AsyncFnOnce(mpsc::Sender<Vec<Piece>>) -> Result<(), GitError>,
) -> Result<T, BlobsError<E>>
where
    T: FnMut(Piece) -> Result<(), E> + Send + 'static,
    E: Send + 'static,
{
    let (sender, mut receiver) = mpsc::channel::<Vec<Piece>>(WAITING);
    let taking = tokio::task::spawn_blocking(move || {
        while let Some(batch) = receiver.blocking_recv() {
            batch.into_iter().try_for_each(&mut take)?;
        }
        Ok(take)
    });
    // A taker that failed closes the channel, which ends the reading.
    let read = send(sender).await;
    let taken = taking.await.map_err(|error| GitError::Other(error.to_string()))?;
    let take = taken.map_err(BlobsError::Taker)?;
    read?;
    Ok(take)
}

async fn ask(stdin: Option<ChildStdin>, blobs: &[Blob]) {
    let Some(mut stdin) = stdin else { return };
    for some in blobs.chunks(1000) {
        let lines = some.iter().map(|blob| format!("{}\n", blob.id)).collect::<String>();
        if stdin.write_all(lines.as_bytes()).await.is_err() {
            // A git that ends early says why by itself.
            return;
        }
    }
}

/// Sends all contents. Returns false if nobody takes them.
async fn copy(
    mut output: BufReader<impl AsyncRead + Unpin>,
    blobs: &[Blob],
    mut pieces: Pieces,
) -> Result<bool, GitError> {
    for (index, blob) in blobs.iter().enumerate() {
        check_header(&header(&mut output).await?, blob)?;
        let mut left = blob.size;
        loop {
            let count = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let mut bytes = vec![0; count];
            soon(output.read_exact(&mut bytes)).await?;
            left -= count as u64;
            let piece = Piece { index, bytes: bytes.into(), last: left == 0 };
            if !pieces.send(piece).await {
                return Ok(false);
            }
            if left == 0 {
                break;
            }
        }
        if soon(output.read_u8()).await? != b'\n' {
            return Err(GitError::Damaged(format!("blob {} is longer than git said", blob.id)));
        }
    }
    Ok(pieces.flush().await)
}

async fn header(output: &mut (impl AsyncBufRead + Unpin)) -> Result<String, GitError> {
    let mut line = String::new();
    soon(output.take(MAX_HEADER).read_line(&mut line)).await?;
    Ok(line)
}

fn check_header(line: &str, blob: &Blob) -> Result<(), GitError> {
    let mut words = line.trim_end().split(' ');
    let (id, kind, size) = (words.next(), words.next(), words.next());
    let damaged = |what: String| Err(GitError::Damaged(format!("blob {} {what}", blob.id)));
    if id != Some(blob.id.as_str()) {
        return damaged("was not answered".to_owned());
    }
    if kind != Some("blob") {
        return damaged(format!("is {}", kind.unwrap_or("missing")));
    }
    let size = size.and_then(|size| size.parse::<u64>().ok());
    if size == Some(blob.size) { Ok(()) } else { damaged(format!("does not have {} bytes", blob.size)) }
}

/// Waits for bytes of git, but not for ever.
async fn soon<T>(read: impl Future<Output = std::io::Result<T>>) -> Result<T, GitError> {
    match tokio::time::timeout(SILENCE, read).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(GitError::Damaged(format!("a blob ended early: {error}"))),
        Err(_) => Err(GitError::TimedOut { seconds: SILENCE.as_secs() }),
    }
}
