//! The body of a delivery: verified while it streams, and kept if it is small.

use axum::body::Body;
use http::{HeaderMap, StatusCode};

use super::super::Pace;
use switchyard_edge::problem::Problem;
use switchyard_edge::upload::announced_length;
use switchyard_edge::webhook::Verifier;

/// The largest body that is verified, in bytes: GitHub's own limit.
pub(super) const MAX_BODY: usize = 25 * 1024 * 1024;

/// The largest body that is kept, in bytes.
pub(super) const MAX_KEPT: usize = 1024 * 1024;

/// Shows the body to `verifier`, and returns it if it is small.
///
/// # Errors
/// 408 or 413 for a body beyond the limits; 400 if it breaks off.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    verifier: &mut Verifier,
) -> Result<Option<Vec<u8>>, Problem> {
    let announced = announced_length(headers);
    if announced.is_some_and(|length| length > MAX_BODY as u64) {
        return Err(too_large());
    }
    let (mut kept, mut length) = (Some(Vec::new()), 0_usize);
    let (mut body, mut pace) = (body, Pace::new());
    while let Some(part) = pace.next(&mut body).await? {
        length = length.saturating_add(part.len());
        if length > MAX_BODY {
            return Err(too_large());
        }
        verifier.update(&part);
        match &mut kept {
            Some(bytes) if length <= MAX_KEPT => bytes.extend_from_slice(&part),
            _ => kept = None,
        }
    }
    Ok(kept)
}

fn too_large() -> Problem {
    let detail = format!("the body is larger than {MAX_BODY} bytes: have the forge send push events only");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail)
}
