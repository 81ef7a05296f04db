//! The shared store of tarballs on disk, each behind its own hash: a damaged file, as a power cut
//! or a full disk leaves it, does not count. Each use also checks the package against the registry
//! or the lock file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::fs::{Timespec, Timestamps, UTIME_NOW, futimens};
use sha2::{Digest as _, Sha256};

/// Bytes of the hash in front of a tarball.
const HASH: usize = 32;

/// The mode of a tarball. Installations for other projects use it too, which may run as another
/// user of the same group.
const MODE: u32 = 0o664;

/// Reads a tarball, if it is there and undamaged.
pub(super) fn read(path: &Path) -> Option<Vec<u8>> {
    let mut stored = fs::read(path).ok()?;
    let body = stored.split_off(stored.len().min(HASH));
    if Sha256::digest(&body).as_slice() != stored {
        return None;
    }
    // The router removes the tarballs first that were not used for the longest time.
    if let Ok(file) = fs::File::options().append(true).open(path) {
        // A process that may write to a file may set its times to the present only.
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let _ = futimens(&file, &Timestamps { last_access: now, last_modification: now });
    }
    Some(body)
}

/// Stores a tarball. A failure is ignored: the tarball is downloaded again.
pub(super) fn write(path: &Path, body: &[u8]) {
    let unfinished = path.with_extension(std::process::id().to_string());
    let hash = Sha256::digest(body);
    let written = fs::write(&unfinished, [hash.as_slice(), body].concat())
        .and_then(|()| fs::set_permissions(&unfinished, fs::Permissions::from_mode(MODE)));
    if written.and_then(|()| fs::rename(&unfinished, path)).is_err() {
        let _ = fs::remove_file(&unfinished);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        assert_eq!(read(&path), None);
        write(&path, b"a tarball");
        assert_eq!(read(&path).as_deref(), Some(b"a tarball".as_slice()));
        for damaged in [&b""[..], b"short", &fs::read(&path).unwrap()[..40]] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(read(&path), None);
        }
    }
}
