//! The text of an error, which names the setting behind a full disk.

use std::ffi::{CStr, c_char, c_int};

use libc::size_t;

use crate::kernel::disk::quota::QuotaPart;
use crate::kernel::disk::state::DISK;

/// Returns the text of an error, for Rust's errors. For a disk that is full because of a limit, the
/// text names the setting.
///
/// # Safety
/// The caller keeps the contract of the C library's function.
#[unsafe(no_mangle)]
unsafe extern "C" fn __xpg_strerror_r(errno: c_int, buffer: *mut c_char, len: size_t) -> c_int {
    unsafe extern "C" {
        /// GNU's function, which returns the text and may ignore the buffer.
        #[link_name = "strerror_r"]
        fn text_of(errno: c_int, buffer: *mut c_char, len: size_t) -> *const c_char;
    }
    let exhausted = (errno == libc::ENOSPC).then(|| DISK.get()?.quota.exhausted()).flatten();
    let text = match exhausted {
        Some(QuotaPart::Bytes) => c"No space left: DATA_DIR and TMPDIR have reached limits.disk",
        Some(QuotaPart::Names) => c"No space left: DATA_DIR and TMPDIR have reached limits.disk_files",
        // SAFETY: the buffer is the caller's, and the result ends with a zero.
        None => unsafe { CStr::from_ptr(text_of(errno, buffer, len)) },
    };
    let bytes = text.to_bytes();
    let fitting = bytes.len().min(len.saturating_sub(1));
    if len > 0 {
        // SAFETY: these bytes and a zero fit; source and buffer may be the same.
        unsafe {
            std::ptr::copy(bytes.as_ptr().cast(), buffer, fitting);
            *buffer.add(fitting) = 0;
        }
    }
    if fitting < bytes.len() { libc::ERANGE } else { 0 }
}
