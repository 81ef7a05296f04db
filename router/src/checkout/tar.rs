//! A checkout as a tar archive: the project's own files that count, without its includes. Owners
//! and times are left out, so that the same content is always the same bytes.

use std::fs::File;
use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};
use tar::{Builder, Header};

use super::hashes::FileHash;
use super::store::StoredVersion;
use crate::project::is_beside;

impl StoredVersion {
    /// Writes the archive to `out`.
    ///
    /// # Errors
    /// `out` cannot be written, or a file differs from its hash. The archive has no end marker
    /// then.
    pub(crate) fn write_tar(&self, out: impl Write) -> io::Result<()> {
        let mut tar = Builder::new(ArchiveOutput { out, is_open: true });
        for (path, hash) in self.files.iter().filter(|(path, _)| !is_beside(path)) {
            let written = self.append(&mut tar, path, hash);
            // A dropped builder would write the end marker of a complete archive.
            tar.get_mut().is_open = written.is_ok();
            written?;
        }
        tar.into_inner()?.flush()
    }

    fn append(&self, tar: &mut Builder<impl Write>, path: &str, hash: &FileHash) -> io::Result<()> {
        let file = File::open(self.checkout.dir.join(path))?;
        let size = file.metadata()?.len();
        let mut header = Header::new_gnu();
        header.set_size(size);
        header.set_mode(0o644);
        header.set_mtime(0);
        let mut content = HashingReader { file: file.take(size), hash: Sha256::new() };
        tar.append_data(&mut header, path, &mut content)?;
        if FileHash::from(content.hash.finalize()) == *hash {
            return Ok(());
        }
        Err(io::Error::other(format!("{path} has changed in the checkout")))
    }
}

/// The output of an archive, which refuses writes after an error.
struct ArchiveOutput<W> {
    out: W,
    is_open: bool,
}

impl<W: Write> Write for ArchiveOutput<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.is_open { self.out.write(data) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A reader that hashes the bytes it returns.
struct HashingReader<R> {
    file: R,
    hash: Sha256,
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use switchyard_contract::project::ProjectName;

    use super::super::{HashCache, ReadBounds, Store};
    use super::*;
    use crate::policy::ReadLimits;
    use crate::root::Place;
    use crate::version::{Tenant, Version};

    fn stored() -> (tempfile::TempDir, StoredVersion) {
        let dir = tempfile::tempdir().unwrap();
        let project = dir.path().join("blog");
        let long = format!("{}/deep.ts", "folder/".repeat(20));
        for (path, text) in [("main.ts", "1"), ("lib/empty", ""), (long.as_str(), "deep")] {
            fs::create_dir_all(project.join(path).parent().unwrap()).unwrap();
            fs::write(project.join(path), text).unwrap();
        }
        fs::create_dir(project.join("node_modules")).unwrap();
        let store = Store::open(&dir.path().join("state")).unwrap();
        let name = ProjectName::parse("blog").unwrap();
        let bounds = ReadBounds { limits: ReadLimits::default(), pace: &|_| Ok(()) };
        let snapshot =
            store.snapshot(&name, &Place::on_volume(project), bounds, &mut HashCache::default()).unwrap();
        let version = Version::new(&Tenant::first(&name), snapshot.digest);
        store.make(&version, &snapshot, None, &|_| Ok(())).unwrap();
        let stored = store.find_by_digits(&version.tenant(), &version.digest.short()).unwrap();
        assert_eq!(stored.version, version);
        (dir, stored)
    }

    #[test]
    fn a_tar_has_the_files_that_count_and_neither_times_nor_owners() {
        let (_dir, stored) = stored();
        let mut bytes = Vec::new();
        stored.write_tar(&mut bytes).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            let header = entry.header();
            assert_eq!((header.mode().unwrap(), header.mtime().unwrap()), (0o644, 0));
            assert!(header.entry_type().is_file());
            (entry.path().unwrap().to_string_lossy().into_owned(), text)
        });
        let entries: Vec<_> = entries.collect();
        let long = format!("{}/deep.ts", "folder/".repeat(20)).replace("//", "/");
        let expected = [(long.as_str(), "deep"), ("lib/empty", ""), ("main.ts", "1")];
        assert_eq!(entries, expected.map(|(path, text)| (path.to_owned(), text.to_owned())));
    }

    #[test]
    fn a_file_that_has_changed_ends_the_tar_early() {
        let (_dir, stored) = stored();
        let path = stored.checkout.dir.join("main.ts");
        fs::remove_file(&path).unwrap();
        for wrong in [None, Some("2"), Some("more than before")] {
            if let Some(text) = wrong {
                fs::write(&path, text).unwrap();
            }
            let mut bytes = Vec::new();
            stored.write_tar(&mut bytes).unwrap_err();
            assert!(!bytes.ends_with(&[0; 1024]), "no end of a tar");
        }
    }
}
