//! One consistent reading of a project: its listing and the hash of every file.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest as _, Sha256};
use switchyard_contract::digest::Digest;
use switchyard_contract::event::Diagnostic;

use super::bounds::{Bounds, Interrupted, Pace};
use super::scan::{Beside, ListError, Listing, Stamp, list, unreadable};
use crate::project::{diagnostic, is_beside};

/// How often a project that moves while it is read is read again at once. If it still moves
/// then, the watch will call again.
const MAX_READINGS: u32 = 10;

/// Between two readings: long enough for a writer to get on.
const READING_PAUSE: Duration = Duration::from_millis(20);

/// A file that was written this short before it was read may be written again without a
/// difference in size or time: the coarsest file time in use (FAT, old NFS) is two seconds.
const RACY: Duration = Duration::from_secs(2);

pub(crate) type FileHash = [u8; 32];
/// By path relative to the project; what is included begins with `../`.
pub(crate) type Files = BTreeMap<String, FileHash>;

/// A project's files at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The real directory.
    root: PathBuf,
    /// The one that what is included lies below.
    volume: PathBuf,
    pub(crate) digest: Digest,
    /// Of the project's own files, when there are others.
    pub(crate) own: Option<Digest>,
    pub(crate) files: Arc<Files>,
    /// The listing that it was made from, with the folders held open.
    listing: Listing,
}

impl Snapshot {
    /// Where on the volume its `node_modules` folders are.
    pub(crate) fn packages(&self) -> impl Iterator<Item = PathBuf> {
        self.node_modules().iter().map(|path| self.place(path))
    }

    /// The `node_modules` folders, relative.
    pub(super) fn node_modules(&self) -> &[String] {
        &self.listing.node_modules
    }

    /// Where on the volume `path` is, which is relative to the project.
    pub(super) fn place(&self, path: &str) -> PathBuf {
        path.strip_prefix("../").map_or_else(|| self.root.join(path), |below| self.volume.join(below))
    }

    /// The path relative to the project of the file or folder that really is at `real`, when the
    /// version has it. Empty for the project itself.
    pub(super) fn relative(&self, real: &Path) -> Option<String> {
        let path = match real.strip_prefix(&self.root) {
            Ok(below) => below.to_str()?.to_owned(),
            Err(_) => format!("../{}", real.strip_prefix(&self.volume).ok()?.to_str()?),
        };
        let prefix = format!("{path}/");
        let below =
            || self.files.range(prefix.clone()..).next().is_some_and(|(file, _)| file.starts_with(&prefix));
        (path.is_empty() || self.files.contains_key(&path) || below()).then_some(path)
    }

    /// When each file was last modified on the volume, in seconds since 1970.
    pub(super) fn modified(&self) -> impl Iterator<Item = (&str, i64)> {
        self.listing.files.iter().map(|(path, listed)| (path.as_str(), listed.stamp.modified.0))
    }

    /// Opens a file on the volume, and says how many bytes it had.
    ///
    /// # Errors
    /// The file is gone, or no regular file.
    pub(super) fn open(&self, path: &str) -> Result<(File, u64), ReadError> {
        let listed = self.listing.files.get(path).ok_or(ReadError::Moved)?;
        let file = self.listing.tops.file(&listed.at).map_err(|error| ReadError::of(path, &error))?;
        Ok((file, listed.stamp.size))
    }
}

/// Why a file was not read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The file is not as it was listed.
    Moved,
    Invalid(Diagnostic),
    Interrupted,
}

impl ReadError {
    pub(super) fn of(path: &str, error: &io::Error) -> Self {
        match unreadable(path, error) {
            ListError::Invalid(diagnostic) => Self::Invalid(diagnostic),
            _ => Self::Moved,
        }
    }
}

impl From<Interrupted> for ReadError {
    fn from(_: Interrupted) -> Self {
        Self::Interrupted
    }
}

impl From<ReadError> for ListError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Moved => Self::Moved,
            ReadError::Invalid(diagnostic) => Self::Invalid(diagnostic),
            ReadError::Interrupted => Self::Interrupted,
        }
    }
}

/// The digest of the project's own files, when `files` has others.
pub(super) fn own_digest(files: &Files) -> Option<Digest> {
    let own = || files.iter().filter(|(path, _)| !is_beside(path));
    (own().count() < files.len()).then(|| Digest::of_files(own().map(|(path, hash)| (path.as_str(), *hash))))
}

/// Why there is no snapshot.
#[derive(Debug)]
pub(crate) enum SnapshotError {
    /// The directory is not there (any more).
    Gone,
    /// No valid project, or not to be read.
    Invalid(Diagnostic),
    /// Whoever was asked whether to go on has refused.
    Interrupted,
}

/// File hashes by path and stamp, so that a reload costs what changed and not what is there.
#[derive(Debug, Default)]
pub(crate) struct HashCache(HashMap<String, (Stamp, FileHash)>);

/// Reads the project in `root` and what belongs to it `beside` it, again while it moves.
///
/// # Errors
/// [`SnapshotError`]; a project that never stands still is invalid for now.
pub(crate) fn snapshot(
    root: &Path,
    beside: Beside<'_>,
    bounds: Bounds<'_>,
    cache: &mut HashCache,
) -> Result<Snapshot, SnapshotError> {
    for reading in 0..MAX_READINGS {
        if reading > 0 {
            std::thread::sleep(READING_PAUSE);
        }
        match read(root, beside, bounds, cache) {
            Ok(snapshot) => return Ok(snapshot),
            Err(ListError::Moved) => {}
            Err(ListError::Gone) => return Err(SnapshotError::Gone),
            Err(ListError::Invalid(diagnostic)) => return Err(SnapshotError::Invalid(diagnostic)),
            Err(ListError::Interrupted) => return Err(SnapshotError::Interrupted),
        }
    }
    Err(SnapshotError::Invalid(diagnostic(format!(
        "the files change faster than they can be read ({MAX_READINGS} times): keep what is written all the time outside the project"
    ))))
}

fn read(
    root: &Path,
    beside: Beside<'_>,
    bounds: Bounds<'_>,
    cache: &mut HashCache,
) -> Result<Snapshot, ListError> {
    let root = &resolve(root)?;
    let listing = list(root, beside, bounds)?;
    let volume = root.parent().unwrap_or(root);
    let real = root.canonicalize().map_err(|_| ListError::Moved)?;
    let files = cache.hashes(&listing, bounds.pace)?;
    if !list(root, beside, bounds)?.is_same(&listing) {
        return Err(ListError::Moved);
    }
    let digest = Digest::of_files(files.iter().map(|(path, hash)| (path.as_str(), *hash)));
    Ok(Snapshot {
        root: real,
        volume: volume.to_owned(),
        digest,
        own: own_digest(&files),
        files: Arc::new(files),
        listing,
    })
}

impl HashCache {
    /// The hashes of all files. What it has hashed until it is interrupted is not hashed again.
    fn hashes(&mut self, listing: &Listing, pace: Pace<'_>) -> Result<Files, ReadError> {
        self.0.retain(|path, _| listing.files.contains_key(path));
        let mut files = BTreeMap::new();
        for (path, listed) in &listing.files {
            pace(0)?;
            let stamp = listed.stamp;
            let known = self.0.get(path).filter(|(known, _)| *known == stamp).map(|(_, hash)| *hash);
            let read_at = SystemTime::now();
            let hash = match known {
                Some(hash) => hash,
                None => {
                    let file = listing.tops.file(&listed.at);
                    let file = file.map_err(|error| ReadError::of(path, &error))?;
                    hash(path, &file, stamp.size, pace)?
                }
            };
            if known.is_some() || is_settled(stamp, read_at) {
                self.0.insert(path.clone(), (stamp, hash));
            } else {
                self.0.remove(path);
            }
            files.insert(path.clone(), hash);
        }
        Ok(files)
    }
}

/// The project's path with that of the volume resolved: what the volume's name leads to may change while the project is
/// read, and one reading is of one folder.
fn resolve(root: &Path) -> Result<PathBuf, ListError> {
    let (Some(volume), Some(name)) = (root.parent(), root.file_name()) else { return Ok(root.to_owned()) };
    match volume.canonicalize() {
        Ok(volume) => Ok(volume.join(name)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ListError::Gone),
        Err(error) => Err(unreadable("", &error)),
    }
}

fn is_settled(stamp: Stamp, read_at: SystemTime) -> bool {
    let Ok(seconds) = u64::try_from(stamp.modified.0) else { return false };
    let modified = UNIX_EPOCH + Duration::from_secs(seconds);
    read_at.duration_since(modified).is_ok_and(|age| age > RACY)
}

/// SHA-256 of a file's content, which has `size` bytes.
pub(super) fn hash(path: &str, mut file: &File, size: u64, pace: Pace<'_>) -> Result<FileHash, ReadError> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut left = size;
    loop {
        let read = match file.read(&mut buffer) {
            Ok(0) if left == 0 => return Ok(hash.finalize().into()),
            Ok(0) => return Err(ReadError::Moved),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(ReadError::of(path, &error)),
        };
        // The file grows while it is read.
        left = left.checked_sub(read as u64).ok_or(ReadError::Moved)?;
        hash.update(&buffer[..read]);
        pace(read as u64)?;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::policy::ReadLimits;

    fn digest(root: &Path, cache: &mut HashCache) -> Digest {
        let bounds = Bounds { limits: ReadLimits::default(), pace: &|_| Ok(()) };
        snapshot(root, Beside::Included(&|_, _| Ok(())), bounds, cache).unwrap().digest
    }

    #[test]
    fn the_digest_tells_content_and_names_not_times() {
        let dir = tempfile::tempdir().unwrap();
        let mut cache = HashCache::default();
        std::fs::write(dir.path().join("a.ts"), "1").unwrap();
        let first = digest(dir.path(), &mut cache);
        std::fs::write(dir.path().join("a.ts"), "1").unwrap();
        assert_eq!(digest(dir.path(), &mut cache), first, "the same bytes again");
        std::fs::rename(dir.path().join("a.ts"), dir.path().join("b.ts")).unwrap();
        assert_ne!(digest(dir.path(), &mut cache), first, "another name");
    }

    #[test]
    fn a_second_write_of_the_same_size_in_the_same_instant_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let mut cache = HashCache::default();
        let path = dir.path().join("a.ts");
        let now = SystemTime::now();
        let mut seen = Vec::new();
        for text in ["1", "2"] {
            std::fs::write(&path, text).unwrap();
            File::options().write(true).open(&path).unwrap().set_modified(now).unwrap();
            seen.push(digest(dir.path(), &mut cache));
        }
        assert_ne!(seen[0], seen[1]);
    }

    #[test]
    fn a_settled_file_is_not_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.ts");
        std::fs::write(&path, "1").unwrap();
        let old = SystemTime::now() - Duration::from_secs(60);
        File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        let mut cache = HashCache::default();
        let first = digest(dir.path(), &mut cache);
        let (_, hash) = cache.0.get_mut("a.ts").unwrap();
        hash[0] ^= 1;
        assert_ne!(digest(dir.path(), &mut cache), first, "the cached hash was used");
    }

    #[test]
    fn what_was_hashed_until_the_interruption_is_not_hashed_again() {
        let dir = tempfile::tempdir().unwrap();
        let old = SystemTime::now() - Duration::from_secs(60);
        for name in 0..10 {
            let path = dir.path().join(name.to_string());
            std::fs::write(&path, "x").unwrap();
            let file = File::options().write(true).open(path).unwrap();
            file.set_modified(old).unwrap();
        }
        let (asked, allowed) = (Cell::new(0), Cell::new(30));
        let pace = |_| {
            asked.set(asked.get() + 1);
            if asked.get() > allowed.get() { Err(Interrupted) } else { Ok(()) }
        };
        let bounds = Bounds { limits: ReadLimits::default(), pace: &pace };
        let mut cache = HashCache::default();
        let first = snapshot(dir.path(), Beside::Included(&|_, _| Ok(())), bounds, &mut cache);
        assert!(matches!(first, Err(SnapshotError::Interrupted)));
        let hashed = cache.0.len();
        assert!((1..10).contains(&hashed), "{hashed}");
        asked.set(0);
        allowed.set(usize::MAX);
        snapshot(dir.path(), Beside::Included(&|_, _| Ok(())), bounds, &mut cache).unwrap();
        // Each name is asked for twice by the two walks (with `.` and `..`) and once here; each file that is read, once more.
        assert_eq!(asked.get(), 2 * 12 + 10 + (10 - hashed));
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
