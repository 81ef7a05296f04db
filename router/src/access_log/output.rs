//! The file that the lines of the access log are added to.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

/// The open file.
#[derive(Debug)]
pub(crate) struct Output {
    /// `None`: standard output.
    path: Option<PathBuf>,
    file: File,
    /// The last line was cut off, so the next one begins behind a line break.
    is_torn: bool,
}

impl Output {
    /// Opens a file, or standard output, which is called `-`.
    ///
    /// # Errors
    /// The file cannot be opened, or is a pipe that nobody reads.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            // A descriptor of its own: nothing waits for the lock of `io::stdout`.
            let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
            return Ok(Self { path: None, file, is_torn: false });
        }
        // Addresses of clients are nobody else's business. A pipe without a reader is not waited for.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let opened = OpenOptions::new().append(true).create(true).mode(0o640).custom_flags(flags).open(path);
        let file = opened.map_err(|error| match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NXIO) => io::Error::new(error.kind(), "it is a pipe or a socket that nobody reads"),
            _ => error,
        })?;
        fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
        let is_torn = is_torn(path, &file).unwrap_or(false);
        Ok(Self { path: Some(path.to_owned()), file, is_torn })
    }

    /// The path. `None`: standard output.
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Adds lines.
    ///
    /// # Errors
    /// The number of lines that were written whole, and the failure at the next one.
    pub(super) fn write(&mut self, lines: &[u8]) -> Result<(), (u64, io::Error)> {
        if self.is_torn {
            self.file.write_all(b"\n").map_err(|error| (0, error))?;
            self.is_torn = false;
        }
        let mut written = 0;
        while written < lines.len() {
            let error = match self.file.write(&lines[written..]) {
                Ok(0) => ErrorKind::WriteZero.into(),
                Ok(more) => {
                    written += more;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            let whole = memchr::memchr_iter(b'\n', &lines[..written]).count();
            self.is_torn = written > 0 && lines[written - 1] != b'\n';
            return Err((whole as u64, error));
        }
        Ok(())
    }
}

/// Returns true if the last line of a regular file has no end: the disk was full.
fn is_torn(path: &Path, file: &File) -> io::Result<bool> {
    let found = file.metadata()?;
    if !found.is_file() || found.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    File::open(path)?.read_exact_at(&mut last, found.len() - 1)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_off_does_not_swallow_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        std::fs::write(&path, "one\ncut o").unwrap();
        Output::open(&path).unwrap().write(b"two\n").unwrap();
        Output::open(&path).unwrap().write(b"three\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ncut o\ntwo\nthree\n");
    }

    #[test]
    fn a_pipe_is_written_while_it_has_a_reader() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)
            .unwrap();
        assert!(Output::open(&path).unwrap_err().to_string().contains("nobody reads"));
        assert!(Output::open(dir.path()).is_err());
        let _reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut output = Output::open(&path).unwrap();
        output.write(b"one\n").unwrap();
    }
}
