//! The contents of files that LFS keeps, in the places of their pointers.

use super::ReceiveError;
use super::store::{Step, Steps, stopped};
use crate::git::{BlobsError, GitError, LfsLimits, LfsPointer, Mirror, Piece};
use crate::sources::settings::SourceSettings;
use crate::upload_limits::UploadLimits;
use switchyard_contract::visible::word;

/// A file whose content is kept by LFS.
#[derive(Debug)]
pub(super) struct Pointer {
    /// Relative to the project.
    pub(super) path: String,
    pub(super) pointer: LfsPointer,
}

/// Stores the contents of `pointers` by `steps`, from the LFS of the repository that `mirror` mirrors.
/// `whole` returns the path in the commit.
///
/// # Errors
/// They are too large, are not there, or are other ones; the server cannot be asked, or the volume
/// fails.
pub(super) async fn receive(
    mirror: &Mirror,
    settings: &SourceSettings,
    limits: &UploadLimits,
    pointers: Vec<Pointer>,
    whole: impl Fn(&str) -> String,
    steps: &Steps,
) -> Result<(), ReceiveError> {
    let shown = |error| refused(error, &pointers, &whole);
    let bounds = LfsLimits { bytes: limits.size, timeout: settings.timeout.0 };
    let lfs = mirror.lfs(bounds).await.map_err(shown)?;
    let paths = pointers.iter().map(|one| one.path.clone()).collect::<Vec<_>>();
    let asked = pointers.iter().map(|one| one.pointer.clone()).collect();
    let (steps, mut current) = (steps.clone(), None);
    let take = move |piece: Piece| {
        let send = |step| steps.blocking_send(vec![step]).map_err(|_| ());
        if current != Some(piece.index) {
            current = Some(piece.index);
            send(Step::Begin(paths.get(piece.index).cloned().unwrap_or_default()))?;
        }
        send(Step::Bytes(piece.bytes))?;
        if piece.last { send(Step::End) } else { Ok(()) }
    };
    match lfs.read(asked, take).await {
        Ok(_) => Ok(()),
        Err(BlobsError::Git(error)) => Err(shown(error)),
        Err(BlobsError::Taker(())) => Err(stopped()),
    }
}

/// Names the file that a failure is about.
fn refused(error: GitError, pointers: &[Pointer], whole: impl Fn(&str) -> String) -> ReceiveError {
    match error {
        GitError::Refused(what) => {
            let about = pointers.iter().find(|one| what.contains(one.pointer.oid.short()));
            let path = about.or(pointers.first()).map(|one| whole(&one.path)).unwrap_or_default();
            ReceiveError::Invalid(format!("{}: {what}", word(&path)))
        }
        GitError::TooLarge { bytes, budget } => {
            let largest = pointers.iter().max_by_key(|one| one.pointer.size);
            let path = largest.map(|one| whole(&one.path)).unwrap_or_default();
            ReceiveError::Invalid(format!(
                "{}: with the other LFS files it has {bytes} bytes, and the limit is {budget}: move large files out \
                 of the project, or raise --max-size of the bridge",
                word(&path)
            ))
        }
        other => ReceiveError::Git(other),
    }
}
