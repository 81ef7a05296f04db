//! Webhooks. Deliveries of git forges say that a repository has changed, and are hints only: they
//! name a ref, and git is asked for the rest. Others start tasks.
//!
//! - `payload`: the refs that a delivery names
//! - `deliveries`: the ids of past deliveries, so that none counts twice
//! - `pace`: the time that a sender may take
//! - `rate`: the number of deliveries per minute and webhook
//! - `tasks`: the webhooks of tasks
//! - `listener`: the HTTP listener

mod deliveries;
mod listener;
mod pace;
mod payload;
mod rate;
#[cfg(test)]
mod recorded;
mod tasks;

use axum::response::Response;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, StatusCode};
use serde_json::json;
use switchyard_edge::api::answer;
use switchyard_edge::problem::Problem;

use self::pace::Pace;

pub use self::deliveries::Deliveries;
pub use self::listener::{HookTarget, Hooks};
pub use self::payload::{Event, Payload, Push};
pub use self::rate::{Rate, TooMany};
pub use self::tasks::{HookStart, TaskHooks, TaskWebhook, TaskWebhooks, Unproven};

/// The answer to all deliveries whose sender is not known.
fn unauthorized(detail: &'static str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
        .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"webhook\""))
}

/// The answer to a sender that tests its webhook.
fn pong() -> Response {
    answer::json(StatusCode::OK, &json!({ "ping": true }))
}
