//! Uploads: streamed to the staging folder, checked and hashed on the way.
//!
//! Only plain files and folders with names that are safe on every system are accepted; one other
//! entry refuses the whole upload.

mod archive;
mod contents;
mod disposition;
mod error;
mod multipart;
mod paths;
mod raw;
mod sink;
mod tarball;

use std::io;
use std::path::Path;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::HeaderMap;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

pub use self::error::UploadError;
use self::sink::{LinkTarget, Sink};
use crate::tree::Tree;
use crate::upload_limits::UploadLimits;
use switchyard_contract::project::ProjectName;

/// Chunks between the connection and the thread that writes: at most a few hundred kilobytes.
const CHUNKS: usize = 8;

/// Folder for the files of an upload until it is known which folder is the project's.
const RECEIVED: &str = ".received";

/// Folder for the files of an archive.
const UNPACKED: &str = ".unpacked";

/// The layout of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadShape {
    One(ProjectName),
    /// A folder for each project.
    Many,
}

/// An upload that was accepted.
#[derive(Debug)]
pub struct ReceivedUpload {
    /// The files of each project.
    pub trees: Vec<Tree>,
    /// The message that came with the files.
    pub message: Option<String>,
    /// Files that were not stored because they do not count: editors' leftovers, `.git`.
    pub left_out: u64,
}

/// Receives a body of files (multipart) or of one archive. Each tree ends at `into/<project>`.
/// `into` exists and is empty; after an error the caller removes it.
///
/// # Errors
/// The upload is invalid; the error says how to fix it.
pub async fn receive<S, E>(
    headers: &HeaderMap,
    body: S,
    shape: &UploadShape,
    into: &Path,
    limits: &UploadLimits,
) -> Result<ReceivedUpload, UploadError>
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
{
    let sink = || Sink::new(into.join(RECEIVED), limits);
    let (sink, message) = if raw::is_archive(headers) {
        (raw::receive(headers, body, sink()?, limits).await?, None)
    } else {
        let boundary = multipart::boundary(headers, limits)?;
        multipart::receive(body, boundary, sink()?, limits).await?
    };
    let (into, shape, limits) = (into.to_owned(), shape.clone(), *limits);
    let placed = spawn_blocking(move || {
        let Some((kind, file)) = archive::kind_of(&sink) else { return sink.place(&shape, &into) };
        let mut contents = Sink::new(into.join(UNPACKED), &limits)?;
        archive::unpack(kind, &file, &mut contents)?;
        sink.discard()?;
        contents.place(&shape, &into)
    });
    let (trees, left_out) = joined(placed.await)??;
    Ok(ReceivedUpload { trees, message, left_out })
}

/// Receives a tar of one project's files, as a router sends a checkout.
///
/// # Errors
/// As [`receive`].
pub async fn receive_tar<S, E>(
    mut body: S,
    project: &ProjectName,
    into: &Path,
    limits: &UploadLimits,
) -> Result<ReceivedUpload, UploadError>
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
{
    let (chunks, reader) = channel_reader();
    let mut sink = Sink::new(into.join(RECEIVED), limits)?;
    let (into, project) = (into.to_owned(), project.clone());
    let unpacking = spawn_blocking(move || {
        tarball::unpack(reader, &mut sink)?;
        sink.place_whole(&project, &into)
    });
    let send = async {
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| io::Error::other(error.into()));
            let broken = chunk.is_err();
            if chunks.send(chunk).await.is_err() || broken {
                break;
            }
        }
    };
    let sent = timeout(limits.time, send).await;
    // The thread is waited for, so that no file is written once this is over.
    drop(chunks);
    let tree = joined(unpacking.await)?;
    sent.map_err(|_| UploadError::slow(limits))?;
    Ok(ReceivedUpload { trees: vec![tree?], message: None, left_out: 0 })
}

/// Stores one project's files that are read on this machine, as those of a commit, by the rules of an
/// upload. `read` adds the files. The tree ends at `into/<project>`. Blocking.
///
/// # Errors
/// As [`receive`], and those of `read`.
pub fn receive_files<E: From<UploadError>>(
    project: &ProjectName,
    into: &Path,
    limits: &UploadLimits,
    read: impl FnOnce(&mut FileSink) -> Result<(), E>,
) -> Result<Tree, E> {
    let mut files = FileSink(Sink::new(into.join(RECEIVED), limits)?);
    read(&mut files)?;
    Ok(files.0.place_whole(project, into)?)
}

/// Takes the files of one project.
#[derive(Debug)]
pub struct FileSink(Sink);

impl FileSink {
    /// Begins a file. Its bytes follow by [`Self::write`], its end by [`Self::end`].
    ///
    /// # Errors
    /// The name is not safe on every system or comes twice, there are too many files, or the volume
    /// fails.
    pub fn begin(&mut self, path: &str) -> Result<(), UploadError> {
        self.0.open(path)
    }

    /// Adds bytes to the file that was begun.
    ///
    /// # Errors
    /// The files are too large, or the volume fails.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), UploadError> {
        self.0.write(bytes)
    }

    /// Ends the file that was begun.
    pub fn end(&mut self) {
        self.0.close();
    }

    /// Adds a symbolic link. It is followed where its target is inside the project, as in an archive.
    ///
    /// # Errors
    /// The name is not safe or comes twice, or there are too many.
    pub fn link(&mut self, path: &str, target: String) -> Result<(), UploadError> {
        self.0.link(path, LinkTarget::FromFolder(target))
    }
}

fn joined<T>(result: Result<T, tokio::task::JoinError>) -> Result<T, UploadError> {
    result.map_err(|panic| UploadError::volume("write the upload", io::Error::other(panic)))
}

fn channel_reader() -> (mpsc::Sender<io::Result<Bytes>>, ChannelReader) {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    (sender, ChannelReader { receiver, rest: Bytes::new() })
}

/// Reads the chunks that a task sends, on a thread that may block.
struct ChannelReader {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

impl io::Read for ChannelReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.rest = chunk?,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.rest.len());
        buffer[..length].copy_from_slice(&self.rest.split_to(length));
        Ok(length)
    }
}

#[cfg(test)]
mod tests;
