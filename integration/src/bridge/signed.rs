//! Events as a router posts them, and as a stranger does.

use std::time::{SystemTime, UNIX_EPOCH};

use http::Request;
use standardwebhooks::Webhook;
use switchyard_contract::event::Event;

use crate::client::{Body, post, with_header};

/// `POST /events`, signed with a secret (`whsec_…`) at a time (seconds since 1970).
pub fn event(event: &Event, id: &str, secret: &str, at: i64) -> Request<Body> {
    let body = serde_json::to_vec(event).expect("an event is JSON");
    let webhook = Webhook::new(secret).expect("the secret is one");
    let signature = webhook.sign(id, at, &body).expect("bytes can be signed");
    let mut request = post("/events", body);
    for (name, value) in
        [("webhook-id", id), ("webhook-timestamp", &at.to_string()), ("webhook-signature", &signature)]
    {
        request = with_header(request, name, value);
    }
    with_header(request, "content-type", "application/json")
}

/// Seconds since 1970.
pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    now.as_secs() as i64
}
