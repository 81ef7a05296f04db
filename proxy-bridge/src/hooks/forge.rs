//! The forges that send webhooks.

use std::str::FromStr;

use switchyard_contract::suggest::did_you_mean;

/// The names of kinds. The first name of a kind is the one that is shown.
const NAMES: [(&str, ForgeKind); 7] = [
    ("github", ForgeKind::Github),
    ("gitlab", ForgeKind::Gitlab),
    ("gitea", ForgeKind::Gitea),
    ("forgejo", ForgeKind::Gitea),
    ("bitbucket", ForgeKind::Bitbucket),
    ("azure", ForgeKind::Azure),
    ("standard", ForgeKind::Standard),
];

/// The software that sends a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ForgeKind {
    /// GitHub: HMAC-SHA256 of the body in `x-hub-signature-256`.
    Github,
    /// GitLab: the secret itself in `x-gitlab-token`, or a signature as in Standard Webhooks.
    Gitlab,
    /// Gitea and Forgejo: HMAC-SHA256 of the body in `x-gitea-signature` or `x-forgejo-signature`.
    Gitea,
    /// Bitbucket Cloud and Data Center: HMAC-SHA256 of the body in `x-hub-signature`.
    Bitbucket,
    /// Azure DevOps: the secret as the password of HTTP basic authentication.
    Azure,
    /// Standard Webhooks, for senders that are not a forge.
    Standard,
}

/// A name that is not one of a forge.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown kind of webhook {name:?}: expected github, gitlab, gitea, forgejo, bitbucket, azure or \
     standard{hint}"
)]
pub struct UnknownForge {
    name: String,
    hint: String,
}

impl ForgeKind {
    /// Returns the name, as in a file of sources.
    pub fn as_str(self) -> &'static str {
        NAMES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }
}

impl FromStr for ForgeKind {
    type Err = UnknownForge;

    fn from_str(name: &str) -> Result<Self, UnknownForge> {
        let found = NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, kind)| *kind).ok_or_else(|| {
            let hint = did_you_mean(name, &NAMES.map(|(known, _)| known));
            UnknownForge { name: name.to_owned(), hint }
        })
    }
}
