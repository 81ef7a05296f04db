//! Building blocks of the filters of system calls.

use std::fmt;

use anyhow::anyhow;
use seccompiler::SeccompCmpArgLen::Dword;
use seccompiler::SeccompCmpOp::Eq;
use seccompiler::{BackendError, SeccompCondition, SeccompRule};

/// Returns `true` if this kernel takes filters.
pub(super) fn is_supported() -> bool {
    // SAFETY: reads an attribute and changes nothing.
    #[expect(unsafe_code, reason = "libc call")]
    unsafe {
        libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0) >= 0
    }
}

/// The condition that the lower 32 bits of an argument have this value.
///
/// # Errors
/// seccompiler refuses the condition.
pub(super) fn equals(index: u8, value: i64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(index, Dword, Eq, u64::from(value as u32))
}

/// The rules that an argument has one of these values.
///
/// # Errors
/// seccompiler refuses a condition.
pub(super) fn any_of(index: u8, values: &[i64]) -> Result<Vec<SeccompRule>, BackendError> {
    values.iter().map(|value| SeccompRule::new(vec![equals(index, *value)?])).collect()
}

/// Returns an error of seccompiler's with the step that failed.
pub(super) fn failed(step: &str, error: impl fmt::Display) -> anyhow::Error {
    anyhow!("{step}: {error}")
}
