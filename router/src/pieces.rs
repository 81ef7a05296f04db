//! File bodies, read piece by piece. Each piece is read by a blocking task that opens the file
//! anew, so that a slow client holds one piece of memory, but neither a thread nor a descriptor.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::RangeInclusive;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rustix::fs::{Mode, OFlags};
use tokio::task::{JoinHandle, spawn_blocking};

/// Bytes of a piece: a small part of the bytes that a connection may have to write (some 400 KiB),
/// and enough that starting a blocking task (some 10 µs) is a small part of reading and sending
/// them.
const PIECE: u64 = 64 << 10;

/// A range of a file's bytes, read as they are polled for.
#[derive(Debug)]
pub(crate) struct FilePieces {
    path: Arc<Path>,
    ready: Option<Bytes>,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    /// Offset of the next piece that is not read yet.
    at: u64,
    /// Bytes that are still to come, including those that are ready.
    left: u64,
}

/// A file that was opened, and the range of its bytes that is sent.
#[derive(Debug)]
pub(crate) struct OpenedFile {
    /// Size of the file in bytes.
    pub(crate) size: u64,
    pub(crate) range: ByteRange,
    pub(crate) pieces: FilePieces,
}

/// A range of a file's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ByteRange {
    All,
    /// The bytes from the first to the last, both included.
    Part(RangeInclusive<u64>),
    /// The requested bytes do not exist: no bytes are sent.
    Unsatisfiable,
}

impl FilePieces {
    /// Opens the file at `path`, which must be a regular file, and reads its first piece. `choose`
    /// returns the range to send for a file of this size. If `peek` is set, no bytes are read.
    ///
    /// # Errors
    /// The file is not a regular file, or cannot be opened or read.
    pub(crate) async fn open(
        path: Arc<Path>,
        peek: bool,
        choose: impl FnOnce(u64) -> ByteRange + Send + 'static,
    ) -> io::Result<OpenedFile> {
        let opened = spawn_blocking(move || {
            let file = open(&path)?;
            let size = file.metadata()?.len();
            let range = choose(size);
            let (at, left) = match &range {
                _ if peek => (0, 0),
                ByteRange::All => (0, size),
                ByteRange::Part(part) => (*part.start(), part.end() + 1 - part.start()),
                ByteRange::Unsatisfiable => (0, 0),
            };
            let ready = if left > 0 { Some(read(file, at, left)?) } else { None };
            let at = at + ready.as_ref().map_or(0, Bytes::len) as u64;
            Ok(OpenedFile { size, range, pieces: Self { path, ready, reading: None, at, left } })
        });
        opened.await.map_err(io::Error::other)?
    }

    /// Number of bytes that are still to come.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Polls for the next piece; `None`: the range is complete. After an error there are no more
    /// pieces.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if let Some(ready) = self.ready.take() {
            self.left -= ready.len() as u64;
            return Poll::Ready(Some(Ok(ready)));
        }
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let (path, at, left) = (&self.path, self.at, self.left);
        let reading = self.reading.get_or_insert_with(|| {
            let path = path.clone();
            spawn_blocking(move || read(open(&path)?, at, left))
        });
        let read = ready!(Pin::new(reading).poll(cx)).map_err(io::Error::other).flatten();
        self.reading = None;
        let read = read.inspect(|bytes| {
            self.at += bytes.len() as u64;
            self.left -= bytes.len() as u64;
        });
        // Bytes after an error would be at a wrong offset.
        self.left = if read.is_ok() { self.left } else { 0 };
        Poll::Ready(Some(read))
    }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// Reads the next piece of the `left` bytes from offset `at`. Never empty.
fn read(mut file: File, at: u64, left: u64) -> io::Result<Bytes> {
    let length = left.min(PIECE);
    if at > 0 {
        file.seek(SeekFrom::Start(at))?;
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    file.take(length).read_to_end(&mut bytes)?;
    // The file has become shorter since it was opened first.
    if bytes.len() as u64 == length { Ok(bytes.into()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    async fn all(path: &Path, range: ByteRange) -> Vec<u8> {
        let opened = FilePieces::open(path.into(), false, |_| range).await.unwrap();
        let mut pieces = opened.pieces;
        let (mut bytes, promised) = (Vec::new(), pieces.left());
        while let Some(piece) = poll_fn(|cx| pieces.poll_next(cx)).await {
            let piece = piece.unwrap();
            assert!(!piece.is_empty() && piece.len() as u64 <= PIECE);
            bytes.extend_from_slice(&piece);
        }
        assert_eq!((bytes.len() as u64, pieces.left()), (promised, 0));
        bytes
    }

    #[tokio::test]
    async fn a_file_and_its_parts_come_whole_in_pieces() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let content: Vec<u8> = (0..3 * PIECE + 7).map(|n| (n % 251) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        assert!(all(&path, ByteRange::All).await == content);
        for (from, to) in [(0, 0), (5, PIECE), (PIECE, 2 * PIECE - 1), (PIECE - 1, 3 * PIECE + 6)] {
            let part = &content[usize::try_from(from).unwrap()..=usize::try_from(to).unwrap()];
            assert!(all(&path, ByteRange::Part(from..=to)).await == part, "{from} to {to}");
        }
        assert!(all(&path, ByteRange::Unsatisfiable).await.is_empty());
        std::fs::write(&path, "").unwrap();
        assert!(all(&path, ByteRange::All).await.is_empty());
    }

    #[tokio::test]
    async fn a_file_that_became_shorter_ends_in_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, vec![0; 2 * usize::try_from(PIECE).unwrap()]).unwrap();
        let mut pieces =
            FilePieces::open(path.as_path().into(), false, |_| ByteRange::All).await.unwrap().pieces;
        assert!(poll_fn(|cx| pieces.poll_next(cx)).await.unwrap().is_ok());
        std::fs::write(&path, "short").unwrap();
        assert!(poll_fn(|cx| pieces.poll_next(cx)).await.unwrap().is_err());
        assert!(poll_fn(|cx| pieces.poll_next(cx)).await.is_none());
    }

    #[tokio::test]
    async fn links_and_folders_are_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        std::fs::write(&file, "x").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for path in [link.as_path(), dir.path(), &dir.path().join("gone")] {
            assert!(
                FilePieces::open(path.into(), true, |_| ByteRange::All).await.is_err(),
                "{}",
                path.display()
            );
        }
    }
}
