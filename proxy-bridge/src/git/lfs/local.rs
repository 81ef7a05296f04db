//! Contents from a repository of this machine: from the folder where git-lfs keeps them.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc::Sender;

use super::Piece;
use super::pointer::LfsPointer;
use super::transfer::check;
use crate::git::GitError;

/// Bytes of one piece.
const PIECE: u64 = 64 * 1024;

/// Sends the contents of `pointers`. Blocking work is on a thread of its own.
pub(super) async fn send(
    repository: PathBuf,
    pointers: Vec<LfsPointer>,
    sender: Sender<Vec<Piece>>,
) -> Result<(), GitError> {
    let read = tokio::task::spawn_blocking(move || {
        let inner = repository.join(".git");
        let folder = if inner.is_dir() { inner } else { repository }.join("lfs/objects");
        for (index, pointer) in pointers.iter().enumerate() {
            let copied = copy(&folder, index, pointer, &sender);
            let taken = copied.map_err(|what| {
                let short = pointer.oid.short();
                GitError::Refused(format!("the LFS content {short}: {what} (in {})", folder.display()))
            })?;
            if !taken {
                // Nobody takes more: the taker says why.
                break;
            }
        }
        Ok(())
    });
    read.await.map_err(|error| GitError::Other(error.to_string()))?
}

fn copy(
    folder: &Path,
    index: usize,
    pointer: &LfsPointer,
    sender: &Sender<Vec<Piece>>,
) -> Result<bool, String> {
    let oid = pointer.oid.as_str();
    let (first, second) = (oid.get(..2).unwrap_or_default(), oid.get(2..4).unwrap_or_default());
    let file = open(&folder.join(first).join(second).join(oid))?;
    let send = |bytes, last| sender.blocking_send(vec![Piece { index, bytes, last }]).is_ok();
    let (mut hash, mut bytes) = (Sha256::new(), 0_u64);
    // One byte more than the pointer says tells a file that is too long.
    let mut file = file.take(pointer.size.saturating_add(1));
    loop {
        let mut piece = Vec::new();
        let read = (&mut file).take(PIECE).read_to_end(&mut piece).map_err(|error| error.to_string())?;
        if read == 0 {
            break;
        }
        bytes = bytes.saturating_add(read as u64);
        hash.update(&piece);
        if bytes > pointer.size {
            break;
        }
        if !send(Bytes::from(piece), false) {
            return Ok(false);
        }
    }
    check(pointer, hash, bytes)?;
    Ok(send(Bytes::new(), true))
}

/// Opens a plain file: never a pipe, which would be waited for, and never what a link leads to.
fn open(path: &Path) -> Result<File, String> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let file = opened.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "it is not there: `git lfs fetch --all` brings it".to_owned(),
        _ => error.to_string(),
    })?;
    let found = file.metadata().map_err(|error| error.to_string())?;
    if found.is_file() { Ok(file) } else { Err("it is no plain file".to_owned()) }
}
