//! Failures of requests, and which of them another attempt may fix.

use std::fmt;
use std::io;

/// The reason why a request had no answer.
pub(super) enum RequestFailure {
    /// A failure that may pass: the request is made again.
    Transient(String),
    /// A failure that another attempt does not change.
    Final(String),
}

impl RequestFailure {
    /// Classifies an error of the HTTP client, and adds its causes to the text.
    pub(super) fn new(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            if error
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
            {
                return Self::Final(
                    "the address is not public: only the operator's policy opens it (private_net)".into(),
                );
            }
            let reason = error.to_string();
            if !text.contains(&reason) {
                text = format!("{text}: {reason}");
            }
            cause = error.source();
        }
        Self::Transient(text)
    }
}

/// The error of a request after its last attempt.
#[derive(Debug)]
pub(super) struct RequestError(String);

impl RequestError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RequestError {}
