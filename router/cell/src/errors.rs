//! Errors in the terms of the project's author: message, location, code frame and advice.

pub(crate) mod diagnose;
pub(crate) mod frame;
mod hints;
pub(crate) mod log;
mod native_packages;
pub(crate) mod refusals;
pub(crate) mod trace;
