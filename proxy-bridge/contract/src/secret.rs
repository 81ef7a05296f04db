//! The secret that a router signs its events with and the ingress checks them by.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use standardwebhooks::Webhook;

use crate::settings_file;

/// Prefix of a secret in base64, as Standard Webhooks defines it.
const PREFIX: &str = "whsec_";

/// A key that signs. Never shown.
pub struct Secret(Webhook);

/// A secret that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("cannot read the secret from {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the secret is empty")]
    Empty,
    #[error("the text after whsec_ in the secret is not base64")]
    NotBase64,
}

impl Secret {
    /// Reads a file with content as for [`Secret::parse`].
    ///
    /// # Errors
    /// The file cannot be read, or its content is not a secret.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let content = settings_file::read(path)
            .map_err(|source| SecretError::Read { path: path.to_owned(), source })?;
        Self::parse(&content)
    }

    /// Parses `whsec_` and base64, or else takes the bytes themselves as the key. White space
    /// around either is ignored, so that a file may end in a newline.
    ///
    /// # Errors
    /// The content is empty, or not base64 after `whsec_`.
    pub fn parse(content: &[u8]) -> Result<Self, SecretError> {
        let content = content.trim_ascii();
        let webhook = match content.strip_prefix(PREFIX.as_bytes()) {
            Some([]) => return Err(SecretError::Empty),
            None if content.is_empty() => return Err(SecretError::Empty),
            Some(base64) => {
                let base64 = std::str::from_utf8(base64).map_err(|_| SecretError::NotBase64)?;
                Webhook::new(base64)
            }
            None => Webhook::from_bytes(content.to_owned()),
        };
        webhook.map(Self).map_err(|_| SecretError::NotBase64)
    }

    pub(crate) fn webhook(&self) -> &Webhook {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(secret: &[u8]) -> String {
        Secret::parse(secret).unwrap().webhook().sign("id", 1, b"body").unwrap()
    }

    #[test]
    fn base64_and_raw_secrets_with_the_same_bytes_sign_alike() {
        assert_eq!(signature(b"whsec_aGVsbG8gd29ybGQ=\n"), signature(b"hello world"));
    }

    #[test]
    fn a_newline_at_the_end_of_the_file_is_not_part_of_the_secret() {
        assert_eq!(signature(b"hello world\n"), signature(b"hello world"));
    }

    #[test]
    fn an_invalid_secret_is_refused_with_the_reason() {
        assert!(matches!(Secret::parse(b" \n"), Err(SecretError::Empty)));
        assert!(matches!(Secret::parse(b"whsec_"), Err(SecretError::Empty)));
        assert!(matches!(Secret::parse(b"whsec_???"), Err(SecretError::NotBase64)));
        let error = Secret::read(Path::new("/nowhere/secret")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read the secret from /nowhere/secret");
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        assert_eq!(format!("{:?}", Secret::parse(b"hello").unwrap()), "Secret(…)");
    }
}
