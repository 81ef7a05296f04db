//! The forges, and the headers in which they sign and name their deliveries.

use std::fmt;
use std::str::FromStr;

use http::HeaderMap;

use switchyard_contract::suggest::did_you_mean;

use crate::gate::media_type;

/// The headers of Standard Webhooks, which GitLab uses as well.
pub(super) const ID: &str = "webhook-id";
pub(super) const TIMESTAMP: &str = "webhook-timestamp";
pub(super) const SIGNATURE: &str = "webhook-signature";

/// The headers of which every acceptable delivery has at least one.
const PROOFS: [&str; 7] = [
    "x-hub-signature-256",
    "x-hub-signature",
    "x-gitlab-token",
    "x-gitea-signature",
    "x-forgejo-signature",
    SIGNATURE,
    "authorization",
];

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

/// The longest delivery id that is kept, in bytes. Forges send at most 64.
const MAX_ID: usize = 200;

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
    /// Returns the name, as in a file of sources and in declarations of tasks.
    pub fn as_str(self) -> &'static str {
        NAMES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// Returns the name of the event in the headers. `None` where only the body names it.
    pub fn event(self, headers: &HeaderMap) -> Option<&str> {
        let names: &[&str] = match self {
            Self::Github => &["x-github-event"],
            Self::Gitlab => &["x-gitlab-event"],
            Self::Gitea => &["x-gitea-event", "x-forgejo-event"],
            Self::Bitbucket => &["x-event-key"],
            Self::Azure | Self::Standard => &[],
        };
        names.iter().find_map(|name| single(headers, name))
    }

    /// Returns the id of a delivery, which is the same when the forge sends it again. `None` where
    /// the headers have no usable one.
    pub fn delivery(self, headers: &HeaderMap) -> Option<&str> {
        let names: &[&str] = match self {
            Self::Github => &["x-github-delivery"],
            // Not x-gitlab-event-uuid: hooks that follow from one another share it.
            Self::Gitlab => &[ID, "idempotency-key"],
            Self::Gitea => &["x-gitea-delivery", "x-forgejo-delivery"],
            Self::Bitbucket => &["x-request-uuid", "x-request-id"],
            Self::Azure => &[],
            Self::Standard => &[ID],
        };
        names.iter().find_map(|name| single(headers, name)).filter(|id| is_delivery_id(id))
    }
}

/// Returns true for a delivery id that can be kept and shown.
pub fn is_delivery_id(id: &str) -> bool {
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|c| c.is_ascii_graphic())
}

/// Returns true if the headers have any proof of the sender. A request without one is refused
/// whatever the kind of its source, before its body is read.
pub fn has_proof(headers: &HeaderMap) -> bool {
    PROOFS.iter().any(|name| headers.contains_key(*name))
}

/// Returns true for a header that a [`Verifier`](super::Verifier) reads.
pub fn is_checked(name: &str) -> bool {
    PROOFS.contains(&name) || [ID, TIMESTAMP, "content-type"].contains(&name)
}

/// Returns true for Bitbucket Data Center's test of a connection, which it does not sign.
pub fn is_unsigned_ping(headers: &HeaderMap) -> bool {
    single(headers, "x-event-key") == Some("diagnostics:ping") && !has_proof(headers)
}

/// Returns true if the body is a form with the document in its field `payload`.
pub fn is_form(headers: &HeaderMap) -> bool {
    media_type(headers).is_some_and(|kind| kind == "application/x-www-form-urlencoded")
}

/// Returns the value of a header that is there exactly once.
pub fn single<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    value.to_str().ok()
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

impl fmt::Display for ForgeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_parsed_and_forgejo_is_a_gitea() {
        for (name, kind) in NAMES {
            assert_eq!(name.parse(), Ok(kind));
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert_eq!("forgejo".parse::<ForgeKind>().unwrap().to_string(), "gitea");
    }

    #[test]
    fn a_misspelt_name_gets_a_suggestion() {
        let error = "GitHub".parse::<ForgeKind>().unwrap_err().to_string();
        assert!(error.ends_with("or standard; did you mean \"github\"?"), "{error}");
        let error = "sourcehut".parse::<ForgeKind>().unwrap_err().to_string();
        assert!(error.contains("unknown kind of webhook \"sourcehut\""), "{error}");
    }

    #[test]
    fn an_id_that_is_repeated_or_cannot_be_shown_is_not_used() {
        let mut headers = HeaderMap::new();
        assert_eq!(ForgeKind::Github.delivery(&headers), None);
        headers.insert("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958".parse().unwrap());
        assert_eq!(ForgeKind::Github.delivery(&headers), Some("72d3162e-cc78-11e3-81ab-4c9367dc0958"));
        headers.append("x-github-delivery", "another".parse().unwrap());
        assert_eq!(ForgeKind::Github.delivery(&headers), None);
        for unusable in ["", "a b", "\u{e4}", &"x".repeat(MAX_ID + 1)] {
            assert!(!is_delivery_id(unusable), "{unusable}");
        }
    }
}
