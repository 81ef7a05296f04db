//! The way of files from a mirror to the staging folder.

use std::io;
use std::path::Path;
use std::sync::mpsc as pointers;

use super::lfs::{self, Pointer};
use super::listing::ListedFile;
use super::store::{Step, Steps, StoreError, start, stopped};
use super::{ReadCommit, ReceiveError};
use crate::git::{Blob, BlobsError, GitError, LfsPointer, Mirror, Piece, TreeMode};
use crate::sources::settings::ProjectPath;
use crate::tree::Tree;
use crate::upload::UploadError;
use crate::upload_limits::UploadLimits;
use switchyard_contract::digest::is_counted;
use switchyard_contract::project::ProjectName;
use switchyard_contract::visible::word;

/// The longest target of a symbolic link on Linux, in bytes.
const MAX_TARGET: u64 = 4096;

/// A folder or file of a commit, and its name in the staging folder.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    /// In the repository.
    pub(super) path: &'a str,
    pub(super) name: &'a str,
    pub(super) is_file: bool,
}

/// Stores the files of `target` at `into/<its name>`.
pub(super) async fn receive(
    read: &ReadCommit,
    mirror: &Mirror,
    target: Target<'_>,
    into: &Path,
    limits: &UploadLimits,
) -> Result<Tree, ReceiveError> {
    let files = files(read, target)?;
    // A folder of its own, as others may be received at the same time. It is hidden, as no entry is.
    let own = into.join(format!(".commit-{}", target.name));
    let inner = ProjectName::parse("files").map_err(|error| ReceiveError::Invalid(error.to_string()))?;
    let (steps, thread) = start(inner, own.clone(), *limits);
    let sent = send(read, mirror, target, &files, steps, limits).await;
    // The thread is waited for, so that no file is written once this is over.
    let stored = thread.await.map_err(|panic| failed("write the files", io::Error::other(panic)))?;
    let mut tree = match (stored, sent) {
        (Err(StoreError::Upload(error)), _) => return Err(refused(error, target)),
        (_, Err(error)) => return Err(error),
        (Err(StoreError::Interrupted), Ok(())) => {
            return Err(GitError::Other("the reading ended early".to_owned()).into());
        }
        (Ok(tree), Ok(())) => tree,
    };
    let from = if target.is_file { tree.dir.join(target.name) } else { tree.dir.clone() };
    let to = into.join(target.name);
    let place = to.clone();
    let placed = tokio::task::spawn_blocking(move || {
        std::fs::rename(from, place)?;
        std::fs::remove_dir_all(own)
    });
    let placed = placed.await.unwrap_or_else(|panic| Err(io::Error::other(panic)));
    placed.map_err(|error| failed("put the files in their folder", error))?;
    tree.dir = to;
    Ok(tree)
}

/// A file that is to be read.
#[derive(Debug)]
struct Wanted {
    /// Relative to the project.
    path: String,
    is_link: bool,
    blob: Blob,
    submodule: Option<usize>,
}

fn files(read: &ReadCommit, target: Target<'_>) -> Result<Vec<Wanted>, ReceiveError> {
    let invalid = |path: &str, why: &str| Err(ReceiveError::Invalid(format!("{}: {why}", word(path))));
    let below = match target.path {
        ProjectPath::WHOLE => 0,
        folder => folder.len() + 1,
    };
    let wanted = |file: &ListedFile, path: &str| Wanted {
        path: path.to_owned(),
        is_link: file.entry.mode == TreeMode::Symlink,
        blob: Blob { id: file.entry.id.clone(), size: file.entry.size },
        submodule: file.submodule,
    };
    if target.is_file {
        let Some(file) = read.listing.get(target.path) else {
            return invalid(target.path, "the commit does not have it");
        };
        if file.entry.mode == TreeMode::Symlink {
            return invalid(target.path, "it is a symbolic link: put the file in its place");
        }
        return Ok(vec![wanted(file, target.name)]);
    }
    let all = read.listing.below(target.path).iter();
    let all = all.filter(|file| file.entry.mode != TreeMode::Gitlink);
    let files: Vec<_> = all.map(|file| wanted(file, &file.entry.path[below..])).collect();
    if let Some(link) = files.iter().find(|file| file.is_link && file.blob.size > MAX_TARGET) {
        return invalid(
            &whole(target, &link.path),
            "it is a symbolic link with too long a target: shorten it",
        );
    }
    if !files.iter().any(|file| is_counted(&file.path)) {
        return invalid(
            target.path,
            "the folder has no file that counts: add one, or take it out of the settings",
        );
    }
    Ok(files)
}

/// The bounds of one batch of steps. A hand-over between threads costs more than most files.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 64 * 1024;

/// The failure to take a piece.
#[derive(Debug)]
enum Taken {
    /// The thread ended; it says why.
    Stopped,
    Invalid(String),
}

async fn send(
    read: &ReadCommit,
    mirror: &Mirror,
    target: Target<'_>,
    files: &[Wanted],
    steps: Steps,
    limits: &UploadLimits,
) -> Result<(), ReceiveError> {
    let mut submodules = files.iter().map(|file| file.submodule).collect::<Vec<_>>();
    submodules.sort_unstable();
    submodules.dedup();
    for submodule in submodules {
        let some = files.iter().filter(|file| file.submodule == submodule);
        let (found, lfs) = pointers::channel();
        let blobs = some.clone().map(|file| file.blob.clone()).collect();
        let mut taker = Taker {
            files: some.map(|file| (file.path.clone(), file.is_link)).collect(),
            steps: steps.clone(),
            batch: Vec::new(),
            bytes: 0,
            lfs: read.settings.lfs.then_some(found),
            current: None,
        };
        let folder = (target.path.to_owned(), target.is_file);
        let take = move |piece| {
            taker.take(piece).map_err(|(path, why)| match why {
                None => Taken::Stopped,
                Some(why) => {
                    let target = Target { path: &folder.0, name: "", is_file: folder.1 };
                    Taken::Invalid(format!("{}: {why}", word(&whole(target, &path))))
                }
            })
        };
        let from = read.listing.mirror(mirror, submodule);
        match from.read_blobs(blobs, take).await {
            Ok(_) => {}
            Err(BlobsError::Git(error)) => return Err(unread(read, mirror, submodule, error).await),
            Err(BlobsError::Taker(Taken::Invalid(why))) => return Err(ReceiveError::Invalid(why)),
            Err(BlobsError::Taker(Taken::Stopped)) => return Err(stopped()),
        }
        let pointers = lfs.into_iter().collect::<Vec<_>>();
        if !pointers.is_empty() {
            let whole = |path: &str| whole(target, path);
            lfs::receive(from, &read.settings, limits, pointers, whole, &steps).await?;
        }
    }
    steps.send(vec![Step::Done]).await.map_err(|_| stopped())
}

/// Repairs the mirror of a submodule, if it is what is damaged. That of the source is its task's.
async fn unread(read: &ReadCommit, own: &Mirror, submodule: Option<usize>, error: GitError) -> ReceiveError {
    let (Some(submodule), GitError::Damaged(what)) = (submodule, &error) else { return error.into() };
    match read.listing.repair(own, submodule, read.settings.name.as_str()).await {
        Ok(()) => {
            GitError::Other(format!("the mirror of a submodule was damaged, and is new: {what}")).into()
        }
        Err(error) => error.into(),
    }
}

/// Turns the pieces of blobs into steps.
struct Taker {
    /// The path of each blob, and true for a symbolic link.
    files: Vec<(String, bool)>,
    steps: Steps,
    /// The steps to be sent next, and the bytes in them.
    batch: Vec<Step>,
    bytes: usize,
    /// Takes pointers; `None` if LFS is not read.
    lfs: Option<pointers::Sender<Pointer>>,
    /// The blob whose pieces come.
    current: Option<usize>,
}

impl Taker {
    /// # Errors
    /// The path, and why it cannot be deployed; no reason if nobody takes the steps.
    fn take(&mut self, piece: Piece) -> Result<(), (String, Option<String>)> {
        let (is_end, bytes) = (piece.last && piece.index + 1 == self.files.len(), piece.bytes.len());
        self.note(piece)?;
        self.bytes += bytes;
        if is_end || self.bytes >= BATCH_BYTES || self.batch.len() >= BATCH {
            self.bytes = 0;
            let batch = std::mem::take(&mut self.batch);
            return self.steps.blocking_send(batch).map_err(|_| (String::new(), None));
        }
        Ok(())
    }

    /// Adds the steps of a piece to the batch.
    fn note(&mut self, piece: Piece) -> Result<(), (String, Option<String>)> {
        let Some((path, is_link)) = self.files.get(piece.index).cloned() else { return Ok(()) };
        let is_whole = self.current != Some(piece.index) && piece.last;
        if is_link {
            let target = std::str::from_utf8(&piece.bytes).map_err(|_| {
                (path.clone(), Some("the symbolic link's target is not UTF-8: rename it".to_owned()))
            })?;
            let link = Step::Link(path.clone(), target.to_owned());
            self.batch.push(link);
            return Ok(());
        }
        let pointer = if is_whole { LfsPointer::parse(&piece.bytes) } else { Ok(None) };
        if let Some(pointer) = pointer.map_err(|error| (path.clone(), Some(format!("it {error}"))))? {
            let Some(lfs) = &self.lfs else {
                let why = "it is an LFS pointer, not the file: set lfs = true in the source's settings";
                return Err((path, Some(why.to_owned())));
            };
            return lfs.send(Pointer { path: path.clone(), pointer }).map_err(|_| (path, None));
        }
        if self.current != Some(piece.index) {
            self.current = Some(piece.index);
            self.batch.push(Step::Begin(path));
        }
        self.batch.push(Step::Bytes(piece.bytes));
        if piece.last {
            self.batch.push(Step::End);
        }
        Ok(())
    }
}

/// The path in the commit of a path in `target`.
fn whole(target: Target<'_>, path: &str) -> String {
    match target.path {
        ProjectPath::WHOLE => path.to_owned(),
        file if target.is_file => file.to_owned(),
        folder => format!("{folder}/{path}"),
    }
}

fn failed(step: &str, error: io::Error) -> ReceiveError {
    ReceiveError::Volume(UploadError::volume(step, error))
}

/// Distinguishes files that are not allowed from a volume that fails.
fn refused(error: UploadError, target: Target<'_>) -> ReceiveError {
    if error.status.is_server_error() {
        return ReceiveError::Volume(error);
    }
    let path = error.part.as_deref().map_or_else(|| target.path.to_owned(), |path| whole(target, path));
    ReceiveError::Invalid(format!("{}: {}", word(&path), error.detail))
}
