//! Modes and times of files. Landlock has no rule for them: changed by path, they could be those of
//! any file of the same user. So the second filter refuses that, and these functions, which stand
//! in the place of the C library's, open the file first, which Landlock allows or not. What may
//! neither be read nor written cannot be changed so, nor can a symbolic link itself.

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

/// Opens a file to change it, and waits for nobody. `None` sets errno.
///
/// # Safety
/// `path` is a string of C.
#[expect(unsafe_code, reason = "libc calls")]
unsafe fn open(folder: c_int, path: *const c_char, flags: c_int) -> Option<OwnedFd> {
    let follow = if flags & libc::AT_SYMLINK_NOFOLLOW == 0 { 0 } else { libc::O_NOFOLLOW };
    let how = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC | follow;
    // SAFETY: as the caller promises; the descriptor is this function's own.
    unsafe {
        let mut file = libc::openat64(folder, path, libc::O_RDONLY | how);
        if file < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EACCES) {
            file = libc::openat64(folder, path, libc::O_WRONLY | how);
        }
        (file >= 0).then(|| OwnedFd::from_raw_fd(file))
    }
}
