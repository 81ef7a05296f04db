//! The entries of a tar, read one by one: names and types in its extensions are checked and bounded
//! before they are used.

use std::io::{self, Read};

use tar::{Archive, Entry, EntryType, PaxExtensions};

use super::UploadError;
use super::contents::{check_special_bits, copy, damaged};
use super::sink::{LinkTarget, Sink};

/// Bytes of an extension, as of a long name.
const MAX_EXTENSION: u64 = 64 * 1024;

/// A tar ends with two blocks of zeros. Without one it was cut off.
const BLOCK: u64 = 512;

/// # Errors
/// It is damaged, or something in it is refused.
pub(super) fn unpack(reader: impl Read, sink: &mut Sink) -> Result<(), UploadError> {
    let mut archive = Archive::new(ZeroCounter { reader, zeros: 0 });
    let mut long = LongNames::default();
    let entries = archive.entries().map_err(|error| damaged(&error))?;
    for entry in entries.raw(true) {
        let mut entry = entry.map_err(|error| damaged(&error))?;
        match entry.header().entry_type() {
            EntryType::XGlobalHeader => drop(extension(&mut entry)?),
            EntryType::XHeader => {
                let data = extension(&mut entry)?;
                long.read_pax(&data)?;
            }
            EntryType::GNULongName => long.name = Some(gnu_name(&mut entry)?),
            EntryType::GNULongLink => long.target = Some(gnu_name(&mut entry)?),
            _ => one(&mut entry, std::mem::take(&mut long), sink)?,
        }
    }
    let mut rest = archive.into_inner();
    let zeros = rest.zeros;
    let left = io::copy(&mut rest, &mut io::sink()).map_err(|error| damaged(&error))?;
    if zeros < BLOCK {
        return Err(damaged(&"it ends too early"));
    }
    if rest.zeros < zeros + left {
        return Err(damaged(&"something follows its end"));
    }
    Ok(())
}

/// Values from extensions for the entry behind them, which its header has no room for.
#[derive(Debug, Default)]
struct LongNames {
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
}

fn one<R: Read>(entry: &mut Entry<'_, R>, long: LongNames, sink: &mut Sink) -> Result<(), UploadError> {
    let not_utf8 = |_| UploadError::bad("filename", "a name in the archive is not UTF-8: rename the file");
    let name = long.name.unwrap_or_else(|| entry.path_bytes().into_owned());
    let name = String::from_utf8(name).map_err(not_utf8)?;
    let kind = entry.header().entry_type();
    if matches!(kind, EntryType::Symlink | EntryType::Link) {
        let target = long.target.or_else(|| Some(entry.link_name_bytes()?.into_owned())).unwrap_or_default();
        let target = String::from_utf8(target).map_err(|error| not_utf8(error).part(&name))?;
        let target = if kind == EntryType::Link {
            LinkTarget::FromTop(target)
        } else {
            LinkTarget::FromFolder(target)
        };
        return sink.link(&name, target);
    }
    check_type(kind).map_err(|refused| refused.part(&name))?;
    let mode = entry.header().mode().map_err(|error| damaged(&error).part(&name))?;
    check_special_bits(mode).map_err(|refused| refused.part(&name))?;
    // Old archives mark a folder by the slash at the end of its name.
    if kind.is_dir() || name.ends_with('/') { sink.folder(&name) } else { copy(&name, entry, sink) }
}

fn check_type(kind: EntryType) -> Result<(), UploadError> {
    let what = match kind {
        EntryType::Regular | EntryType::Directory => return Ok(()),
        EntryType::Char | EntryType::Block => "a device: leave it out of the archive",
        EntryType::Fifo => "a pipe: leave it out of the archive",
        EntryType::GNUSparse => "a sparse file: pack it as a plain one (without tar -S)",
        _ => "neither a file nor a folder: leave it out of the archive",
    };
    Err(UploadError::bad("type", format!("it is {what}")))
}

fn extension<R: Read>(entry: &mut Entry<'_, R>) -> Result<Vec<u8>, UploadError> {
    let mut data = Vec::new();
    let read = entry.take(MAX_EXTENSION + 1).read_to_end(&mut data);
    read.map_err(|error| damaged(&error))?;
    if data.len() as u64 > MAX_EXTENSION {
        return Err(damaged(&"an extension in it is too large"));
    }
    Ok(data)
}

fn gnu_name<R: Read>(entry: &mut Entry<'_, R>) -> Result<Vec<u8>, UploadError> {
    let mut data = extension(entry)?;
    while data.last() == Some(&0) {
        data.pop();
    }
    Ok(data)
}

impl LongNames {
    fn read_pax(&mut self, data: &[u8]) -> Result<(), UploadError> {
        for pair in PaxExtensions::new(data) {
            let pair = pair.map_err(|error| damaged(&error))?;
            match pair.key_bytes() {
                b"path" => self.name = Some(pair.value_bytes().to_vec()),
                b"linkpath" => self.target = Some(pair.value_bytes().to_vec()),
                b"size" => return Err(damaged(&"a file in it is too large for its format")),
                key if key.starts_with(b"GNU.sparse") => check_type(EntryType::GNUSparse)?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Notes how many zeros were read last.
struct ZeroCounter<R> {
    reader: R,
    zeros: u64,
}

impl<R: Read> Read for ZeroCounter<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        let read = &buffer[..length];
        let zeros = read.iter().rev().take_while(|byte| **byte == 0).count();
        self.zeros = if zeros == length { self.zeros + zeros as u64 } else { zeros as u64 };
        Ok(length)
    }
}
