//! Calls that make and remove names of files.

use std::ffi::{CStr, c_char, c_int};
use std::io;
use std::os::fd::RawFd;

use libc::mode_t;

use super::{call, fail, note_truncated};
use crate::kernel::disk::counter::Usage;
use crate::kernel::disk::files::{self, BLOCK};
use crate::kernel::disk::state::{DISK, Disk};

/// The longest target (in bytes) of a symbolic link that is stored in its inode.
const SHORT_TARGET: usize = 59;

const NAME: Usage = Usage { bytes: 0, names: 1 };
const NAME_AND_BLOCK: Usage = Usage { bytes: BLOCK, names: 1 };

/// Makes a name if there is space for it. `usage` is what the name uses.
fn make(at: RawFd, name: *const c_char, usage: Usage, make: impl Fn() -> c_int) -> c_int {
    // SAFETY: a name that is not null is a string, as the caller promises the C library.
    let is_counted = |disk: &&Disk| !name.is_null() && disk.counts_name(at, unsafe { CStr::from_ptr(name) });
    let Some(disk) = DISK.get().filter(is_counted) else { return make() };
    // A folder grows with its names: without space for a block nothing is made.
    if disk.quota.try_take(NAME_AND_BLOCK).is_err() {
        if files::status_at(at, name).is_some() {
            return fail(libc::EEXIST);
        }
        if disk.quota.take(NAME_AND_BLOCK).is_err() {
            return fail(libc::ENOSPC);
        }
    }
    let made = make();
    if made < 0 {
        disk.quota.give_back(NAME_AND_BLOCK);
    } else if !disk.quota.is_ample() {
        // The block is kept for the file's first write if there is ample space.
        disk.quota.give_back(Usage { bytes: BLOCK - usage.bytes, names: 0 });
    }
    made
}

/// Removes a name.
fn remove(at: RawFd, name: *const c_char, remove: impl Fn() -> c_int) -> c_int {
    // SAFETY: a name that is not null is a string, as the caller promises the C library.
    let is_counted = |disk: &&Disk| !name.is_null() && disk.counts_name(at, unsafe { CStr::from_ptr(name) });
    let Some(disk) = DISK.get().filter(is_counted) else { return remove() };
    let before = files::status_at(at, name).filter(|status| status.is_last_name);
    let removed = remove();
    if removed == 0 {
        disk.quota.free(NAME);
        disk.quota.note_removed(before.map_or(0, |status| status.allocated));
    }
    removed
}

fn open_at(at: RawFd, name: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the kernel checks the pointer.
    let open =
        |flags: c_int| unsafe { call!(SYS_openat, at, name, flags | libc::O_LARGEFILE, mode) as c_int };
    let Some(disk) = DISK.get() else { return open(flags) };
    if flags & libc::O_CREAT == 0 || flags & libc::O_EXCL == 0 {
        let before = (flags & libc::O_TRUNC != 0).then(|| files::status_at(at, name)).flatten();
        let opened = open(flags & !libc::O_CREAT);
        if let Some(before) = before.filter(|_| opened >= 0) {
            note_truncated(disk, opened, before.allocated);
        }
        let is_missing = opened < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ENOENT);
        if flags & libc::O_CREAT == 0 || !is_missing {
            return opened;
        }
    }
    make(at, name, NAME, || open(flags))
}

/// # Safety
/// The caller keeps the contract of the C library's function. A caller passes `mode` only if a file
/// may be made: on Deno's architectures an argument that is not passed is any number, and the kernel
/// ignores it then.
#[unsafe(no_mangle)]
unsafe extern "C" fn open(name: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    open_at(libc::AT_FDCWD, name, flags, mode)
}

/// # Safety
/// The caller keeps the contract of [`open`].
#[unsafe(no_mangle)]
unsafe extern "C" fn open64(name: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    open_at(libc::AT_FDCWD, name, flags, mode)
}

/// # Safety
/// The caller keeps the contract of [`open`].
#[unsafe(no_mangle)]
unsafe extern "C" fn openat64(at: c_int, name: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    open_at(at, name, flags, mode)
}

/// # Safety
/// The caller keeps the contract of the C library's function.
#[unsafe(no_mangle)]
unsafe extern "C" fn mkdir(name: *const c_char, mode: mode_t) -> c_int {
    let at = libc::AT_FDCWD;
    // SAFETY: the kernel checks the pointer.
    make(at, name, NAME_AND_BLOCK, || unsafe { call!(SYS_mkdirat, at, name, mode) as c_int })
}

/// # Safety
/// The caller keeps the contract of the C library's function.
#[unsafe(no_mangle)]
unsafe extern "C" fn symlink(target: *const c_char, name: *const c_char) -> c_int {
    let at = libc::AT_FDCWD;
    // SAFETY: the caller passes a string.
    let is_short = target.is_null() || unsafe { CStr::from_ptr(target) }.count_bytes() <= SHORT_TARGET;
    let usage = if is_short { NAME } else { NAME_AND_BLOCK };
    // SAFETY: the kernel checks the pointers.
    make(at, name, usage, || unsafe { call!(SYS_symlinkat, target, at, name) as c_int })
}

/// # Safety
/// The caller keeps the contract of the C library's function.
#[unsafe(no_mangle)]
unsafe extern "C" fn linkat(
    from: c_int,
    file: *const c_char,
    at: c_int,
    name: *const c_char,
    flags: c_int,
) -> c_int {
    // SAFETY: the kernel checks the pointers.
    make(at, name, NAME, || unsafe { call!(SYS_linkat, from, file, at, name, flags) as c_int })
}

/// # Safety
/// The caller keeps the contract of the C library's function.
#[unsafe(no_mangle)]
unsafe extern "C" fn unlink(name: *const c_char) -> c_int {
    // SAFETY: as for `unlinkat`.
    unsafe { unlinkat(libc::AT_FDCWD, name, 0) }
}

/// # Safety
/// The caller keeps the contract of the C library's function.
#[unsafe(no_mangle)]
unsafe extern "C" fn rmdir(name: *const c_char) -> c_int {
    // SAFETY: as for `unlinkat`.
    unsafe { unlinkat(libc::AT_FDCWD, name, libc::AT_REMOVEDIR) }
}

/// # Safety
/// The caller keeps the contract of the C library's function.
#[unsafe(no_mangle)]
unsafe extern "C" fn unlinkat(at: c_int, name: *const c_char, flags: c_int) -> c_int {
    // SAFETY: the kernel checks the pointer.
    remove(at, name, || unsafe { call!(SYS_unlinkat, at, name, flags) as c_int })
}
