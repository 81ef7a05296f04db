//! `POST /events`: events that routers post, signed with the shared secret.

use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, StatusCode};

use super::Shared;
use crate::metrics::EventOutcome;
use crate::routers::EventReceipt;
use crate::tokens::Caller;
use switchyard_contract::bounds;
use switchyard_contract::deploy::Action;
use switchyard_contract::event::Event;
use switchyard_contract::overview::RecentEvents;
use switchyard_edge::api::answer::{json, no_content};
use switchyard_edge::api::body::BodyLimits;
use switchyard_edge::problem::Problem;

/// The limits on an event, whose sender is not known before it was read.
const EVENT_LIMITS: BodyLimits = BodyLimits { bytes: bounds::POSTED_EVENT, time: Duration::from_secs(10) };

/// Receives an event of a router
#[utoipa::path(post, path = "/events", tag = "events", request_body = Event,
    params(
        ("webhook-id" = String, Header, description = "As in Standard Webhooks"),
        ("webhook-timestamp" = String, Header, description = "As in Standard Webhooks"),
        ("webhook-signature" = String, Header, description = "As in Standard Webhooks"),
    ),
    responses(
        (status = 204, description = "The event was received, or had been received before"),
        (status = 401, description = "unauthorized: the signature is not valid"),
    ),
)]
pub(super) async fn receive(State(api): Shared, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let body = EVENT_LIMITS.read(body).await?;
    let verified = api.verifier.verify(&headers, &body).map_err(|error| {
        tracing::warn!("refused an event: {error}");
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", format!("the event is refused: {error}"))
    })?;
    api.metrics.event(match api.routers.take(&verified) {
        EventReceipt::Applied => EventOutcome::applied,
        EventReceipt::Duplicate => EventOutcome::duplicate,
        EventReceipt::UnknownRouter => EventOutcome::unknown_router,
    });
    Ok(no_content())
}

/// The last events of all routers, the newest first
#[utoipa::path(get, path = "/events", tag = "events", responses(
    (status = 200, description = "The events about projects that the caller may read", body = RecentEvents),
))]
pub(super) async fn recent(State(api): Shared, Extension(caller): Extension<Caller>) -> Response {
    let events = api.routers.changes().events();
    let events = events.iter().filter(|event| caller.may(Action::Read, &event.data.project));
    json(StatusCode::OK, &RecentEvents { events: events.map(|event| Event::clone(event)).collect() })
}

/// Counts the events that are refused.
pub(super) async fn count(State(api): Shared, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    if status.is_client_error() && status != StatusCode::METHOD_NOT_ALLOWED {
        api.metrics.event(EventOutcome::refused);
    }
    response
}
