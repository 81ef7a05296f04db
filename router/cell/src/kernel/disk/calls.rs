//! The C library's calls that make or enlarge files, replaced for all of this program by calls that
//! count first: the linker prefers a symbol of the program to one of a library. A test checks which
//! of them the program imports.
//!
//! Each does what the call of its name does, through the kernel's own call. Renaming makes no
//! further name, and a file that is only made longer has no further blocks.
#![expect(unsafe_code, reason = "they have the C library's types")]

mod message;
mod names;
mod writes;

use std::ffi::c_int;
use std::os::fd::RawFd;

use super::counter::Usage;
use super::files;
use super::state::Disk;

/// The result of a system call in the C library's form: `errno` is set.
macro_rules! call {
    ($number:ident, $($argument:expr),*) => {
        libc::syscall(libc::$number, $($argument),*)
    };
}
use call;

/// Sets `errno` and returns the result of a failed call.
fn fail(errno: c_int) -> c_int {
    // SAFETY: errno belongs to this thread.
    unsafe { *libc::__errno_location() = errno };
    -1
}

/// Gives back the bytes that a file no longer has on the disk after it was cut.
fn note_truncated(disk: &Disk, fd: RawFd, before: i64) {
    if disk.counts_file(fd) {
        let lost = before - files::allocated(fd).unwrap_or(before);
        disk.quota.free(Usage { bytes: lost.max(0), names: 0 });
        disk.quota.note_removed(0);
    }
}
