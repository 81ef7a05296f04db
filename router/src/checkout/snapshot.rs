//! The snapshot of a project: one consistent reading of its listing and of the hash of every file.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use switchyard_contract::digest::Digest;
use switchyard_contract::event::Diagnostic;

use super::bounds::ReadBounds;
use super::hashes::{FileHashes, FileReadError, HashCache};
use super::scan::{FileListing, IncludeSource, ListError, list, real, unreadable};
use crate::project::{Include, diagnostic, is_beside};

/// Maximum number of readings of a project that changes while it is read. After that, the watch
/// reports it again.
const MAX_READINGS: u32 = 10;

/// Pause between two readings: long enough for a writer to make progress.
const READING_PAUSE: Duration = Duration::from_millis(20);

/// A project's files at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The project's real directory.
    root: PathBuf,
    /// The real directory around it: the volume, unless the project is an override.
    around: PathBuf,
    pub(crate) digest: Digest,
    /// The digest of the project's own files, if it has includes.
    pub(crate) own_digest: Option<Digest>,
    pub(crate) files: Arc<FileHashes>,
    /// The listing, with its folders held open.
    listing: FileListing,
}

impl Snapshot {
    /// The paths of its `node_modules` folders on the volume.
    pub(crate) fn packages(&self) -> impl Iterator<Item = PathBuf> {
        self.node_modules().iter().map(|path| self.volume_path(path))
    }

    /// The paths of its `node_modules` folders, relative to the project.
    pub(super) fn node_modules(&self) -> &[String] {
        &self.listing.node_modules
    }

    /// The project's real directory.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the path on the volume of `path`, which is relative to the project.
    pub(super) fn volume_path(&self, path: &str) -> PathBuf {
        let Some(below) = path.strip_prefix("../") else { return self.root.join(path) };
        self.include_folder(Path::new(path)).join(below)
    }

    /// Returns the real folder that has the include with `path`, or the file beside whose packages
    /// lie there.
    fn include_folder(&self, path: &Path) -> &Path {
        let has = |(include, _): &&(Include, PathBuf)| {
            path.starts_with(include.as_str()) || path.starts_with(&include.packages()[1])
        };
        let found = self.listing.includes.iter().find(has);
        found.map_or(&self.around, |(_, folder)| folder)
    }

    /// Returns the path, relative to the project, of the file or folder at the real path `real`, or
    /// `None` if the version does not have it. Empty for the project itself.
    pub(super) fn relative(&self, real: &Path) -> Option<String> {
        if let Ok(below) = real.strip_prefix(&self.root) {
            return Some(below.to_str()?.to_owned()).filter(|path| path.is_empty() || self.has(path));
        }
        let folders = self.listing.includes.iter().map(|(_, folder)| folder);
        let mut paths = folders.chain([&self.around]).filter_map(|folder| {
            let path = format!("../{}", real.strip_prefix(folder).ok()?.to_str()?);
            (self.include_folder(Path::new(&path)) == folder).then_some(path)
        });
        paths.find(|path| self.has(path))
    }

    /// Returns true if there is a file at `path`, or below it.
    fn has(&self, path: &str) -> bool {
        self.files.contains_key(path) || self.files.has_below(&format!("{path}/"))
    }

    /// The modification time of each file on the volume, in seconds since 1970.
    pub(super) fn modified(&self) -> impl Iterator<Item = (&str, i64)> {
        self.listing.files.iter().map(|(path, listed)| (path.as_str(), listed.stamp.modified.0))
    }

    /// Opens a file on the volume. Returns it with its size in bytes when it was listed.
    ///
    /// # Errors
    /// The file is gone, or is not a regular file.
    pub(super) fn open(&self, path: &str) -> Result<(File, u64), FileReadError> {
        let listed = self.listing.files.get(path).ok_or(FileReadError::Moved)?;
        let file =
            self.listing.folders.open_file(&listed.at).map_err(|error| FileReadError::of(path, &error))?;
        Ok((file, listed.stamp.size))
    }
}

/// Returns the digest of the project's own files, if `files` has included ones too.
pub(super) fn own_digest(files: &FileHashes) -> Option<Digest> {
    let own = || files.iter().filter(|(path, _)| !is_beside(path));
    (own().count() < files.len()).then(|| Digest::of_files(own().map(|(path, hash)| (path, *hash))))
}

/// The reason why there is no snapshot.
#[derive(Debug)]
pub(crate) enum SnapshotError {
    /// The directory does not exist (anymore).
    Gone,
    /// The project is not valid, or cannot be read.
    Invalid(Diagnostic),
    /// The pace has interrupted the reading.
    Interrupted,
}

/// Reads the project in `root` and its `includes`, and reads again while it changes.
///
/// # Errors
/// [`SnapshotError`]. A project that changes at every reading is invalid for now.
pub(crate) fn snapshot(
    root: &Path,
    includes: IncludeSource<'_>,
    bounds: ReadBounds<'_>,
    cache: &mut HashCache,
) -> Result<Snapshot, SnapshotError> {
    for reading in 0..MAX_READINGS {
        if reading > 0 {
            std::thread::sleep(READING_PAUSE);
        }
        match read(root, includes, bounds, cache) {
            Ok(snapshot) => return Ok(snapshot),
            Err(ListError::Moved) => {}
            Err(ListError::Gone) => return Err(SnapshotError::Gone),
            Err(ListError::Invalid(diagnostic)) => return Err(SnapshotError::Invalid(diagnostic)),
            Err(ListError::Interrupted) => return Err(SnapshotError::Interrupted),
        }
    }
    Err(SnapshotError::Invalid(diagnostic(format!(
        "the files change faster than they can be read ({MAX_READINGS} times): keep files that are \
         written all the time outside the project"
    ))))
}

fn read(
    root: &Path,
    includes: IncludeSource<'_>,
    bounds: ReadBounds<'_>,
    cache: &mut HashCache,
) -> Result<Snapshot, ListError> {
    let root = &resolve(root)?;
    let listing = list(root, includes, bounds)?;
    let around = root.parent().unwrap_or(root);
    let real = real(root).map_err(|_| ListError::Moved)?;
    let files = cache.hashes(&listing, bounds.pace)?;
    if !list(root, includes, bounds)?.is_same(&listing) {
        return Err(ListError::Moved);
    }
    let digest = Digest::of_files(files.iter().map(|(path, hash)| (path, *hash)));
    Ok(Snapshot {
        root: real,
        around: around.to_owned(),
        digest,
        own_digest: own_digest(&files),
        files: Arc::new(files),
        listing,
    })
}

/// Resolves the volume in the project's path: the volume's name may lead to another folder while
/// the project is read, and one reading must be of one folder.
fn resolve(root: &Path) -> Result<PathBuf, ListError> {
    let (Some(volume), Some(name)) = (root.parent(), root.file_name()) else { return Ok(root.to_owned()) };
    match volume.canonicalize() {
        Ok(volume) => Ok(volume.join(name)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ListError::Gone),
        Err(error) => Err(unreadable("", &error)),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::SystemTime;

    use super::*;
    use crate::checkout::bounds::Interruption;
    use crate::policy::ReadLimits;

    fn digest(root: &Path, cache: &mut HashCache) -> Digest {
        let bounds = ReadBounds { limits: ReadLimits::default(), pace: &|_| Ok(()) };
        snapshot(root, IncludeSource::Configuration(&|_, _| Ok(())), bounds, cache).unwrap().digest
    }

    #[test]
    fn the_digest_depends_on_content_and_names_and_not_on_times() {
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
        cache.0[0].hash[0] ^= 1;
        assert_ne!(digest(dir.path(), &mut cache), first, "the cached hash was used");
    }

    #[test]
    fn a_settled_file_is_known_although_others_came_and_went_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let old = SystemTime::now() - Duration::from_secs(60);
        let put = |name: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, name).unwrap();
            File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
        };
        let mut cache = HashCache::default();
        ["a.ts", "c.ts"].iter().for_each(|name| put(name));
        digest(dir.path(), &mut cache);
        std::fs::remove_file(dir.path().join("a.ts")).unwrap();
        put("b.ts");
        cache.0[1].hash[0] ^= 1;
        let found = digest(dir.path(), &mut cache);
        assert_ne!(found, digest(dir.path(), &mut HashCache::default()), "the cached hash was used");
        assert_eq!(cache.0.len(), 2, "the removed file is not known any more");
    }

    #[test]
    fn files_that_were_hashed_before_an_interruption_are_not_hashed_again() {
        let dir = tempfile::tempdir().unwrap();
        let old = SystemTime::now() - Duration::from_secs(60);
        for name in 0..10 {
            let path = dir.path().join(name.to_string());
            std::fs::write(&path, "x").unwrap();
            let file = File::options().write(true).open(path).unwrap();
            file.set_modified(old).unwrap();
        }
        let (calls, allowed) = (Cell::new(0), Cell::new(30));
        let pace = |_| {
            calls.set(calls.get() + 1);
            if calls.get() > allowed.get() { Err(Interruption) } else { Ok(()) }
        };
        let bounds = ReadBounds { limits: ReadLimits::default(), pace: &pace };
        let mut cache = HashCache::default();
        let first = snapshot(dir.path(), IncludeSource::Configuration(&|_, _| Ok(())), bounds, &mut cache);
        assert!(matches!(first, Err(SnapshotError::Interrupted)));
        let hashed = cache.0.len();
        assert!((1..10).contains(&hashed), "{hashed}");
        calls.set(0);
        allowed.set(usize::MAX);
        snapshot(dir.path(), IncludeSource::Configuration(&|_, _| Ok(())), bounds, &mut cache).unwrap();
        // Both walks call it for each name, `.` and `..` included, and the hashing once for each
        // file, and once more for each file that is read.
        assert_eq!(calls.get(), 2 * 12 + 10 + (10 - hashed));
    }
}
