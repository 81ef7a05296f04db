//! Files of a project, opened without the risk of blocking.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// Opens a plain file. Reading anything else on the volume could block for ever.
///
/// # Errors
/// The file cannot be opened, or is not a plain file.
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    let nonblocking = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, nonblocking, Mode::empty())?);
    // Files of /proc claim to be plain, and block until there is data.
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}
