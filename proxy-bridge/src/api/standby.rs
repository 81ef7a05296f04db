//! The API of a bridge that waits for the volume: probes, and a refusal of everything else.

use std::time::Duration;

use axum::response::Response;
use http::StatusCode;
use switchyard_edge::api::ApiListener;
use switchyard_edge::api::answer::text;
use switchyard_edge::api::endpoint::{Routes, get};
use switchyard_edge::problem::Problem;
use switchyard_edge::socket::Listener;
use tokio::sync::watch;

use super::LISTENER;

/// Seconds after which a refused client may try again. A takeover lasts about one.
const RETRY_AFTER: u32 = 1;

/// The end of the connections, all of whose answers take no time.
const GRACE: Duration = Duration::from_millis(200);

/// The API while another bridge has the volume.
pub struct StandbyApi;

impl StandbyApi {
    /// Serves `listener` until `stop` is true.
    pub async fn serve(listener: Listener, stop: watch::Receiver<bool>) {
        let app = routes().into_router(()).fallback(refuse);
        ApiListener { grace: GRACE, ..LISTENER }.serve(listener, app, stop).await;
    }
}

fn routes() -> Routes {
    Routes::default()
        .add(get("/healthz").any_query().without_permit(), healthz)
        .add(get("/readyz").any_query().without_permit(), refuse)
}

async fn healthz() -> Response {
    text(StatusCode::OK, "ok\n")
}

async fn refuse() -> Problem {
    let detail = "this bridge is the standby of the one that has the volume: send the request to that one";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "standby", detail).retry_after(RETRY_AFTER)
}
