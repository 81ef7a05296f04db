//! Changes of files' modes and times. Landlock has no rule for them: by path, any file of the same
//! user could be changed. So the second filter refuses that, and these replacements of the C
//! library's functions open the file first, which Landlock permits or not. A file that may be
//! neither read nor written cannot be changed this way, nor can a symbolic link itself.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::ptr;

use libc::{c_char, c_int, mode_t, timespec};

#[expect(unsafe_code, reason = "stands for the C library's function")]
#[unsafe(no_mangle)]
unsafe extern "C" fn chmod(path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: as the caller promises the C library.
    unsafe { fchmodat(libc::AT_FDCWD, path, mode, 0) }
}

#[expect(unsafe_code, reason = "stands for the C library's function")]
#[unsafe(no_mangle)]
unsafe extern "C" fn fchmodat(folder: c_int, path: *const c_char, mode: mode_t, flags: c_int) -> c_int {
    // SAFETY: as the caller promises the C library; the descriptor is open.
    unsafe {
        match open(folder, path, flags) {
            Some(file) => libc::fchmod(file.as_raw_fd(), mode),
            None => -1,
        }
    }
}

#[expect(unsafe_code, reason = "stands for the C library's function")]
#[unsafe(no_mangle)]
unsafe extern "C" fn utimensat(
    folder: c_int,
    path: *const c_char,
    times: *const timespec,
    flags: c_int,
) -> c_int {
    let set = |file: c_int| {
        // SAFETY: without a path the call changes the descriptor's own file; the times are as the
        // caller promises the C library.
        unsafe { libc::syscall(libc::SYS_utimensat, file, ptr::null::<c_char>(), times, 0) as c_int }
    };
    if path.is_null() {
        return set(folder);
    }
    // SAFETY: as the caller promises the C library.
    unsafe { open(folder, path, flags) }.map_or(-1, |file| set(file.as_raw_fd()))
}

/// Opens a file to change it, without waiting for the other end of a pipe. `None` sets errno.
///
/// # Safety
/// `path` is a string of C.
#[expect(unsafe_code, reason = "libc calls")]
unsafe fn open(folder: c_int, path: *const c_char, flags: c_int) -> Option<OwnedFd> {
    let follow = if flags & libc::AT_SYMLINK_NOFOLLOW == 0 { 0 } else { libc::O_NOFOLLOW };
    let how = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC | follow;
    // SAFETY: as the caller promises; the descriptor belongs to this function.
    unsafe {
        let mut file = libc::openat64(folder, path, libc::O_RDONLY | how);
        if file < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EACCES) {
            file = libc::openat64(folder, path, libc::O_WRONLY | how);
        }
        (file >= 0).then(|| OwnedFd::from_raw_fd(file))
    }
}
