//! Archives: valid ones, and ones that no tool writes.

use std::io::{Cursor, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{EntryType, Header};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// A tar, entry by entry.
#[derive(Default)]
pub struct Tar(Vec<u8>);

impl Tar {
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.entry(path, EntryType::Regular, content, |_| {})
    }

    /// Adds an entry of any kind. Its path is written unchanged, and `change` may corrupt the rest.
    #[must_use]
    pub fn entry(
        mut self,
        path: &str,
        kind: EntryType,
        content: impl AsRef<[u8]>,
        change: impl FnOnce(&mut Header),
    ) -> Self {
        let content = content.as_ref();
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        change(&mut header);
        header.set_cksum();
        self.0.extend(header.as_bytes());
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// A symbolic or a hard link.
    #[must_use]
    pub fn link(self, path: &str, kind: EntryType, target: &str) -> Self {
        self.entry(path, kind, "", |header| {
            header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        })
    }

    /// With the two empty blocks that end a tar.
    pub fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

pub fn tar<B: AsRef<[u8]>>(files: &[(&str, B)]) -> Vec<u8> {
    files.iter().fold(Tar::new(), |tar, (path, content)| tar.file(path, content)).end()
}

pub fn gzip(content: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content.as_ref()).expect("memory can be written to");
    encoder.finish().expect("memory can be written to")
}

pub fn zstd(content: impl AsRef<[u8]>) -> Vec<u8> {
    zstd::encode_all(content.as_ref(), 3).expect("memory can be read from")
}

pub fn zip<B: AsRef<[u8]>>(files: &[(&str, B)]) -> Vec<u8> {
    zip_with(|zip| {
        for (path, content) in files {
            zip.start_file(path, SimpleFileOptions::default()).expect("an entry can be begun");
            zip.write_all(content.as_ref()).expect("memory can be written to");
        }
    })
}

/// Returns a zip with the files that `fill` adds.
pub fn zip_with(fill: impl FnOnce(&mut ZipWriter<Cursor<Vec<u8>>>)) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    fill(&mut zip);
    zip.finish().expect("memory can be written to").into_inner()
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::Command;

    use super::*;
    use crate::process::output;
    use crate::router::is_installed;

    const FILES: [(&str, &str); 2] = [("main.ts", "1"), ("lib/é.txt", "2")];

    #[test]
    fn tar_lists_what_was_put_in() {
        assert!(is_installed("tar"), "tar is not installed: run `make test`, which installs it");
        let folder = tempfile::tempdir().unwrap();
        let plain = tar(&FILES);
        for (name, content) in [("a.tar", plain.clone()), ("a.tar.gz", gzip(&plain))] {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            let listed = output(Command::new("tar").args(["--quoting-style=literal", "-tf"]).arg(&path));
            assert_eq!(String::from_utf8(listed).unwrap(), "main.ts\nlib/é.txt\n", "{name}");
        }
        assert_eq!(zstd::decode_all(zstd(&plain).as_slice()).unwrap(), plain);
    }

    #[test]
    fn a_zip_holds_what_was_put_in() {
        let mut archive = zip::ZipArchive::new(Cursor::new(zip(&FILES))).unwrap();
        for (path, content) in FILES {
            let mut text = String::new();
            archive.by_name(path).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, content);
        }
    }
}
