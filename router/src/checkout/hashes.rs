//! The hashes of a project's files, each computed once for each state of its file.

use std::cmp::Ordering;
use std::fs::File;
use std::io::{self, Read as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest as _, Sha256};
use switchyard_contract::bounds;
use switchyard_contract::event::{ChangedFiles, Diagnostic};

use super::bounds::{Interruption, Pace};
use super::scan::{FileListing, FileStamp, ListError, ListedFile, unreadable};

/// Age up to which a file may be written once more without a difference in size or time: the
/// coarsest file time in use (FAT, old NFS) is two seconds.
const RACY: Duration = Duration::from_secs(2);

/// The same where the kernel keeps times finer than milliseconds: many ticks of the clock that it
/// takes them from.
const RACY_IF_FINE: Duration = Duration::from_millis(250);

/// Bytes of a file that are read at once.
const PIECE: u64 = 64 * 1024;

/// SHA-256 of a file's content.
pub(crate) type FileHash = [u8; 32];

/// The hashes of files by path relative to the project, in bytewise order. Paths of includes begin
/// with `../`. A slice, as a map has room for eleven files where most projects have a few.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FileHashes(Box<[(Box<str>, FileHash)]>);

impl FileHashes {
    /// Returns the hash of the file at `path`.
    pub(crate) fn get(&self, path: &str) -> Option<&FileHash> {
        let at = self.0.binary_search_by(|(file, _)| (**file).cmp(path)).ok()?;
        Some(&self.0[at].1)
    }

    /// Returns true if there is a file at `path`.
    pub(crate) fn contains_key(&self, path: &str) -> bool {
        self.get(path).is_some()
    }

    /// Returns true if there is a file whose path begins with `prefix`.
    pub(super) fn has_below(&self, prefix: &str) -> bool {
        let first = self.0.partition_point(|(file, _)| **file < *prefix);
        self.0.get(first).is_some_and(|(file, _)| file.starts_with(prefix))
    }

    /// All files, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &FileHash)> {
        self.0.iter().map(|(path, hash)| (&**path, hash))
    }

    /// The paths of all files, in order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.iter().map(|(path, _)| &**path)
    }

    /// Returns the files in which these differ from those `before`. `None`: they are equal.
    pub(super) fn changes(&self, before: &Self) -> Option<ChangedFiles> {
        let (mut ours, mut theirs) = (self.0.iter().peekable(), before.0.iter().peekable());
        let mut changed: Option<ChangedFiles> = None;
        loop {
            let order = match (ours.peek(), theirs.peek()) {
                (None, None) => return changed,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((our, _)), Some((their, _))) => our.cmp(their),
            };
            let our = ours.next_if(|_| order.is_le());
            let their = theirs.next_if(|_| order.is_ge());
            match our.or(their) {
                Some((path, _)) if our != their => {
                    let first = || bounds::cut(path.to_string(), bounds::DIAGNOSTIC_FILE);
                    changed.get_or_insert_with(|| ChangedFiles { first: first(), count: 0 }).count += 1;
                }
                _ => {}
            }
        }
    }

    /// The number of files.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// File hashes by path and stamp, so that the cost of a reload depends on the changed files alone. In
/// the order of a listing, which it is compared with from end to end.
#[derive(Debug, Default)]
pub(crate) struct HashCache(pub(super) Vec<CachedHash>);

/// The hash of a file that had settled.
#[derive(Debug)]
pub(super) struct CachedHash {
    path: Box<str>,
    stamp: FileStamp,
    pub(super) hash: FileHash,
}

/// The reason why a file was not read.
#[derive(Debug)]
pub(super) enum FileReadError {
    /// The file differs from its listing.
    Moved,
    /// The file cannot be read.
    Invalid(Diagnostic),
    /// The pace has interrupted the reading.
    Interrupted,
}

impl FileReadError {
    /// The error for a `path` that could not be read.
    pub(super) fn of(path: &str, error: &io::Error) -> Self {
        match unreadable(path, error) {
            ListError::Invalid(diagnostic) => Self::Invalid(diagnostic),
            _ => Self::Moved,
        }
    }
}

impl From<Interruption> for FileReadError {
    fn from(_: Interruption) -> Self {
        Self::Interrupted
    }
}

impl From<FileReadError> for ListError {
    fn from(error: FileReadError) -> Self {
        match error {
            FileReadError::Moved => Self::Moved,
            FileReadError::Invalid(diagnostic) => Self::Invalid(diagnostic),
            FileReadError::Interrupted => Self::Interrupted,
        }
    }
}

impl HashCache {
    /// Returns the hashes of all files. Files that were hashed before an interruption are not
    /// hashed again.
    pub(super) fn hashes(
        &mut self,
        listing: &FileListing,
        pace: Pace<'_>,
    ) -> Result<FileHashes, FileReadError> {
        let mut known = std::mem::take(&mut self.0).into_iter().peekable();
        let mut files = Vec::with_capacity(listing.files.len());
        let ended: Result<(), FileReadError> = listing.files.iter().try_for_each(|(path, listed)| {
            pace(0)?;
            while known.next_if(|known| *known.path < **path).is_some() {}
            let cached = known.next_if(|known| *known.path == **path);
            let hash = match cached.filter(|cached| cached.stamp == listed.stamp) {
                Some(cached) => {
                    let hash = cached.hash;
                    self.0.push(cached);
                    hash
                }
                None => self.hash(path, listed, listing, pace)?,
            };
            files.push((path.as_str().into(), hash));
            Ok(())
        });
        match ended {
            Ok(()) => {
                self.0.shrink_to_fit();
                Ok(FileHashes(files.into_boxed_slice()))
            }
            Err(error) => {
                // The files that were not reached.
                self.0.extend(known);
                Err(error)
            }
        }
    }

    /// Reads a file and returns its hash, which is kept if the file has settled.
    fn hash(
        &mut self,
        path: &str,
        listed: &ListedFile,
        listing: &FileListing,
        pace: Pace<'_>,
    ) -> Result<FileHash, FileReadError> {
        let read_at = SystemTime::now();
        let file = listing.folders.open_file(&listed.at);
        let file = file.map_err(|error| FileReadError::of(path, &error))?;
        let hash = hash(path, &file, listed.stamp.size, pace)?;
        if is_settled(listed.stamp, read_at) {
            self.0.push(CachedHash { path: path.into(), stamp: listed.stamp, hash });
        }
        Ok(hash)
    }
}

/// Returns `true` if a later write is sure to change the stamp. See [`RACY`].
fn is_settled(stamp: FileStamp, read_at: SystemTime) -> bool {
    let FileStamp { modified, changed, .. } = stamp;
    let is_fine = changed.1 % 1_000_000 != 0;
    is_older(modified, RACY, read_at) || (is_fine && is_older(modified.max(changed), RACY_IF_FINE, read_at))
}

/// Returns `true` if `time`, in seconds since 1970 and nanoseconds, is longer ago than `age`.
fn is_older((seconds, nanos): (i64, i64), age: Duration, now: SystemTime) -> bool {
    let (Ok(seconds), Ok(nanos)) = (u64::try_from(seconds), u32::try_from(nanos)) else { return false };
    let time = UNIX_EPOCH + Duration::new(seconds, nanos);
    now.duration_since(time).is_ok_and(|since| since > age)
}

/// Returns the SHA-256 of a file of `size` bytes.
///
/// # Errors
/// The file has another size, cannot be read, or `pace` has interrupted the reading.
pub(super) fn hash(
    path: &str,
    mut file: &File,
    size: u64,
    pace: Pace<'_>,
) -> Result<FileHash, FileReadError> {
    let mut hash = Sha256::new();
    // One byte more: the end of the file is looked for.
    let mut buffer = vec![0; usize::try_from(PIECE.min(size + 1)).unwrap_or(usize::MAX)];
    let mut left = size;
    loop {
        let read = match file.read(&mut buffer) {
            Ok(0) if left == 0 => return Ok(hash.finalize().into()),
            Ok(0) => return Err(FileReadError::Moved),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(FileReadError::of(path, &error)),
        };
        // Fails if the file grows while it is read.
        left = left.checked_sub(read as u64).ok_or(FileReadError::Moved)?;
        hash.update(&buffer[..read]);
        pace(read as u64)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_settled_once_no_later_write_can_have_its_times() {
        let dir = tempfile::tempdir().unwrap();
        let mut stamp = FileStamp::of(&rustix::fs::stat(dir.path()).unwrap());
        let read_at = UNIX_EPOCH + Duration::from_secs(100);
        for (modified, changed, expected) in [
            // Whole seconds, as on old file systems.
            ((97, 0), (97, 0), true),
            ((98, 0), (98, 0), false),
            ((98, 990_000_000), (98, 990_000_000), false),
            // Fine times.
            ((99, 700_000_001), (99, 700_000_001), true),
            ((99, 800_000_001), (99, 800_000_001), false),
            // A modification time that was set back.
            ((98, 500_000_000), (99, 800_000_001), false),
            // A clock that was set back.
            ((101, 1), (101, 1), false),
        ] {
            (stamp.modified, stamp.changed) = (modified, changed);
            assert_eq!(is_settled(stamp, read_at), expected, "{modified:?} {changed:?}");
        }
    }

    #[test]
    fn files_are_found_by_their_paths_and_by_the_folders_that_they_lie_in() {
        let files = FileHashes(["a/b", "a/c", "ab"].map(|path| (path.into(), [1; 32])).into());
        assert!(files.contains_key("a/c") && files.contains_key("ab") && !files.contains_key("a"));
        assert!(files.has_below("a/") && !files.has_below("ab/") && !files.has_below("b/"));
    }

    #[test]
    fn files_that_are_new_gone_or_other_are_changed_and_the_first_is_by_path() {
        let files = |all: &[(&str, u8)]| {
            FileHashes(all.iter().map(|(path, hash)| ((*path).into(), [*hash; 32])).collect())
        };
        let before = files(&[("b", 1), ("c", 1), ("d", 1), ("e", 1)]);
        let changed = |after: &[(&str, u8)]| files(after).changes(&before).map(|changed| changed.to_string());
        assert_eq!(changed(&[("b", 1), ("c", 1), ("d", 1), ("e", 1)]), None);
        assert_eq!(changed(&[("a", 1), ("b", 1), ("c", 2), ("d", 1)]).as_deref(), Some("a and 2 more"));
        assert_eq!(changed(&[("b", 1), ("c", 1), ("d", 1)]).as_deref(), Some("e"));
        assert_eq!(changed(&[]).as_deref(), Some("b and 3 more"));
    }

    #[test]
    fn a_file_of_another_length_than_it_was_listed_with_has_moved() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "12345").unwrap();
        for (size, is_right) in [(4, false), (5, true), (6, false)] {
            let hashed = hash("a", &File::open(&path).unwrap(), size, &|_| Ok(()));
            assert_eq!(hashed.is_ok(), is_right, "{size}");
        }
    }
}
