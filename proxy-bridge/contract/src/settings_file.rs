//! The files that settings name.

use std::fs::{self, File};
use std::io::{Error, ErrorKind, Read as _, Result};
use std::path::Path;

/// The longest file that is read, in bytes. A policy for thousands of projects has a few hundred
/// thousand.
const MAX_LENGTH: u64 = 16 * 1024 * 1024;

/// Returns the content of the file.
///
/// # Errors
/// The file cannot be read, is too long, or is not a plain file: a pipe could block its reader
/// without end, and has no content to read again on SIGHUP.
pub fn read(file: &Path) -> Result<Vec<u8>> {
    if !fs::metadata(file)?.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "it is not a plain file"));
    }
    let mut content = Vec::new();
    File::open(file)?.take(MAX_LENGTH + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_LENGTH {
        let detail = format!("it is longer than {MAX_LENGTH} bytes");
        return Err(Error::new(ErrorKind::FileTooLarge, detail));
    }
    Ok(content)
}

/// The content of the file, as text.
///
/// # Errors
/// See [`read`]. The content is not UTF-8.
pub fn read_text(file: &Path) -> Result<String> {
    let text = String::from_utf8(read(file)?);
    text.map_err(|_| Error::new(ErrorKind::InvalidData, "it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_special_file_is_refused_without_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "text").unwrap();
        assert_eq!(read_text(&file).unwrap(), "text");
        fs::write(&file, b"\xff").unwrap();
        assert_eq!(read_text(&file).unwrap_err().to_string(), "it is not UTF-8");
        for other in [dir.path(), Path::new("/dev/zero")] {
            assert_eq!(read(other).unwrap_err().to_string(), "it is not a plain file");
        }
        File::create(&file).unwrap().set_len(MAX_LENGTH + 1).unwrap();
        assert!(read(&file).unwrap_err().to_string().contains("longer than"));
        assert_eq!(read(&dir.path().join("none")).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
