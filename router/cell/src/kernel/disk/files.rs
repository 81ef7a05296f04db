//! Files behind descriptors and paths: their position, size on the disk and folder.
#![expect(unsafe_code, reason = "libc calls")]

use std::ffi::{CStr, CString, c_char};
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};

/// The unit in which files grow, in bytes. The router's counts correct it on file systems with
/// larger blocks.
pub(super) const BLOCK: i64 = 4096;

/// A regular file before a write.
#[derive(Debug, Clone, Copy)]
pub(super) struct WriteTarget {
    /// The position of the next byte.
    pub(super) at: i64,
    /// Bytes on the disk.
    pub(super) allocated: i64,
    /// The end of the part that is allocated on the disk without holes.
    dense: i64,
}

/// Returns the position of a descriptor. Pipes and sockets have none.
pub(super) fn position(fd: RawFd) -> Option<i64> {
    // SAFETY: changes nothing, whatever the descriptor is.
    Some(unsafe { libc::lseek64(fd, 0, libc::SEEK_CUR) }).filter(|position| *position >= 0)
}

impl WriteTarget {
    /// Returns `None` if the descriptor is not a regular file's. `at`: the position of the write,
    /// if it is not the descriptor's own.
    pub(super) fn of(fd: RawFd, at: Option<i64>) -> Option<Self> {
        let position = position(fd)?;
        let status = status(fd)?;
        if status.st_mode & libc::S_IFMT != libc::S_IFREG {
            return None;
        }
        // SAFETY: reads flags.
        let appends = at.is_none() && unsafe { libc::fcntl(fd, libc::F_GETFL) } & libc::O_APPEND != 0;
        let allocated = status.st_blocks * 512;
        let is_dense = allocated >= status.st_size;
        Some(Self {
            at: if appends { status.st_size } else { at.unwrap_or(position) },
            allocated,
            dense: if is_dense { up(status.st_size) } else { 0 },
        })
    }

    /// Returns the most bytes on the disk that writing `len` bytes can add.
    pub(super) fn growth(&self, len: usize) -> i64 {
        let len = i64::try_from(len).unwrap_or(i64::MAX);
        up(self.at.saturating_add(len)).saturating_sub(self.covered()).max(0)
    }

    /// Returns the number of bytes that can be written if the file may grow by `growth`.
    pub(super) fn fitting_bytes(&self, growth: i64) -> usize {
        usize::try_from(self.covered() + growth - self.at).unwrap_or(0)
    }

    /// Returns the end of the part that needs no further blocks.
    fn covered(&self) -> i64 {
        self.dense.max(self.at / BLOCK * BLOCK)
    }
}

/// Returns the most bytes on the disk that writing `len` bytes can add to a file, at any position.
pub(super) fn most_growth(len: usize) -> i64 {
    up(i64::try_from(len).unwrap_or(i64::MAX)).saturating_add(BLOCK)
}

/// Rounds up to a multiple of a block.
fn up(bytes: i64) -> i64 {
    bytes.saturating_add(BLOCK - 1) / BLOCK * BLOCK
}

/// Returns the bytes of an open file on the disk.
pub(super) fn allocated(fd: RawFd) -> Option<i64> {
    status(fd).map(|status| status.st_blocks * 512)
}

/// The status of the file at a path. Symbolic links are not followed.
pub(super) struct FileStatus {
    /// Bytes on the disk.
    pub(super) allocated: i64,
    /// `true`: the file goes with this name.
    pub(super) is_last_name: bool,
}

/// Returns the status of the file at a path, or `None` if there is no file.
pub(super) fn status_at(at: RawFd, name: *const c_char) -> Option<FileStatus> {
    let mut status = MaybeUninit::<libc::stat64>::uninit();
    // SAFETY: the kernel checks the pointers; the status is read only if it was filled.
    let status = unsafe {
        let found = libc::fstatat64(at, name, status.as_mut_ptr(), libc::AT_SYMLINK_NOFOLLOW) == 0;
        found.then(|| status.assume_init())?
    };
    let is_last_name = status.st_nlink == 1 || status.st_mode & libc::S_IFMT == libc::S_IFDIR;
    Some(FileStatus { allocated: status.st_blocks * 512, is_last_name })
}

/// Returns the bytes that are left to read from a regular file.
pub(super) fn unread(fd: RawFd, at: Option<i64>) -> Option<usize> {
    let status = status(fd).filter(|status| status.st_mode & libc::S_IFMT == libc::S_IFREG)?;
    // SAFETY: changes nothing.
    let at = at.unwrap_or_else(|| unsafe { libc::lseek64(fd, 0, libc::SEEK_CUR) });
    usize::try_from(status.st_size.saturating_sub(at)).ok()
}

fn status(fd: RawFd) -> Option<libc::stat64> {
    let mut status = MaybeUninit::uninit();
    // SAFETY: the pointer is to memory for one status, which is read only if it was filled.
    unsafe { (libc::fstat64(fd, status.as_mut_ptr()) == 0).then(|| status.assume_init()) }
}

/// Returns the bytes on the disk of this process's open files that have no name.
pub(super) fn unlinked() -> i64 {
    let entries = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let fds = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<RawFd>().ok());
    let unlinked = fds
        .filter_map(status)
        .filter(|status| status.st_nlink == 0 && status.st_mode & libc::S_IFMT == libc::S_IFREG);
    // A file may have several descriptors.
    let unlinked: std::collections::HashMap<_, _> =
        unlinked.map(|status| ((status.st_dev, status.st_ino), status.st_blocks)).collect();
    unlinked.into_values().map(|blocks| blocks * 512).sum()
}

/// Opens the folder of a path's last part.
pub(super) fn folder(at: RawFd, name: &CStr) -> Option<OwnedFd> {
    let name = name.to_bytes();
    let end = name.iter().rposition(|byte| *byte != b'/')?;
    let parent = match name[..end].iter().rposition(|byte| *byte == b'/') {
        Some(slash) => &name[..=slash],
        None => b".",
    };
    let parent = CString::new(parent).ok()?;
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: the pointer is to a string, and the descriptor is this function's own.
    unsafe {
        let fd = libc::syscall(libc::SYS_openat, at, parent.as_ptr(), flags, 0);
        RawFd::try_from(fd).ok().filter(|fd| *fd >= 0).map(|fd| OwnedFd::from_raw_fd(fd))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_uses_the_blocks_that_it_is_the_first_in() {
        let file = |at, dense| WriteTarget { at, allocated: dense, dense };
        for (target, len, growth) in [
            (file(0, 0), 1, BLOCK),
            (file(0, 0), 4096, BLOCK),
            (file(0, 0), 4097, 2 * BLOCK),
            (file(4095, BLOCK), 1, 0),
            (file(4095, BLOCK), 2, BLOCK),
            // Overwrites.
            (file(0, 4 * BLOCK), 4 * 4096, 0),
            // Behind a hole, and in a file that has holes.
            (file(10 * BLOCK + 1, BLOCK), 1, BLOCK),
            (file(BLOCK - 1, 0), 2, 2 * BLOCK),
        ] {
            assert_eq!(target.growth(len), growth, "{target:?} and {len}");
            assert!(target.fitting_bytes(growth) >= len, "{target:?} and {len}");
        }
        assert_eq!(file(100, BLOCK).fitting_bytes(0), 3996);
        assert_eq!(file(100, BLOCK).fitting_bytes(BLOCK), 3996 + 4096);
        assert_eq!(file(BLOCK, BLOCK).fitting_bytes(0), 0);
    }
}
