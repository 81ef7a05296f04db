//! Failures of a command: exit status and message.

use std::io;

use http::StatusCode;

use super::bridge::CallError;
use super::files::FilesError;
use switchyard_program::settings::EXIT_USAGE;

/// Everything was done, or accepted with --no-wait.
pub(super) const DONE: u8 = 0;

/// The version does not build, or the project does not exist.
pub(super) const FAILED: u8 = 1;

/// The bridge refused the request, or the files cannot be deployed.
pub(super) const REFUSED: u8 = 2;

/// No answer arrived in time, or it was not understood.
pub(super) const NO_ANSWER: u8 = 3;

/// The command line is wrong.
pub(super) const USAGE: u8 = EXIT_USAGE;

/// The failure of a command.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: u8,
    /// `None`: standard output is closed, and there is nothing to report.
    pub(super) text: Option<String>,
}

impl Failure {
    pub(super) fn new(exit: u8, text: impl Into<String>) -> Self {
        Self { exit, text: Some(text.into()) }
    }
}

impl From<FilesError> for Failure {
    fn from(error: FilesError) -> Self {
        Self::new(REFUSED, error.to_string())
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::new(NO_ANSWER, error.to_string())
    }
}

impl From<io::Error> for Failure {
    /// An error of the output. Errors of files are [`FilesError`]s.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            // The reader of a pipe, such as `head`, has stopped reading.
            return Self { exit: DONE, text: None };
        }
        Self::new(NO_ANSWER, format!("cannot write the output: {error}"))
    }
}

/// Returns the exit status for an answer with this status and, if it is one, this type of problem. 202 is
/// success: --no-wait asked for it.
pub(super) fn exit_of(status: StatusCode, problem: &str) -> u8 {
    match status.as_u16() {
        200..=299 => DONE,
        404 => FAILED,
        422 if problem.ends_with(":build-failed") => FAILED,
        300..=499 => REFUSED,
        _ => NO_ANSWER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_number() {
        let exit = |status, slug: &str| {
            exit_of(StatusCode::from_u16(status).unwrap(), &format!("urn:switchyard:problem:{slug}"))
        };
        let table = [
            (200, "", DONE),
            (202, "", DONE),
            (422, "build-failed", FAILED),
            (404, "unknown-project", FAILED),
            (422, "idempotency-key-reused", REFUSED),
            (400, "bad-upload", REFUSED),
            (401, "unauthorized", REFUSED),
            (409, "deploy-under-way", REFUSED),
            (413, "upload-too-large", REFUSED),
            (301, "", REFUSED),
            (500, "volume-failed", NO_ANSWER),
            (503, "busy", NO_ANSWER),
            (504, "routers-unreachable", NO_ANSWER),
            (507, "volume-full", NO_ANSWER),
        ];
        for (status, slug, expected) in table {
            assert_eq!(exit(status, slug), expected, "{status} {slug}");
        }
    }
}
