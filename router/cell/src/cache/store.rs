//! The store of compiled modules on disk, for the project's next versions. The key of an entry
//! covers everything that it was made from, so no entry is ever outdated; a damaged entry counts as
//! missing.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use deno_core::v8;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use sha2::{Digest as _, Sha256};
use switchyard_protocol::{MODULE_CACHE_UNFINISHED, ModuleCache};

use crate::deno::DENO_VERSION;

/// The format of entries. Must be incremented if the inputs of entries or their form change within
/// one version of Switchyard.
const FORMAT: u32 = 1;

/// Bytes that may wait to be written: more than ten thousand small modules. The rest of a larger
/// graph is left to the next build.
const MAX_QUEUED: usize = 16 << 20;

/// The largest entry in bytes. The largest known file of a package has 10 MB.
const MAX_ENTRY: u64 = 32 << 20;

/// The precision of the time of an entry's last use.
const USE_PRECISION: Duration = Duration::from_secs(24 * 60 * 60);

/// The unit of files' sizes on most disks, in bytes.
const BLOCK: u64 = 4096;

const CHECKSUM: usize = 32;

/// The producer of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Producer {
    /// The emitter: JavaScript from TypeScript or JSX.
    Emitter,
    /// The analyzer: the names that a CommonJS module exports.
    Analyzer,
    /// V8, for a module.
    Module,
    /// V8, for a script, which is the body of a function.
    Script,
    /// V8, for a part of the runtime.
    Builtin,
}

/// The cache of one project. Clones share it. A cache that is off has no entries.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cache(Option<Arc<StoreFolder>>);

/// An entry, which may not be written yet.
#[derive(Debug)]
pub(crate) struct StoreEntry {
    folder: Arc<StoreFolder>,
    key: [u8; 32],
}

#[derive(Debug)]
struct StoreFolder {
    descriptor: OwnedFd,
    /// The hash of the inputs that all entries of this program share.
    common: Sha256,
    queue: Mutex<WriteQueue>,
}

/// Entries that wait to be written.
#[derive(Debug)]
struct WriteQueue {
    entries: Vec<(String, Vec<u8>)>,
    bytes: usize,
    /// Bytes on the disk that this process may still write.
    left: u64,
    count: u64,
    is_written: bool,
}

impl Cache {
    /// Opens the cache. One that cannot be opened is off.
    pub(crate) fn open(at: Option<&ModuleCache>) -> Self {
        let opened = at.map(|at| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let descriptor =
                rustix::fs::openat2(CWD, &at.dir, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
            Ok::<_, io::Error>(StoreFolder::new(descriptor, at.max_bytes))
        });
        match opened.transpose() {
            Ok(folder) => Self(folder.map(Arc::new)),
            Err(error) => {
                log::warn!("compiled modules are not kept: {error}");
                Self(None)
            }
        }
    }

    /// Returns the entry for the output of `producer` from these inputs, or `None` if the cache is
    /// off.
    pub(crate) fn entry(&self, producer: Producer, parts: &[&[u8]]) -> Option<StoreEntry> {
        let folder = self.0.as_ref()?;
        let mut hash = folder.common.clone();
        hash.update([producer as u8]);
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Some(StoreEntry { folder: Arc::clone(folder), key: hash.finalize().into() })
    }
}

impl StoreEntry {
    /// Returns a number that is practically unique.
    pub(crate) fn number(&self) -> u64 {
        let (number, _) = self.key.split_first_chunk().expect("a key has 32 bytes");
        u64::from_le_bytes(*number)
    }

    /// Reads the content, if it was written.
    pub(crate) fn read(&self) -> Option<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder.descriptor, self.name(), flags, Mode::empty()).ok()?;
        let mut file = File::from(file);
        let metadata = file.metadata().ok()?;
        let is_own = metadata.uid() == rustix::process::geteuid().as_raw();
        if !metadata.is_file() || !is_own || metadata.len() > MAX_ENTRY {
            return None;
        }
        let size = usize::try_from(metadata.len()).ok()?.checked_sub(CHECKSUM)?;
        let mut checksum = [0; CHECKSUM];
        let mut bytes = vec![0; size];
        file.read_exact(&mut checksum).and_then(|()| file.read_exact(&mut bytes)).ok()?;
        if checksum != self.checksum(&bytes) {
            return None;
        }
        note_use(&file, metadata.modified().ok());
        Some(bytes)
    }

    /// Reads the content, if it was written and is UTF-8.
    pub(crate) fn read_text(&self) -> Option<String> {
        String::from_utf8(self.read()?).ok()
    }

    /// Queues the content to be written by another thread. Drops it if the queue or the cache is
    /// full.
    pub(crate) fn write(&self, bytes: &[u8]) {
        let mut queue = self.folder.queue();
        let size = bytes.len() + CHECKSUM;
        let on_disk = (size as u64).next_multiple_of(BLOCK);
        if queue.bytes + size > MAX_QUEUED || size as u64 > MAX_ENTRY || on_disk > queue.left {
            return;
        }
        let mut content = Vec::with_capacity(size);
        content.extend_from_slice(&self.checksum(bytes));
        content.extend_from_slice(bytes);
        queue.entries.push((self.name(), content));
        queue.bytes += size;
        queue.left -= on_disk;
        if !std::mem::replace(&mut queue.is_written, true) {
            let folder = Arc::clone(&self.folder);
            tokio::task::spawn_blocking(move || folder.write_queued());
        }
    }

    fn name(&self) -> String {
        self.key.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Returns the checksum of key and content, so that an entry under another name is invalid.
    fn checksum(&self, bytes: &[u8]) -> [u8; CHECKSUM] {
        Sha256::new().chain_update(self.key).chain_update(bytes).finalize().into()
    }
}

impl StoreFolder {
    fn new(descriptor: OwnedFd, limit: u64) -> Self {
        let versions = [env!("CARGO_PKG_VERSION"), DENO_VERSION, v8::V8::get_version()];
        let common = Sha256::new().chain_update(FORMAT.to_le_bytes()).chain_update(versions.join("\n"));
        let queue = WriteQueue { entries: Vec::new(), bytes: 0, left: limit, count: 0, is_written: false };
        Self { descriptor, common, queue: Mutex::new(queue) }
    }

    fn write_queued(&self) {
        loop {
            let mut queue = self.queue();
            let Some((name, content)) = queue.entries.pop() else {
                queue.is_written = false;
                return;
            };
            queue.count += 1;
            let unfinished = format!("{MODULE_CACHE_UNFINISHED}{}-{}", std::process::id(), queue.count);
            drop(queue);
            // Without this entry the module is compiled again.
            if let Err(error) = self.write(&unfinished, &name, &content) {
                log::debug!("a compiled module is not kept: {error}");
                _ = rustix::fs::unlinkat(&self.descriptor, &unfinished, rustix::fs::AtFlags::empty());
            }
            self.queue().bytes -= content.len();
        }
    }

    fn write(&self, unfinished: &str, name: &str, content: &[u8]) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.descriptor, unfinished, flags, Mode::RUSR | Mode::WUSR)?;
        // All of this uses rustix: `disk` counts the project's files, which are written through the
        // C library.
        let mut rest = content;
        while !rest.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, rest))?;
            rest = &rest[written..];
        }
        Ok(rustix::fs::renameat(&self.descriptor, unfinished, &self.descriptor, name)?)
    }

    fn queue(&self) -> MutexGuard<'_, WriteQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Updates the time of an entry's last change, by which the router finds entries that are not used.
fn note_use(file: &File, known: Option<SystemTime>) {
    let is_recent = known.and_then(|known| known.elapsed().ok()).is_none_or(|since| since < USE_PRECISION);
    if !is_recent {
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let as_it_is = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        _ = rustix::fs::futimens(file, &Timestamps { last_access: as_it_is, last_modification: now });
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    fn open(dir: &Path, bytes: u64) -> Cache {
        Cache::open(Some(&ModuleCache { dir: dir.to_owned(), max_bytes: bytes }))
    }

    /// Waits for the queue to be written.
    fn written(cache: &Cache) {
        let folder = cache.0.as_ref().unwrap();
        while folder.queue().is_written {
            std::thread::yield_now();
        }
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[tokio::test]
    async fn what_was_written_is_found_by_what_it_was_made_of() {
        let dir = tempfile::tempdir().unwrap();
        let cache = open(dir.path(), 1 << 20);
        let entry = cache.entry(Producer::Emitter, &[b"ab", b"c"]).unwrap();
        assert_eq!(entry.read(), None);
        entry.write(b"made");
        written(&cache);
        assert_eq!(entry.read_text().as_deref(), Some("made"));
        let again = open(dir.path(), 0);
        assert_eq!(again.entry(Producer::Emitter, &[b"ab", b"c"]).unwrap().read().unwrap(), b"made");
        for (producer, parts) in [
            (Producer::Emitter, [b"a".as_slice(), b"bc"]),
            (Producer::Emitter, [b"ab", b"d"]),
            (Producer::Module, [b"ab", b"c"]),
        ] {
            assert_eq!(again.entry(producer, &parts).unwrap().read(), None, "{producer:?}");
        }
        assert_eq!(names(dir.path()).len(), 1);
    }

    #[tokio::test]
    async fn a_damaged_entry_counts_as_missing_and_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let cache = open(dir.path(), 1 << 20);
        let entry = cache.entry(Producer::Module, &[b"x"]).unwrap();
        let other = cache.entry(Producer::Module, &[b"y"]).unwrap();
        entry.write(b"made");
        other.write(b"made of y");
        written(&cache);
        let (path, elsewhere) = (dir.path().join(entry.name()), dir.path().join(other.name()));
        let good = fs::read(&path).unwrap();
        let with = |change: fn(&mut Vec<u8>)| {
            let mut bytes = good.clone();
            change(&mut bytes);
            bytes
        };
        let damaged = [
            with(Vec::clear),
            with(|bytes| bytes.truncate(CHECKSUM - 1)),
            with(|bytes| _ = bytes.pop()),
            with(|bytes| bytes.push(0)),
            with(|bytes| bytes[CHECKSUM] ^= 1),
            with(|bytes| bytes[0] ^= 1),
            fs::read(&elsewhere).unwrap(),
        ];
        for bytes in damaged {
            fs::write(&path, &bytes).unwrap();
            assert_eq!(entry.read(), None, "{bytes:?}");
        }
        fs::remove_file(&path).unwrap();
        fs::write(dir.path().join("outside"), &good).unwrap();
        symlink("outside", &path).unwrap();
        assert_eq!(entry.read(), None);
        entry.write(b"made");
        written(&cache);
        assert_eq!(entry.read().unwrap(), b"made");
        assert!(path.symlink_metadata().unwrap().is_file());
    }

    #[tokio::test]
    async fn a_process_writes_no_more_than_it_may() {
        let dir = tempfile::tempdir().unwrap();
        let cache = open(dir.path(), 3 * BLOCK + 100);
        for part in 0..10_u8 {
            cache.entry(Producer::Module, &[&[part]]).unwrap().write(b"made");
        }
        written(&cache);
        assert_eq!(names(dir.path()).len(), 3);
    }

    #[test]
    fn a_folder_that_cannot_be_opened_has_no_entries() {
        let dir = tempfile::tempdir().unwrap();
        symlink(dir.path(), dir.path().join("link")).unwrap();
        for name in ["none", "link"] {
            assert!(open(&dir.path().join(name), 1).entry(Producer::Module, &[b"x"]).is_none(), "{name}");
        }
        assert!(Cache::open(None).entry(Producer::Module, &[b"x"]).is_none());
    }
}
