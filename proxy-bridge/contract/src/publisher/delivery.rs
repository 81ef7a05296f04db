//! One try: sign the event, post it, and judge the answer.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, StatusCode, Url, redirect};
use sha2::{Digest as _, Sha256};
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, WebhookError};

use super::outbox::DeliveryResult;
use crate::event::Event;
use crate::https;
use crate::secret::Secret;

/// The client, the destination and the secret of all attempts.
#[derive(Debug)]
pub(super) struct EventSender {
    client: Client,
    url: Url,
    secret: RwLock<Secret>,
    /// `true`: the certificate of the ingress is not trusted, which is logged once.
    is_untrusted: AtomicBool,
}

impl EventSender {
    /// The ingress is a neighbor and posted to directly: no proxy from the environment, and no
    /// redirect, which would send a signed event to an address that no one configured.
    pub(super) fn new(url: Url, secret: Secret, timeout: Duration) -> Result<Self, reqwest::Error> {
        let client = https::build(|| {
            Client::builder()
                .timeout(timeout)
                .no_proxy()
                .redirect(redirect::Policy::none())
                .user_agent(concat!("switchyard/", env!("CARGO_PKG_VERSION")))
        })?;
        Ok(Self { client, url, secret: RwLock::new(secret), is_untrusted: AtomicBool::new(false) })
    }

    pub(super) fn set_secret(&self, secret: Secret) {
        *self.secret.write().unwrap_or_else(PoisonError::into_inner) = secret;
    }

    fn sign(&self, id: &str, now: i64, body: &[u8]) -> Result<String, WebhookError> {
        self.secret.read().unwrap_or_else(PoisonError::into_inner).webhook().sign(id, now, body)
    }

    pub(super) async fn try_once(&self, event: &Event) -> DeliveryResult {
        let body = match serde_json::to_vec(event) {
            Ok(body) => body,
            Err(error) => return refused(event, &error.to_string()),
        };
        let id = event_id(&body);
        let now = Timestamp::now().as_second();
        let signature = match self.sign(&id, now, &body) {
            Ok(signature) => signature,
            Err(error) => return refused(event, &error.to_string()),
        };
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(HEADER_WEBHOOK_ID, id)
            .header(HEADER_WEBHOOK_TIMESTAMP, now)
            .header(HEADER_WEBHOOK_SIGNATURE, signature)
            .body(body);
        match request.send().await {
            Ok(answer) => {
                self.is_untrusted.store(false, Relaxed);
                judge(event, answer.status(), answer.headers())
            }
            Err(error) if error.is_builder() => refused(event, &error.without_url().to_string()),
            Err(error) if https::is_untrusted(&error) && !self.is_untrusted.swap(true, Relaxed) => {
                tracing::warn!("events are not delivered until this is corrected: {}", https::reason(error));
                DeliveryResult::Failed { retry_after: None }
            }
            Err(error) => {
                tracing::debug!(error = https::reason(error), "event could not be posted");
                DeliveryResult::Failed { retry_after: None }
            }
        }
    }
}

/// Returns an id that is the same at every attempt and different for every event, so that the
/// receiver can skip duplicates. (A sequence number would not do: it may start anew with the
/// router.)
fn event_id(body: &[u8]) -> String {
    let hash: [u8; 32] = Sha256::digest(body).into();
    let mut id = format!("evt_{}", crate::digest::Digest::from(hash));
    id.truncate("evt_".len() + 32);
    id
}

/// 2xx is delivered; 408, 429 and 5xx may pass; all else would be answered the same again.
fn judge(event: &Event, status: StatusCode, headers: &HeaderMap) -> DeliveryResult {
    if status.is_success() {
        return DeliveryResult::Delivered;
    }
    let may_pass = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status);
    if may_pass || status.is_server_error() {
        return DeliveryResult::Failed { retry_after: retry_after(headers) };
    }
    refused(event, &format!("the ingress answered {status}"))
}

/// Seconds only: no ingress of ours sends a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn refused(event: &Event, why: &str) -> DeliveryResult {
    tracing::warn!(
        project.name = event.data.project,
        event.sequence = event.data.sequence,
        "event refused: {why}"
    );
    DeliveryResult::Refused
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::live;

    fn judged(status: u16) -> DeliveryResult {
        judge(&live("a", 1), StatusCode::from_u16(status).unwrap(), &HeaderMap::new())
    }

    #[test]
    fn only_a_success_is_delivered() {
        for status in [200, 202, 204] {
            assert!(matches!(judged(status), DeliveryResult::Delivered));
        }
    }

    #[test]
    fn transient_failures_are_retried_and_others_are_final() {
        for status in [408, 429, 500, 502, 503, 504] {
            assert!(matches!(judged(status), DeliveryResult::Failed { .. }), "{status} may pass");
        }
        for status in [301, 307, 400, 401, 404, 410, 413, 422] {
            assert!(matches!(judged(status), DeliveryResult::Refused), "{status} is final");
        }
    }

    #[test]
    fn the_requested_pause_of_the_ingress_is_read() {
        let mut headers = HeaderMap::new();
        assert_eq!(retry_after(&headers), None);
        headers.insert(RETRY_AFTER, "7".parse().unwrap());
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(7)));
        headers.insert(RETRY_AFTER, "Fri, 31 Dec 1999 23:59:59 GMT".parse().unwrap());
        assert_eq!(retry_after(&headers), None);
    }

    #[test]
    fn an_id_is_the_same_for_the_same_event_and_has_no_dot() {
        let body = |sequence| serde_json::to_vec(&live("a", sequence)).unwrap();
        assert_eq!(event_id(&body(1)), event_id(&body(1)));
        assert_ne!(event_id(&body(1)), event_id(&body(2)));
        assert!(!event_id(&body(1)).contains('.'));
    }
}
