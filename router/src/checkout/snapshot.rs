//! One consistent reading of a project: its listing and the hash of every file.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest as _, Sha256};
use switchyard_bridge::digest::Digest;
use switchyard_bridge::event::Diagnostic;

use super::scan::{Gate, ListError, Stamp, list, unreadable};
use crate::project::{diagnostic, is_beside, open_file};

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
    /// The `node_modules` folders, relative.
    pub(crate) node_modules: Vec<String>,
}

impl Snapshot {
    /// Where on the volume its `node_modules` folders are.
    pub(crate) fn packages(&self) -> impl Iterator<Item = PathBuf> {
        self.node_modules.iter().map(|path| self.place(path))
    }

    /// Where on the volume `path` is, which is relative to the project.
    pub(super) fn place(&self, path: &str) -> PathBuf {
        place(&self.root, &self.volume, path)
    }
}

fn place(root: &Path, volume: &Path, path: &str) -> PathBuf {
    path.strip_prefix("../").map_or_else(|| root.join(path), |below| volume.join(below))
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
}

/// File hashes by path and stamp, so that a reload costs what changed and not what is there.
#[derive(Debug, Default)]
pub(crate) struct HashCache(HashMap<String, (Stamp, FileHash)>);

/// Reads the project in `root` and what `gate` lets it include, again while it moves.
///
/// # Errors
/// [`SnapshotError`]; a project that never stands still is invalid for now.
pub(crate) fn snapshot(
    root: &Path,
    gate: Gate<'_>,
    cache: &mut HashCache,
) -> Result<Snapshot, SnapshotError> {
    for reading in 0..MAX_READINGS {
        if reading > 0 {
            std::thread::sleep(READING_PAUSE);
        }
        match read(root, gate, cache) {
            Ok(snapshot) => return Ok(snapshot),
            Err(ListError::Moved) => {}
            Err(ListError::Gone) => return Err(SnapshotError::Gone),
            Err(ListError::Invalid(diagnostic)) => return Err(SnapshotError::Invalid(diagnostic)),
        }
    }
    Err(SnapshotError::Invalid(diagnostic(format!(
        "the files change faster than they can be read ({MAX_READINGS} times): keep what is written all the time outside the project"
    ))))
}

fn read(root: &Path, gate: Gate<'_>, cache: &mut HashCache) -> Result<Snapshot, ListError> {
    let root = &resolve(root)?;
    let before = list(root, gate)?;
    let volume = root.parent().unwrap_or(root);
    let real = root.canonicalize().map_err(|_| ListError::Moved)?;
    let mut files = BTreeMap::new();
    let mut fresh = HashMap::new();
    for (path, stamp) in &before.files {
        let known = cache.0.get(path).filter(|(known, _)| known == stamp).map(|(_, hash)| *hash);
        let read_at = SystemTime::now();
        let hash = match known {
            Some(hash) => hash,
            None => hash_file(&place(&real, volume, path)).map_err(|error| unreadable(path, &error))?,
        };
        if known.is_some() || is_settled(*stamp, read_at) {
            fresh.insert(path.clone(), (*stamp, hash));
        }
        files.insert(path.clone(), hash);
    }
    if list(root, gate)? != before {
        return Err(ListError::Moved);
    }
    cache.0 = fresh;
    let digest = Digest::of_files(files.iter().map(|(path, hash)| (path.as_str(), *hash)));
    Ok(Snapshot {
        root: real,
        volume: volume.to_owned(),
        digest,
        own: own_digest(&files),
        files: Arc::new(files),
        node_modules: before.node_modules,
    })
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

/// SHA-256 of a file's content.
pub(super) fn hash_file(path: &Path) -> io::Result<FileHash> {
    let mut file = open_file(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().into()),
            n => hash.update(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn digest(root: &Path, cache: &mut HashCache) -> Digest {
        snapshot(root, &|_, _| Ok(()), cache).unwrap().digest
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
}
