//! Calls that write to files, make them longer or cut them.

use std::ffi::{c_int, c_uint, c_void};
use std::io;
use std::os::fd::RawFd;

use libc::{iovec, off64_t, size_t, ssize_t};

use super::{call, fail, note_truncated};
use crate::kernel::disk::files::{self, BLOCK, WriteTarget};
use crate::kernel::disk::state::{DISK, Disk};

/// The bytes that are counted at once: a larger write is split, so that little is under way while
/// the router counts.
const PIECE: usize = 1 << 20;

/// Writes `len` bytes, or as many as there is space for. `write` takes the number of bytes written
/// before and the number to write.
fn grow(fd: RawFd, at: Option<i64>, len: usize, mut write: impl FnMut(usize, usize) -> ssize_t) -> ssize_t {
    let Some(disk) = DISK.get() else { return write(0, len) };
    let mut done = 0;
    loop {
        let piece = PIECE.min(len - done);
        let at = at.map(|at| at.saturating_add_unsigned(done as u64));
        let written = grow_by(disk, fd, at, piece, |len| write(done, len));
        // A failure after a part was written is a short write.
        let Ok(count) = usize::try_from(written) else {
            return if done > 0 { done as ssize_t } else { written };
        };
        done += count;
        if count < piece || done >= len {
            return done as ssize_t;
        }
    }
}

/// Writes up to `len` bytes at once.
fn grow_by(
    disk: &Disk,
    fd: RawFd,
    at: Option<i64>,
    len: usize,
    write: impl FnOnce(usize) -> ssize_t,
) -> ssize_t {
    let most = files::most_growth(len);
    if disk.folders.is_empty() && disk.quota.take_ample(most) {
        let is_file = at.is_some() || files::position(fd).is_some();
        let written = write(len);
        let written_to_file = usize::try_from(written).ok().filter(|written| is_file && *written > 0);
        disk.quota.end_write(most, written_to_file.map_or(0, files::most_growth));
        return written;
    }
    let Some(target) = WriteTarget::of(fd, at) else { return write(len) };
    let growth = target.growth(len);
    if growth == 0 || !disk.counts_file(fd) {
        return write(len);
    }
    let taken = match disk.quota.take_up_to(growth, BLOCK) {
        Ok(taken) => taken,
        // The rest of the last block is allocated already.
        Err(_) if target.fitting_bytes(0) > 0 => 0,
        Err(_) => return fail(libc::ENOSPC) as ssize_t,
    };
    let written = write(len.min(target.fitting_bytes(taken)));
    // The calls below may change the reason of a failure, which is for the caller.
    let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0);
    let grown = files::allocated(fd).map_or(taken, |now| now - target.allocated);
    disk.quota.end_write(taken, grown);
    if written < 0 {
        fail(errno);
    }
    written
}

/// # Safety
/// The caller keeps the contract of the C library's function.
#[unsafe(no_mangle)]
unsafe extern "C" fn ftruncate64(fd: c_int, length: off64_t) -> c_int {
    let before = DISK.get().and_then(|disk| Some((disk, files::allocated(fd)?)));
    // SAFETY: the call takes no pointer.
    let result = unsafe { call!(SYS_ftruncate, fd, length) as c_int };
    if let (Some((disk, before)), 0) = (before, result) {
        note_truncated(disk, fd, before);
    }
    result
}

/// # Safety
/// The caller keeps the contract of the C library's function.
#[unsafe(no_mangle)]
unsafe extern "C" fn ftruncate(fd: c_int, length: off64_t) -> c_int {
    // SAFETY: the call takes no pointer.
    unsafe { ftruncate64(fd, length) }
}

/// # Safety
/// The caller keeps the contract of the C library's function.
#[unsafe(no_mangle)]
unsafe extern "C" fn write(fd: c_int, bytes: *const c_void, len: size_t) -> ssize_t {
    // SAFETY: the kernel checks the pointer.
    grow(fd, None, len, |done, len| unsafe { call!(SYS_write, fd, bytes.byte_add(done), len) as ssize_t })
}

/// # Safety
/// The caller keeps the contract of the C library's function.
#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite64(fd: c_int, bytes: *const c_void, len: size_t, at: off64_t) -> ssize_t {
    grow(fd, Some(at), len, |done, len| {
        // SAFETY: the kernel checks the pointer, which stays in the caller's memory.
        unsafe { call!(SYS_pwrite64, fd, bytes.byte_add(done), len, at + done as off64_t) as ssize_t }
    })
}

/// # Safety
/// The caller keeps the contract of the C library's function.
#[unsafe(no_mangle)]
unsafe extern "C" fn writev(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    let all = || {
        // SAFETY: the kernel checks the pointers.
        unsafe { call!(SYS_writev, fd, parts, count) as ssize_t }
    };
    let given = usize::try_from(count).unwrap_or(0);
    if DISK.get().is_none() || parts.is_null() || WriteTarget::of(fd, None).is_none() {
        return all();
    }
    // SAFETY: the caller passes this many parts.
    let slices = unsafe { std::slice::from_raw_parts(parts, given) };
    let len = slices.iter().fold(0_usize, |len, part| len.saturating_add(part.iov_len));
    let first = slices.iter().find(|part| part.iov_len > 0);
    if len > PIECE {
        return write_parts(fd, slices);
    }
    grow(fd, None, len, |_, fitting| match first {
        // The call may write less than everything.
        Some(part) if fitting < len => {
            // SAFETY: the kernel checks the pointer.
            unsafe { call!(SYS_write, fd, part.iov_base, part.iov_len.min(fitting)) as ssize_t }
        }
        _ => all(),
    })
}

/// Writes the parts one by one.
fn write_parts(fd: c_int, parts: &[iovec]) -> ssize_t {
    let mut done = 0;
    for part in parts {
        // SAFETY: the kernel checks the pointer.
        let written = unsafe { write(fd, part.iov_base, part.iov_len) };
        if written < 0 && done == 0 {
            return written;
        }
        done += written.max(0);
        if usize::try_from(written) != Ok(part.iov_len) {
            break;
        }
    }
    done
}

/// # Safety
/// The caller keeps the contract of the C library's function.
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
    // The caller may ask for more bytes than the file has.
    let len = files::unread(from, read_at).map_or(len, |left| len.min(left));
    grow(to, write_at, len, |_, len| {
        // SAFETY: the kernel checks the pointers.
        unsafe { call!(SYS_copy_file_range, from, from_at, to, to_at, len, flags) as ssize_t }
    })
}

/// Refused for a regular file: callers then copy by reading and writing.
///
/// # Safety
/// The caller keeps the contract of the C library's function.
#[unsafe(no_mangle)]
unsafe extern "C" fn sendfile64(to: c_int, from: c_int, at: *mut off64_t, len: size_t) -> ssize_t {
    if DISK.get().is_some() && WriteTarget::of(to, None).is_some() {
        return fail(libc::EINVAL) as ssize_t;
    }
    // SAFETY: the kernel checks the pointer.
    unsafe { call!(SYS_sendfile, to, from, at, len) as ssize_t }
}

/// Refused for a regular file, as [`sendfile64`].
///
/// # Safety
/// The caller keeps the contract of the C library's function.
#[unsafe(no_mangle)]
unsafe extern "C" fn splice(
    from: c_int,
    from_at: *mut off64_t,
    to: c_int,
    to_at: *mut off64_t,
    len: size_t,
    flags: c_uint,
) -> ssize_t {
    if DISK.get().is_some() && WriteTarget::of(to, None).is_some() {
        return fail(libc::EINVAL) as ssize_t;
    }
    // SAFETY: the kernel checks the pointers.
    unsafe { call!(SYS_splice, from, from_at, to, to_at, len, flags) as ssize_t }
}
