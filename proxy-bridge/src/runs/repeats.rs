//! Repeated starts: the same request with the same idempotency key is the same run, and another
//! request with that key is refused.

use http::StatusCode;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::launch::Launch;
use super::{StartRun, Started};
use crate::ledger::StoredRun;
use switchyard_contract::run::RunTrigger;
use switchyard_edge::problem::Problem;

/// Returns the hash of what a request with an idempotency key asks for. Only senders reuse keys: those
/// of chains, files and steps are the bridge's own.
pub(super) fn request_hash(start: &StartRun) -> Option<String> {
    let is_sent = matches!(start.trigger, RunTrigger::Manual | RunTrigger::Webhook);
    start.key.as_ref().filter(|_| is_sent)?;
    let mut request = json!([start.params, start.input, start.version, start.consistency]);
    // The order of fields makes no other request.
    request.sort_all_objects();
    let hash = Sha256::digest(request.to_string());
    Some(hash.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Returns the run that has the idempotency key already.
///
/// # Errors
/// That run was asked for by another request.
pub(super) fn repeated(launch: &Launch, known: StoredRun) -> Result<Started, Problem> {
    let earlier = Launch::read(&known.input).and_then(|earlier| earlier.request);
    match (&launch.request, earlier) {
        (Some(request), Some(earlier)) if *request != earlier => Err(key_reused(&known)),
        _ => Ok(Started { run: known.run, is_new: false }),
    }
}

fn key_reused(known: &StoredRun) -> Problem {
    let detail = format!(
        "this idempotency-key, or delivery id, came with other parameters or another input before, and started \
         the run {}: send a new key with each new request",
        known.run.id
    );
    let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused", detail);
    problem.with("run", known.run.id.to_string())
}
