//! The C library's calls that make or enlarge files, replaced for all of this program by ones that count first: the linker
//! takes a symbol of the program before one of a library. Which of them the program imports is held by a test.
//!
//! Each does what the call of its name does, by the kernel's own. A renaming makes no name more than there was, and a file
//! that is only made longer has no more blocks.
#![expect(unsafe_code, reason = "they have the C library's types")]

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::os::fd::RawFd;

use libc::{iovec, mode_t, off64_t, size_t, ssize_t};

use super::files::{self, BLOCK, Target};
use super::room::{Amount, Full};
use super::{DISK, Disk};

/// A link whose target is no longer than this lies in its inode.
const SHORT_TARGET: usize = 59;

const NAME: Amount = Amount { bytes: 0, names: 1 };
const NAME_AND_BLOCK: Amount = Amount { bytes: BLOCK, names: 1 };

/// The result of a system call, as the C library gives it: `errno` is set.
macro_rules! call {
    ($number:ident, $($argument:expr),*) => {
        libc::syscall(libc::$number, $($argument),*)
    };
}

fn fail(errno: c_int) -> c_int {
    // SAFETY: it is this thread's own.
    unsafe { *libc::__errno_location() = errno };
    -1
}

/// Makes a name, if there is room for `amount`.
fn make(at: RawFd, name: *const c_char, amount: Amount, make: impl Fn() -> c_int) -> c_int {
    // SAFETY: what the kernel would refuse is left to it.
    let is_counted = |disk: &&Disk| !name.is_null() && disk.counts_name(at, unsafe { CStr::from_ptr(name) });
    let Some(disk) = DISK.get().filter(is_counted) else { return make() };
    // A folder grows by its names: without room for a block nothing is made.
    if disk.room.try_take(NAME_AND_BLOCK).is_err() {
        if files::named(at, name).is_some() {
            return fail(libc::EEXIST);
        }
        if disk.room.take(NAME_AND_BLOCK).is_err() {
            return fail(libc::ENOSPC);
        }
    }
    let made = make();
    if made < 0 {
        disk.room.give_back(NAME_AND_BLOCK);
    } else if !disk.room.is_ample(0) {
        // Else it is left for the file's first block.
        disk.room.give_back(Amount { bytes: BLOCK - amount.bytes, names: 0 });
    }
    made
}

/// Writes up to `len` bytes, or as many as there is room for.
fn grow(fd: RawFd, at: Option<i64>, len: usize, write: impl FnOnce(usize) -> ssize_t) -> ssize_t {
    let Some(disk) = DISK.get() else { return write(len) };
    if disk.folders.is_empty() && disk.room.is_ample(len) {
        let is_file = at.is_some() || files::position(fd).is_some();
        let written = write(len);
        if is_file && written > 0 {
            disk.room.used_up(files::most_growth(written));
        }
        return written;
    }
    let Some(target) = Target::of(fd, at) else { return write(len) };
    let growth = target.growth(len);
    if growth == 0 || !disk.counts_file(fd) {
        return write(len);
    }
    let taken = match disk.room.take_up_to(growth, BLOCK) {
        Ok(taken) => taken,
        // What is left of the last block.
        Err(_) if target.fitting(0) > 0 => 0,
        Err(_) => return fail(libc::ENOSPC) as ssize_t,
    };
    let written = write(len.min(target.fitting(taken)));
    // A failure's reason is for the caller.
    let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
    let grown = files::allocated(fd).map_or(taken, |now| now - target.allocated);
    disk.room.give_back(Amount { bytes: taken - grown, names: 0 });
    if written < 0 {
        fail(errno);
    }
    written
}

/// Removes a name.
fn remove(at: RawFd, name: *const c_char, remove: impl Fn() -> c_int) -> c_int {
    // SAFETY: what the kernel would refuse is left to it.
    let is_counted = |disk: &&Disk| !name.is_null() && disk.counts_name(at, unsafe { CStr::from_ptr(name) });
    let Some(disk) = DISK.get().filter(is_counted) else { return remove() };
    let before = files::named(at, name).filter(|named| named.is_last_name);
    let removed = remove();
    if removed == 0 {
        disk.room.free(NAME);
        disk.room.removed(before.map_or(0, |named| named.allocated));
    }
    removed
}

/// A file has lost what it had on the disk.
fn truncated(disk: &Disk, fd: RawFd, before: i64) {
    if disk.counts_file(fd) {
        let lost = before - files::allocated(fd).unwrap_or(before);
        disk.room.free(Amount { bytes: lost.max(0), names: 0 });
        disk.room.removed(0);
    }
}

fn open_at(at: RawFd, name: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the kernel looks at the pointer.
    let open =
        |flags: c_int| unsafe { call!(SYS_openat, at, name, flags | libc::O_LARGEFILE, mode) as c_int };
    let Some(disk) = DISK.get() else { return open(flags) };
    if flags & libc::O_CREAT == 0 || flags & libc::O_EXCL == 0 {
        let before = (flags & libc::O_TRUNC != 0).then(|| files::named(at, name)).flatten();
        let opened = open(flags & !libc::O_CREAT);
        if let Some(before) = before.filter(|_| opened >= 0) {
            truncated(disk, opened, before.allocated);
        }
        let is_missing = opened < 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::ENOENT);
        if flags & libc::O_CREAT == 0 || !is_missing {
            return opened;
        }
    }
    make(at, name, NAME, || open(flags))
}

/// # Safety
/// As the C library's. It takes `mode` only where there is one: on the architectures that Deno is for, an argument that
/// was not passed is any number, which the kernel does not look at then.
#[unsafe(no_mangle)]
unsafe extern "C" fn open(name: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    open_at(libc::AT_FDCWD, name, flags, mode)
}

/// # Safety
/// As [`open`].
#[unsafe(no_mangle)]
unsafe extern "C" fn open64(name: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    open_at(libc::AT_FDCWD, name, flags, mode)
}

/// # Safety
/// As [`open`].
#[unsafe(no_mangle)]
unsafe extern "C" fn openat64(at: c_int, name: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    open_at(at, name, flags, mode)
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn mkdir(name: *const c_char, mode: mode_t) -> c_int {
    let at = libc::AT_FDCWD;
    // SAFETY: the kernel looks at the pointer.
    make(at, name, NAME_AND_BLOCK, || unsafe { call!(SYS_mkdirat, at, name, mode) as c_int })
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn symlink(target: *const c_char, name: *const c_char) -> c_int {
    let at = libc::AT_FDCWD;
    // SAFETY: the caller passes a string.
    let is_short = target.is_null() || unsafe { CStr::from_ptr(target) }.count_bytes() <= SHORT_TARGET;
    let amount = if is_short { NAME } else { NAME_AND_BLOCK };
    // SAFETY: the kernel looks at the pointers.
    make(at, name, amount, || unsafe { call!(SYS_symlinkat, target, at, name) as c_int })
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn linkat(
    from: c_int,
    file: *const c_char,
    at: c_int,
    name: *const c_char,
    flags: c_int,
) -> c_int {
    // SAFETY: the kernel looks at the pointers.
    make(at, name, NAME, || unsafe { call!(SYS_linkat, from, file, at, name, flags) as c_int })
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn unlink(name: *const c_char) -> c_int {
    // SAFETY: as of `unlinkat`.
    unsafe { unlinkat(libc::AT_FDCWD, name, 0) }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn rmdir(name: *const c_char) -> c_int {
    // SAFETY: as of `unlinkat`.
    unsafe { unlinkat(libc::AT_FDCWD, name, libc::AT_REMOVEDIR) }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn unlinkat(at: c_int, name: *const c_char, flags: c_int) -> c_int {
    // SAFETY: the kernel looks at the pointer.
    remove(at, name, || unsafe { call!(SYS_unlinkat, at, name, flags) as c_int })
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn ftruncate64(fd: c_int, length: off64_t) -> c_int {
    let before = DISK.get().and_then(|disk| Some((disk, files::allocated(fd)?)));
    // SAFETY: takes no pointer.
    let result = unsafe { call!(SYS_ftruncate, fd, length) as c_int };
    if let (Some((disk, before)), 0) = (before, result) {
        truncated(disk, fd, before);
    }
    result
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn ftruncate(fd: c_int, length: off64_t) -> c_int {
    // SAFETY: takes no pointer.
    unsafe { ftruncate64(fd, length) }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn write(fd: c_int, bytes: *const c_void, len: size_t) -> ssize_t {
    // SAFETY: the kernel looks at the pointer.
    grow(fd, None, len, |len| unsafe { call!(SYS_write, fd, bytes, len) as ssize_t })
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite64(fd: c_int, bytes: *const c_void, len: size_t, at: off64_t) -> ssize_t {
    // SAFETY: the kernel looks at the pointer.
    grow(fd, Some(at), len, |len| unsafe { call!(SYS_pwrite64, fd, bytes, len, at) as ssize_t })
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn writev(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    let all = || {
        // SAFETY: the kernel looks at the pointers.
        unsafe { call!(SYS_writev, fd, parts, count) as ssize_t }
    };
    let given = usize::try_from(count).unwrap_or(0);
    if DISK.get().is_none() || parts.is_null() || Target::of(fd, None).is_none() {
        return all();
    }
    // SAFETY: the caller passes so many of them.
    let slices = unsafe { std::slice::from_raw_parts(parts, given) };
    let len = slices.iter().fold(0_usize, |len, part| len.saturating_add(part.iov_len));
    let first = slices.iter().find(|part| part.iov_len > 0);
    grow(fd, None, len, |fitting| match first {
        // Less than all is written, as a call may.
        Some(part) if fitting < len => {
            // SAFETY: the kernel looks at the pointer.
            unsafe { call!(SYS_write, fd, part.iov_base, part.iov_len.min(fitting)) as ssize_t }
        }
        _ => all(),
    })
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn copy_file_range(
    from: c_int,
    from_at: *mut off64_t,
    to: c_int,
    to_at: *mut off64_t,
    len: size_t,
    flags: c_uint,
) -> ssize_t {
    // SAFETY: the caller passes pointers to numbers, or none.
    let (read_at, write_at) = unsafe { (from_at.as_ref().copied(), to_at.as_ref().copied()) };
    // It may be asked for more than there is.
    let len = files::unread(from, read_at).map_or(len, |left| len.min(left));
    grow(to, write_at, len, |len| {
        // SAFETY: the kernel looks at the pointers.
        unsafe { call!(SYS_copy_file_range, from, from_at, to, to_at, len, flags) as ssize_t }
    })
}

/// Into a regular file it is refused: whoever called it copies by reading and writing then.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn sendfile64(to: c_int, from: c_int, at: *mut off64_t, len: size_t) -> ssize_t {
    if DISK.get().is_some() && Target::of(to, None).is_some() {
        return fail(libc::EINVAL) as ssize_t;
    }
    // SAFETY: the kernel looks at the pointer.
    unsafe { call!(SYS_sendfile, to, from, at, len) as ssize_t }
}

/// As [`sendfile64`].
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn splice(
    from: c_int,
    from_at: *mut off64_t,
    to: c_int,
    to_at: *mut off64_t,
    len: size_t,
    flags: c_uint,
) -> ssize_t {
    if DISK.get().is_some() && Target::of(to, None).is_some() {
        return fail(libc::EINVAL) as ssize_t;
    }
    // SAFETY: the kernel looks at the pointers.
    unsafe { call!(SYS_splice, from, from_at, to, to_at, len, flags) as ssize_t }
}

/// The text of an error, which Rust's errors ask for: of a disk that is full by a limit it names the setting.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn __xpg_strerror_r(errno: c_int, buffer: *mut c_char, len: size_t) -> c_int {
    unsafe extern "C" {
        /// GNU's, which returns the text and may not use the buffer.
        #[link_name = "strerror_r"]
        fn text_of(errno: c_int, buffer: *mut c_char, len: size_t) -> *const c_char;
    }
    let full = (errno == libc::ENOSPC).then(|| DISK.get()?.room.full()).flatten();
    let text = match full {
        Some(Full::Bytes) => c"No space left: DATA_DIR and TMPDIR have reached limits.disk",
        Some(Full::Names) => c"No space left: DATA_DIR and TMPDIR have reached limits.disk_files",
        // SAFETY: the buffer is the caller's, and the result ends with a zero.
        None => unsafe { CStr::from_ptr(text_of(errno, buffer, len)) },
    };
    let bytes = text.to_bytes();
    let fitting = bytes.len().min(len.saturating_sub(1));
    if len > 0 {
        // SAFETY: so many bytes and a zero fit; the two may be the same.
        unsafe {
            std::ptr::copy(bytes.as_ptr().cast(), buffer, fitting);
            *buffer.add(fitting) = 0;
        }
    }
    if fitting < bytes.len() { libc::ERANGE } else { 0 }
}
