//! A checkout as a tar: the project's own files that count (not what it includes), nothing of who owns them or when they
//! were written, so that the same content is always the same bytes.

use std::fs::File;
use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};
use tar::{Builder, Header};

use super::snapshot::FileHash;
use super::store::Kept;
use crate::project::is_beside;

impl Kept {
    /// Writes the tar to `out`.
    ///
    /// # Errors
    /// `out` takes no more, or a file is no longer what its version says: then the tar has no end.
    pub(crate) fn write_tar(&self, out: impl Write) -> io::Result<()> {
        let mut tar = Builder::new(Gate { out, open: true });
        for (path, hash) in self.files.iter().filter(|(path, _)| !is_beside(path)) {
            let written = self.append(&mut tar, path, hash);
            // Dropped, it would write the end of a whole tar.
            tar.get_mut().open = written.is_ok();
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
        let mut content = Hashing { file: file.take(size), hash: Sha256::new() };
        tar.append_data(&mut header, path, &mut content)?;
        if FileHash::from(content.hash.finalize()) == *hash {
            return Ok(());
        }
        Err(io::Error::other(format!("{path} is no longer what it was")))
    }
}

/// Lets nothing more through once it is shut.
struct Gate<W> {
    out: W,
    open: bool,
}

impl<W: Write> Write for Gate<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.open { self.out.write(data) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Hashes what is read through it.
struct Hashing<R> {
    file: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashing<R> {
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

    use super::super::{Bounds, HashCache, Store};
    use super::*;
    use crate::policy::ReadLimits;
    use crate::version::{Tenant, Version};

    fn kept() -> (tempfile::TempDir, Kept) {
        let dir = tempfile::tempdir().unwrap();
        let project = dir.path().join("blog");
        let long = format!("{}/deep.ts", "folder/".repeat(20));
        for (path, text) in [("main.ts", "1"), ("lib/empty", ""), (long.as_str(), "deep")] {
            fs::create_dir_all(project.join(path).parent().unwrap()).unwrap();
            fs::write(project.join(path), text).unwrap();
        }
        fs::create_dir(project.join("node_modules")).unwrap();
        let store = Store::open(&dir.path().join("state")).unwrap();
        let bounds = Bounds { limits: ReadLimits::default(), pace: &|_| Ok(()) };
        let snapshot = store.snapshot(&project, bounds, &mut HashCache::default()).unwrap();
        let version = Version::new(&Tenant::first(&ProjectName::parse("blog").unwrap()), snapshot.digest);
        store.make(&version, &snapshot, None, &|_| Ok(())).unwrap();
        let kept = store.kept(&version.tenant(), &version.digest.short()).unwrap();
        assert_eq!(kept.version, version);
        (dir, kept)
    }

    #[test]
    fn a_tar_has_the_files_that_count_and_nothing_of_when_or_whose() {
        let (_dir, kept) = kept();
        let mut bytes = Vec::new();
        kept.write_tar(&mut bytes).unwrap();
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
    fn a_file_that_is_not_what_it_was_breaks_the_tar_off() {
        let (_dir, kept) = kept();
        let path = kept.checkout.dir.join("main.ts");
        fs::remove_file(&path).unwrap();
        for wrong in [None, Some("2"), Some("more than before")] {
            if let Some(text) = wrong {
                fs::write(&path, text).unwrap();
            }
            let mut bytes = Vec::new();
            kept.write_tar(&mut bytes).unwrap_err();
            assert!(!bytes.ends_with(&[0; 1024]), "no end of a tar");
        }
    }
}
