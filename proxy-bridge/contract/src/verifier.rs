//! The check of signed events, which distinguishes those of a router from those of any other
//! sender.

use std::sync::{PoisonError, RwLock};

use http::HeaderMap;
use standardwebhooks::WebhookError;

use crate::event::Event;
use crate::secret::Secret;

/// Verifies events that are posted to the ingress, by the Standard Webhooks scheme.
#[derive(Debug)]
pub struct Verifier {
    secrets: RwLock<Vec<Secret>>,
}

/// An event that is as its router sent it.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// The `webhook-id`. The same at every attempt to deliver the event, so that duplicates can be
    /// skipped.
    pub id: String,
    /// The event.
    pub event: Event,
}

/// An event that is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("the header {0} is missing")]
    MissingHeader(&'static str),
    #[error("the header {0} is not readable")]
    BadHeader(&'static str),
    #[error("the header webhook-timestamp is not in seconds since 1970")]
    BadTimestamp,
    /// More than 5 minutes: a replay, or a wrong clock at one of the two ends.
    #[error("the event was signed more than 5 minutes before or after now")]
    OutOfTolerance,
    #[error("no signature matches a secret")]
    NoMatchingSignature,
    #[error("the event is signed, but its JSON is not understood")]
    BadJson(#[source] serde_json::Error),
}

impl Verifier {
    /// Creates a verifier. With several secrets an event is accepted when one of them signed it: to
    /// rotate, add the new one here, then change it at the routers, then remove the old one.
    /// Without any, no event is accepted.
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        Self { secrets: RwLock::new(secrets.into_iter().collect()) }
    }

    /// Replaces the secrets, from the next event on.
    pub fn replace(&self, secrets: impl IntoIterator<Item = Secret>) {
        let secrets = secrets.into_iter().collect();
        *self.secrets.write().unwrap_or_else(PoisonError::into_inner) = secrets;
    }

    /// Gives the event in `body`, which must be the very bytes that were received.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<Verified, VerifyError> {
        let mut outcome = Err(VerifyError::NoMatchingSignature);
        for secret in self.secrets.read().unwrap_or_else(PoisonError::into_inner).iter() {
            outcome = secret.webhook().verify(body, headers).map_err(VerifyError::from);
            // Other failures would be the same with every secret.
            if !matches!(outcome, Err(VerifyError::NoMatchingSignature)) {
                break;
            }
        }
        outcome?;
        let id = headers.get(standardwebhooks::HEADER_WEBHOOK_ID).and_then(|id| id.to_str().ok());
        Ok(Verified {
            id: id.ok_or(VerifyError::MissingHeader(standardwebhooks::HEADER_WEBHOOK_ID))?.to_owned(),
            event: serde_json::from_slice(body).map_err(VerifyError::BadJson)?,
        })
    }
}

impl From<WebhookError> for VerifyError {
    fn from(error: WebhookError) -> Self {
        match error {
            WebhookError::MissingHeader(name) => Self::MissingHeader(full_name(name)),
            WebhookError::InvalidHeader(name) => Self::BadHeader(full_name(name)),
            WebhookError::InvalidTimestamp => Self::BadTimestamp,
            WebhookError::TimestampTooOldError | WebhookError::FutureTimestampError => Self::OutOfTolerance,
            // A body that is not UTF-8 cannot have been signed by a router.
            WebhookError::InvalidSignature
            | WebhookError::InvalidPayload
            | WebhookError::InvalidSecret(_) => Self::NoMatchingSignature,
        }
    }
}

fn full_name(short: &str) -> &'static str {
    match short {
        "id" => standardwebhooks::HEADER_WEBHOOK_ID,
        "timestamp" => standardwebhooks::HEADER_WEBHOOK_TIMESTAMP,
        _ => standardwebhooks::HEADER_WEBHOOK_SIGNATURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::live;

    fn secret(text: &str) -> Secret {
        Secret::parse(text.as_bytes()).unwrap()
    }

    fn now() -> i64 {
        jiff::Timestamp::now().as_second()
    }

    fn signed(by: &str, at: i64, body: &[u8]) -> HeaderMap {
        let signature = secret(by).webhook().sign("evt_1", at, body).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", "evt_1".parse().unwrap());
        headers.insert("webhook-timestamp", at.to_string().parse().unwrap());
        headers.insert("webhook-signature", signature.parse().unwrap());
        headers
    }

    fn body() -> Vec<u8> {
        serde_json::to_vec(&live("blog", 3)).unwrap()
    }

    #[test]
    fn a_signed_event_is_believed_and_parsed() {
        let verifier = Verifier::new([secret("key")]);
        let verified = verifier.verify(&signed("key", now(), &body()), &body()).unwrap();
        assert_eq!(verified, Verified { id: "evt_1".into(), event: live("blog", 3) });
    }

    #[test]
    fn while_secrets_rotate_either_of_them_is_believed() {
        let verifier = Verifier::new([secret("new"), secret("old")]);
        for by in ["new", "old"] {
            assert!(verifier.verify(&signed(by, now(), &body()), &body()).is_ok());
        }
        let error = verifier.verify(&signed("older", now(), &body()), &body()).unwrap_err();
        assert!(matches!(error, VerifyError::NoMatchingSignature));
    }

    #[test]
    fn a_replaced_secret_is_no_longer_accepted() {
        let verifier = Verifier::new([secret("old")]);
        verifier.replace([secret("new")]);
        assert!(verifier.verify(&signed("new", now(), &body()), &body()).is_ok());
        assert!(verifier.verify(&signed("old", now(), &body()), &body()).is_err());
    }

    #[test]
    fn a_changed_body_is_not_believed() {
        let headers = signed("key", now(), &body());
        let error = Verifier::new([secret("key")]).verify(&headers, b"{}").unwrap_err();
        assert!(matches!(error, VerifyError::NoMatchingSignature));
        let error = Verifier::new([secret("key")]).verify(&headers, b"\xff").unwrap_err();
        assert!(matches!(error, VerifyError::NoMatchingSignature));
    }

    #[test]
    fn a_missing_header_is_named() {
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            let mut headers = signed("key", now(), &body());
            headers.remove(name);
            let error = Verifier::new([secret("key")]).verify(&headers, &body()).unwrap_err();
            assert_eq!(error.to_string(), format!("the header {name} is missing"));
        }
    }

    #[test]
    fn a_time_that_is_unreadable_or_five_minutes_off_is_refused() {
        let verifier = Verifier::new([secret("key")]);
        let mut headers = signed("key", now(), &body());
        headers.insert("webhook-timestamp", "noon".parse().unwrap());
        assert!(matches!(verifier.verify(&headers, &body()), Err(VerifyError::BadTimestamp)));
        for off in [-310, 310] {
            let headers = signed("key", now() + off, &body());
            assert!(matches!(verifier.verify(&headers, &body()), Err(VerifyError::OutOfTolerance)));
        }
        assert!(verifier.verify(&signed("key", now() - 280, &body()), &body()).is_ok());
    }

    #[test]
    fn signed_json_that_is_not_an_event_is_refused() {
        let body = br#"{"type":"reload.live"}"#;
        let error = Verifier::new([secret("key")]).verify(&signed("key", now(), body), body).unwrap_err();
        assert!(matches!(error, VerifyError::BadJson(_)));
    }

    #[test]
    fn without_a_secret_nothing_is_believed() {
        let error = Verifier::new([]).verify(&signed("key", now(), &body()), &body()).unwrap_err();
        assert!(matches!(error, VerifyError::NoMatchingSignature));
    }
}
