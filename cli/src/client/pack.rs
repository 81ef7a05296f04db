//! An upload: the multipart body with one archive in it, made while it is sent. The same files give
//! the same bytes, but for the boundary.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use reqwest::Body;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use uuid::Uuid;

use super::files::{Files, FilesError, Source};
use switchyard_contract::project::ProjectName;

/// Bytes that are handed to the connection at a time.
const PIECE: usize = 64 * 1024;

/// Pieces that may wait for the connection: enough to keep it busy while the next file is opened.
const WAITING: usize = 8;

/// An upload: the files of each project in a folder with its name.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) projects: Vec<(ProjectName, Files)>,
    pub(super) message: Option<String>,
}

/// Progress of an upload, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Flow {
    /// Bytes of files, before compression.
    pub(super) read: u64,
    /// Bytes that the connection has accepted.
    pub(super) sent: u64,
}

/// An upload that is being made.
#[derive(Debug)]
pub(super) struct Packing {
    /// Closed to stop it.
    stop: watch::Sender<()>,
    packer: JoinHandle<io::Result<()>>,
}

impl Packing {
    /// Begins to make the body of a request. The flow ends with the body.
    pub(super) fn start(upload: Arc<Upload>, boundary: &str) -> (Self, Body, watch::Receiver<Flow>) {
        let (pieces, waiting) = mpsc::channel(WAITING);
        let (flow, watched) = watch::channel(Flow::default());
        let (stop, stopped) = watch::channel(());
        let flow = Arc::new(flow);
        let mut out = Pieces { pieces, stopped, runtime: Handle::current() };
        let packer = spawn_blocking({
            let (flow, boundary) = (flow.clone(), boundary.to_owned());
            move || {
                let packed = pack(&upload, &boundary, &mut out, &flow);
                if packed.is_err() {
                    // A body that merely ended would pass for a complete one.
                    out.hand(Err(io::Error::other("the upload could not be made")));
                }
                packed
            }
        });
        let body = stream::unfold((waiting, flow), |(mut waiting, flow)| async move {
            let piece: io::Result<Bytes> = waiting.recv().await?;
            if let Ok(piece) = &piece {
                flow.send_modify(|flow| flow.sent += piece.len() as u64);
            }
            Some((piece, (waiting, flow)))
        });
        (Self { stop, packer }, Body::wrap_stream(body), watched)
    }

    /// Ends the upload, finished or not. Takes at most as long as reading one piece of a file.
    ///
    /// # Errors
    /// A file differs from the listed one, or cannot be read. A body that is not read to its end is
    /// not an error here.
    pub(super) async fn end(self) -> Result<(), FilesError> {
        drop(self.stop);
        match self.packer.await {
            Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(FilesError(error.to_string())),
            Ok(_) => Ok(()),
            Err(panic) => Err(FilesError(format!("the upload could not be made: {panic}"))),
        }
    }
}

/// A boundary that does not occur in the message.
pub(super) fn boundary() -> String {
    format!("switchyard-{}", Uuid::new_v4().simple())
}

fn pack(upload: &Upload, boundary: &str, out: impl Write, flow: &watch::Sender<Flow>) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(PIECE, out);
    if let Some(message) = &upload.message {
        let head =
            "content-disposition: form-data; name=\"message\"\r\ncontent-type: text/plain; charset=utf-8";
        write!(out, "--{boundary}\r\n{head}\r\n\r\n{message}\r\n")?;
    }
    let head = "content-disposition: form-data; name=\"project\"; filename=\"project.tar.zst\"\r\n\
                content-type: application/zstd";
    write!(out, "--{boundary}\r\n{head}\r\n\r\n")?;
    let mut compressed = zstd::Encoder::new(&mut out, zstd::DEFAULT_COMPRESSION_LEVEL)?;
    archive(&upload.projects, &mut compressed, flow)?;
    compressed.finish()?;
    write!(out, "\r\n--{boundary}--\r\n")?;
    out.flush()
}

fn archive(projects: &[(ProjectName, Files)], out: impl Write, flow: &watch::Sender<Flow>) -> io::Result<()> {
    let mut archive = tar::Builder::new(out);
    for (project, files) in projects {
        for (path, source) in &files.files {
            let mut header = header(tar::EntryType::Regular, source.size);
            let file = File::open(&source.path).map_err(|error| with_path(path, &error))?;
            let mut listed = ListedFile { path, source, file, read: 0, hash: Sha256::new(), flow };
            archive.append_data(&mut header, format!("{project}/{path}"), &mut listed)?;
            listed.check()?;
        }
        for (path, target) in &files.links {
            let mut header = header(tar::EntryType::Symlink, 0);
            archive.append_link(&mut header, format!("{project}/{path}"), target)?;
        }
    }
    archive.finish()
}

fn header(kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// A file that must not have changed since it was listed.
struct ListedFile<'a> {
    path: &'a str,
    source: &'a Source,
    file: File,
    read: u64,
    hash: Sha256,
    flow: &'a watch::Sender<Flow>,
}

impl Read for ListedFile<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.source.size - self.read).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let n = self.file.read(&mut buffer[..wanted]).map_err(|error| with_path(self.path, &error))?;
        if n == 0 {
            return Err(self.changed("size"));
        }
        self.read += n as u64;
        if self.source.hash.is_some() {
            self.hash.update(&buffer[..n]);
        }
        self.flow.send_modify(|flow| flow.read += n as u64);
        Ok(n)
    }
}

impl ListedFile<'_> {
    fn check(mut self) -> io::Result<()> {
        if self.file.read(&mut [0]).map_err(|error| with_path(self.path, &error))? > 0 {
            return Err(self.changed("size"));
        }
        let hash: [u8; 32] = self.hash.clone().finalize().into();
        match self.source.hash {
            Some(listed) if listed != hash => Err(self.changed("content")),
            _ => Ok(()),
        }
    }

    fn changed(&self, what: &str) -> io::Error {
        let path = self.path;
        io::Error::other(format!(
            "{path} changed its {what} while it was read: deploy when the folder does not change"
        ))
    }
}

fn with_path(path: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{path} cannot be read: {error}"))
}

/// Passes pieces to the connection, and waits while enough are queued.
struct Pieces {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    stopped: watch::Receiver<()>,
    runtime: Handle,
}

impl Pieces {
    /// Returns true if the connection accepted the piece.
    fn hand(&mut self, piece: io::Result<Bytes>) -> bool {
        let Self { pieces, stopped, runtime } = self;
        runtime.block_on(async {
            tokio::select! {
                taken = pieces.send(piece) => taken.is_ok(),
                // Nothing is ever sent on this channel.
                _ = stopped.changed() => false,
            }
        })
    }
}

impl Write for Pieces {
    /// Fails with `BrokenPipe` once the body is no longer read.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.hand(Ok(Bytes::copy_from_slice(bytes))) {
            Ok(bytes.len())
        } else {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
