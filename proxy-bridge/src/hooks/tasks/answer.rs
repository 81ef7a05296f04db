//! The answers to a webhook that has started a run.

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use switchyard_contract::run::{Run, RunId, RunState};
use switchyard_edge::api::answer;
use switchyard_edge::problem::Problem;

/// A result that is a document of its own: what `ctx.output` returns in a task.
#[derive(Debug, Deserialize)]
struct Document {
    #[serde(rename = "contentType")]
    content_type: String,
    content: String,
    /// `base64`, or text.
    #[serde(default)]
    encoding: Option<String>,
    /// The name of a file.
    #[serde(default)]
    name: Option<String>,
}

/// The answer once a run is recorded.
pub(super) fn accepted(run: RunId) -> Response {
    answer::json(StatusCode::ACCEPTED, &json!({ "run": run }))
}

/// The answer with the result of a run, or 202 if it has not ended in time.
///
/// # Errors The run did not succeed. Its error is for the author, and the answer goes to anybody:
/// it names the run and one word.
pub(super) fn ended(run: Run) -> Result<Response, Problem> {
    if !run.state.is_end() {
        return Ok(accepted(run.id));
    }
    if run.state != RunState::Succeeded {
        let status = match run.state {
            RunState::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            RunState::Lost | RunState::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let reason = run.error.map(|error| error.reason).unwrap_or_default();
        let (id, state) = (run.id, run.state.as_str());
        let detail =
            format!("the run {id} ended as {state}: {reason}; switchyard run show {id} has the details");
        return Err(Problem::new(status, "run-failed", detail).with("run", id.to_string()));
    }
    let result = run.result.unwrap_or_default();
    Ok(document(&result).unwrap_or_else(|| answer::json(StatusCode::OK, &result)))
}

/// The answer for a result of the form `{"output": {"contentType": …, "content": …}}`.
fn document(result: &Value) -> Option<Response> {
    let output = result.as_object().filter(|result| result.len() == 1)?.get("output")?;
    let document = Document::deserialize(output).ok()?;
    let is_text = document.content_type.starts_with("text/") && !document.content_type.contains(';');
    let charset = if is_text { "; charset=utf-8" } else { "" };
    let kind = HeaderValue::try_from(format!("{}{charset}", document.content_type)).ok()?;
    let bytes = match document.encoding.as_deref() {
        Some("base64") => STANDARD.decode(&document.content).ok()?,
        _ => document.content.into_bytes(),
    };
    let mut response = answer::text(StatusCode::OK, "").map(|_| Body::from(bytes));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(name) = document.name {
        let safe = |c: char| if c.is_ascii_alphanumeric() || "._- ".contains(c) { c } else { '_' };
        let name: String = name.chars().take(100).map(safe).collect();
        let disposition = format!("attachment; filename=\"{name}\"");
        headers.insert(CONTENT_DISPOSITION, HeaderValue::try_from(disposition).ok()?);
    }
    Some(response)
}
