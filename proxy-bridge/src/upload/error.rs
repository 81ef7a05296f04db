//! The refusal of an upload.

use std::io;

use http::StatusCode;

use crate::storage::StorageError;
use crate::upload_limits::UploadLimits;
use switchyard_edge::problem::Problem;

/// An upload that is not accepted: what is wrong, where, and how to fix it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadError {
    /// The status of the problem document.
    pub status: StatusCode,
    /// The name of the problem.
    pub slug: &'static str,
    /// A sentence that ends with the way to fix it.
    pub detail: String,
    /// The file or entry, as it was named.
    pub part: Option<String>,
    /// The property that is wrong: `filename`, `type`, `mode`, …, or the flag of a limit.
    pub field: Option<String>,
}

impl UploadError {
    fn new(status: StatusCode, slug: &'static str, detail: String) -> Self {
        Self { status, slug, detail, part: None, field: None }
    }

    pub(super) fn bad(field: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-upload", detail.into()).field(field)
    }

    /// Returns the error for a limit that was exceeded: `what` has more than `limit`, which `flag`
    /// sets.
    pub(super) fn too_large(flag: &str, limit: impl std::fmt::Display, what: &str) -> Self {
        let detail = format!("{what} more than {limit}: send less, or raise --{flag} of the bridge");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "upload-too-large", detail).field(flag)
    }

    pub(super) fn slow(limits: &UploadLimits) -> Self {
        let detail = format!(
            "the upload took longer than {} ms: send it faster, or raise \
             --upload-timeout of the bridge",
            limits.time.as_millis()
        );
        Self::new(StatusCode::REQUEST_TIMEOUT, "upload-timeout", detail).field("upload-timeout")
    }

    pub(super) fn unsupported(detail: &str) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail.to_owned())
            .field("content-type")
    }

    /// Returns the error for a failed step on the volume.
    pub(crate) fn volume(step: &str, error: io::Error) -> Self {
        let error = StorageError::new(step, error);
        Self::new(error.status(), error.slug(), error.to_string())
    }

    pub(super) fn part(mut self, part: &str) -> Self {
        self.part.get_or_insert_with(|| part.to_owned());
        self
    }

    fn field(mut self, field: &str) -> Self {
        self.field = Some(field.to_owned());
        self
    }
}

impl From<UploadError> for Problem {
    fn from(refused: UploadError) -> Self {
        let mut problem = Self::new(refused.status, refused.slug, refused.detail);
        if let Some(part) = refused.part {
            problem = problem.with("part", part);
        }
        if let Some(field) = refused.field {
            problem = problem.with("field", field);
        }
        problem
    }
}
