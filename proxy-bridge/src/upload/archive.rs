//! Uploads that are one archive.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use zip::ZipArchive;

use super::contents::{check_special_bits, copy, damaged};
use super::sink::{LinkTarget, Sink};
use super::{UploadError, tarball};

/// Bytes in the path that a link points to: Linux has none that is longer.
const MAX_TARGET: u64 = 4096;

/// 8 MiB, which every level of zstd needs but --ultra and --long: an archive may not ask for more
/// memory.
const MAX_WINDOW_LOG: u32 = 23;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ArchiveKind {
    Tar,
    TarGz,
    TarZst,
    Zip,
}

const ENDINGS: [(&str, ArchiveKind); 5] = [
    (".tar", ArchiveKind::Tar),
    (".tar.gz", ArchiveKind::TarGz),
    (".tgz", ArchiveKind::TarGz),
    (".tar.zst", ArchiveKind::TarZst),
    (".zip", ArchiveKind::Zip),
];

/// The archive that is the only file of an upload.
pub(super) fn kind_of(sink: &Sink) -> Option<(ArchiveKind, PathBuf)> {
    let file = sink.only_file()?;
    let name = file.file_name()?.to_str()?.to_ascii_lowercase();
    let (_, kind) = ENDINGS.into_iter().find(|(ending, _)| name.ends_with(ending))?;
    Some((kind, file))
}

/// # Errors
/// It is damaged, or something in it is refused.
pub(super) fn unpack(kind: ArchiveKind, path: &Path, sink: &mut Sink) -> Result<(), UploadError> {
    let file = File::open(path).map_err(|error| UploadError::volume("read the archive", error))?;
    match kind {
        ArchiveKind::Tar => tarball::unpack(BufReader::new(file), sink),
        ArchiveKind::TarGz => tarball::unpack(MultiGzDecoder::new(BufReader::new(file)), sink),
        ArchiveKind::TarZst => {
            let mut decoder = zstd::Decoder::new(file).map_err(|error| damaged(&error))?;
            decoder.window_log_max(MAX_WINDOW_LOG).map_err(|error| damaged(&error))?;
            tarball::unpack(decoder, sink)
        }
        ArchiveKind::Zip => unzip(file, sink),
    }
}

fn unzip(file: File, sink: &mut Sink) -> Result<(), UploadError> {
    let wrong = |error: zip::result::ZipError| damaged(&error);
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(wrong)?;
    if archive.has_duplicate_names() {
        return Err(UploadError::bad("filename", "the archive names a file twice: pack it again"));
    }
    if archive.has_overlapping_files().map_err(wrong)? {
        return Err(UploadError::bad("body", "files in the archive overlap: pack it again"));
    }
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(wrong)?;
        let name = std::str::from_utf8(entry.name_raw()).map(str::to_owned);
        let name = name.map_err(|_| {
            UploadError::bad("filename", "a name in the archive is not UTF-8: rename the file")
        })?;
        let mode = entry.external_attributes() >> 16;
        check_zip_mode(mode).map_err(|refused| refused.part(&name))?;
        if entry.is_dir() {
            sink.folder(&name)?;
        } else if entry.is_symlink() {
            let target = link_target(&mut entry).map_err(|refused| refused.part(&name))?;
            sink.link(&name, LinkTarget::FromFolder(target))?;
        } else {
            copy(&name, &mut entry, sink)?;
        }
    }
    Ok(())
}

/// The content of a symbolic link in a zip.
fn link_target(entry: &mut impl Read) -> Result<String, UploadError> {
    let mut target = Vec::new();
    entry.take(MAX_TARGET + 1).read_to_end(&mut target).map_err(|error| damaged(&error))?;
    let target = String::from_utf8(target).ok().filter(|target| target.len() as u64 <= MAX_TARGET);
    let wrong = "it is a symbolic link to no path in UTF-8: put the file itself into the archive";
    target.ok_or_else(|| UploadError::bad("type", wrong))
}

/// `mode` is 0 when the archive was made on Windows.
fn check_zip_mode(mode: u32) -> Result<(), UploadError> {
    const TYPE: u32 = 0o170_000;
    match mode & TYPE {
        0 | 0o040_000 | 0o100_000 => {}
        // The other bits of the mode are ignored.
        0o120_000 => return Ok(()),
        _ => {
            return Err(UploadError::bad(
                "type",
                "it is neither a file nor a folder: leave it out of the archive",
            ));
        }
    }
    check_special_bits(mode)
}
