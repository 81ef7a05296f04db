//! Answers of the API.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use serde::Serialize;

use crate::problem::Problem;
use switchyard_contract::deploy::DeployRecord;
use switchyard_program::visible;

pub(super) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// In seconds: about as long as a deploy takes.
const RETRY_SOON: HeaderValue = HeaderValue::from_static("1");

pub(super) fn text(status: StatusCode, text: impl Into<String>) -> Answer {
    whole(status, "text/plain; charset=utf-8", text.into())
}

pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = whole(status, "text/plain", String::new());
    answer.headers_mut().remove(CONTENT_TYPE);
    answer
}

pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let text = serde_json::to_string(value).expect("answers are plain data");
    document(status, "application/json", &text)
}

pub(super) fn problem(problem: &Problem) -> Answer {
    let text = problem.document().to_string();
    let mut answer = document(problem.status, "application/problem+json", &text);
    match problem.status {
        StatusCode::UNAUTHORIZED => {
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            answer.headers_mut().insert(RETRY_AFTER, RETRY_SOON);
        }
        // RFC 9110, 15.5.6: the header belongs to the status.
        StatusCode::METHOD_NOT_ALLOWED => {
            let allow = problem.member("allow").and_then(|allow| HeaderValue::from_str(allow).ok());
            answer.headers_mut().extend(allow.map(|allow| (ALLOW, allow)));
        }
        _ => {}
    }
    answer
}

/// A deploy that is done: its record, or its problem.
pub(super) fn record(record: &DeployRecord) -> Answer {
    let status = record.status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::OK);
    match &record.problem {
        Some(problem) => {
            let mut answer = document(status, "application/problem+json", &problem.to_string());
            if status == StatusCode::SERVICE_UNAVAILABLE {
                answer.headers_mut().insert(RETRY_AFTER, RETRY_SOON);
            }
            answer
        }
        None => json(status, record),
    }
}

/// JSON, with nothing in it that a terminal obeys: projects' words are in it.
fn document(status: StatusCode, kind: &'static str, text: &str) -> Answer {
    whole(status, kind, format!("{}\n", visible::json(text)))
}

pub(super) fn whole(status: StatusCode, kind: &'static str, text: String) -> Answer {
    answer(status, kind, Full::new(Bytes::from(text)).boxed_unsync())
}

pub(super) fn answer(
    status: StatusCode,
    kind: &'static str,
    body: UnsyncBoxBody<Bytes, Infallible>,
) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
