//! The secrets of a webhook.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::ForgeKind;

/// The prefix of a secret in base64, as Standard Webhooks defines it.
const PREFIX: &[u8] = b"whsec_";

/// The kind of a webhook and its secrets, any of which may sign. Clones share them; they are never
/// shown.
#[derive(Clone)]
pub struct WebhookSecret {
    kind: ForgeKind,
    secrets: Arc<[SecretBytes]>,
}

struct SecretBytes {
    /// The secret as it was written.
    text: Box<[u8]>,
    /// The key that signs.
    key: Box<[u8]>,
}

/// The reason why a text is no secret. Never shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    /// There is no secret.
    #[error("a webhook needs at least one secret")]
    None,
    /// A secret has no characters.
    #[error("the webhook's secret is empty: put the one that the forge was given into the file")]
    Empty,
    /// A secret of Standard Webhooks cannot be decoded.
    #[error("the text after whsec_ in the webhook's secret is not base64: copy the secret again")]
    NotBase64,
}

impl WebhookSecret {
    /// Takes the contents of secret files, without white space around them. To rotate a secret, add
    /// the new one, change it at the forge, and remove the old one.
    ///
    /// # Errors
    /// There is none, one is empty, or one of Standard Webhooks is not base64 after `whsec_`.
    pub fn new<S: AsRef<[u8]>>(
        kind: ForgeKind,
        contents: impl IntoIterator<Item = S>,
    ) -> Result<Self, InvalidSecret> {
        let secrets: Arc<[SecretBytes]> = contents
            .into_iter()
            .map(|content| SecretBytes::parse(kind, content.as_ref().trim_ascii()))
            .collect::<Result<_, _>>()?;
        if secrets.is_empty() { Err(InvalidSecret::None) } else { Ok(Self { kind, secrets }) }
    }

    /// The software that sends the webhook.
    pub fn kind(&self) -> ForgeKind {
        self.kind
    }

    /// The secrets as they were written.
    pub(super) fn texts(&self) -> impl Iterator<Item = &[u8]> {
        self.secrets.iter().map(|secret| &*secret.text)
    }

    /// The keys that sign.
    pub(super) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.secrets.iter().map(|secret| &*secret.key)
    }
}

impl SecretBytes {
    fn parse(kind: ForgeKind, text: &[u8]) -> Result<Self, InvalidSecret> {
        if text.is_empty() || text == PREFIX {
            return Err(InvalidSecret::Empty);
        }
        let encoded = match kind {
            ForgeKind::Standard | ForgeKind::Gitlab => text.strip_prefix(PREFIX),
            _ => None,
        };
        let key = match encoded.map(|encoded| STANDARD.decode(encoded)) {
            Some(Ok(key)) => key,
            // A token of GitLab is any text.
            Some(Err(_)) if kind == ForgeKind::Standard => return Err(InvalidSecret::NotBase64),
            _ => text.to_vec(),
        };
        Ok(Self { text: text.into(), key: key.into() })
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookSecret({}, {} of them)", self.kind, self.secrets.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newline_at_the_end_of_the_file_is_not_part_of_the_secret() {
        let secret = WebhookSecret::new(ForgeKind::Github, ["hunter2\n"]).unwrap();
        assert_eq!(secret.keys().collect::<Vec<_>>(), [b"hunter2"]);
    }

    #[test]
    fn a_secret_of_standard_webhooks_is_decoded_and_one_of_github_is_not() {
        let key = |kind| {
            let secret = WebhookSecret::new(kind, ["whsec_aGVsbG8="]).unwrap();
            secret.keys().next().unwrap().to_vec()
        };
        assert_eq!(key(ForgeKind::Standard), b"hello");
        assert_eq!(key(ForgeKind::Gitlab), b"hello");
        assert_eq!(key(ForgeKind::Github), b"whsec_aGVsbG8=");
    }

    #[test]
    fn a_secret_that_is_empty_or_cannot_be_decoded_is_refused() {
        let new = |contents: &[&str]| WebhookSecret::new(ForgeKind::Standard, contents).unwrap_err();
        assert_eq!(new(&[]), InvalidSecret::None);
        assert_eq!(new(&["ok", " \n"]), InvalidSecret::Empty);
        assert_eq!(new(&["whsec_"]), InvalidSecret::Empty);
        assert_eq!(new(&["whsec_???"]), InvalidSecret::NotBase64);
        assert!(WebhookSecret::new(ForgeKind::Gitlab, ["whsec_???"]).is_ok());
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        let secret = WebhookSecret::new(ForgeKind::Azure, ["hunter2"]).unwrap();
        assert_eq!(format!("{secret:?}"), "WebhookSecret(azure, 1 of them)");
    }
}
