//! The files of a folder as a tar, which is sent while it is written.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::stream;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

/// Bytes that are sent at once, and the chunks that may wait for the network.
const CHUNK: usize = 64 * 1024;
/// See [`CHUNK`].
const CHUNKS: usize = 4;

/// The tar of a folder's files, written by a thread while it is read. It ends with an error if not all
/// of it can be written.
pub(crate) fn archive(
    folder: &Path,
) -> impl stream::Stream<Item = io::Result<Bytes>> + Send + 'static + use<> {
    let (sender, pieces) = mpsc::channel(CHUNKS);
    let folder = folder.to_owned();
    spawn_blocking(move || {
        let failed = sender.clone();
        if let Err(error) = write(&folder, ChunkWriter(sender)) {
            // A receiver that is gone has caused it.
            let _ = failed.blocking_send(Err(error));
        }
    });
    stream::unfold(pieces, |mut pieces| async move { Some((pieces.recv().await?, pieces)) })
}

fn write(folder: &Path, out: ChunkWriter) -> io::Result<()> {
    let mut tar = tar::Builder::new(BufWriter::with_capacity(CHUNK, out));
    for (name, path) in files(folder)? {
        let mut file = std::fs::File::open(path)?;
        let mut header = tar::Header::new_gnu();
        header.set_size(file.metadata()?.len());
        header.set_mode(0o644);
        tar.append_data(&mut header, name, &mut file)?;
    }
    tar.into_inner()?.flush()
}

/// The files below a folder, by their paths relative to it. It was made by an upload's rules: without
/// links, and with a bounded number of files.
fn files(folder: &Path) -> io::Result<BTreeMap<PathBuf, PathBuf>> {
    let (mut found, mut left) = (BTreeMap::new(), vec![PathBuf::new()]);
    while let Some(at) = left.pop() {
        for entry in std::fs::read_dir(folder.join(&at))? {
            let entry = entry?;
            let path = at.join(entry.file_name());
            match entry.file_type()?.is_dir() {
                true => left.push(path),
                false => _ = found.insert(path, entry.path()),
            }
        }
    }
    Ok(found)
}

/// Sends chunks from a thread that may block.
struct ChunkWriter(mpsc::Sender<io::Result<Bytes>>);

impl Write for ChunkWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(data)));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
