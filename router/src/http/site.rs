//! Responses with files of the live version, without a process: the choice of the file, and its
//! headers.

mod conditions;
mod encoding;
mod range;

use std::sync::Arc;

use http::header::{
    ACCEPT, ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, HeaderName, LOCATION, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Body as _;
use switchyard_protocol::assets::{AssetMatch, content_type};

use self::conditions::ConditionOutcome;
use self::encoding::Variant;
use super::body::Body;
use super::lease::SiteLease;
use super::problem::RequestProblem;
use crate::live::LiveSite;
use crate::pieces::{ByteRange, FilePieces};
use crate::slots::Slot;

/// The methods that files support.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// Caches keep the file and revalidate it each time by its `ETag`: a deploy is visible at once.
const REVALIDATED: HeaderValue = HeaderValue::from_static("public, max-age=0, must-revalidate");

/// Caches keep the file for a year, the longest time that they keep anything, without revalidation
/// (RFC 8246).
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// The response to a request, before it is made.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// A file, relative to the project, with status 200 or as the page for paths that are not
    /// found.
    File(String, StatusCode),
    /// A redirect to another path of the project.
    Redirect {
        /// The path, without the prefix that leads to the project.
        to: String,
        permanent: bool,
    },
    /// No file, and no page that says so.
    NotFound,
    /// The list of methods, with 204 or 405.
    Methods(StatusCode),
}

/// Chooses the response to a request without its path's prefix. `None` if the version's code
/// responds.
pub(super) fn choose<B>(site: &LiveSite, request: &Request<B>, websocket: bool) -> Option<Reply> {
    let path = request.uri().path();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if !site.is_all && (!is_read || websocket || site.assets.code_first.cover(path)) {
        return None;
    }
    match *request.method() {
        Method::OPTIONS => return Some(Reply::Methods(StatusCode::NO_CONTENT)),
        _ if !is_read => return Some(Reply::Methods(StatusCode::METHOD_NOT_ALLOWED)),
        _ => {}
    }
    match site.find(path) {
        AssetMatch::File(file) => Some(Reply::File(file, StatusCode::OK)),
        AssetMatch::Redirect { to, permanent } => Some(Reply::Redirect { to, permanent }),
        AssetMatch::Nothing => missing(site, path, request.headers()),
    }
}

/// Chooses the response to a path without a file.
fn missing(site: &LiveSite, path: &str, headers: &HeaderMap) -> Option<Reply> {
    let navigates = headers.get(SEC_FETCH_MODE).map(|mode| mode == "navigate");
    let is_ours = site.is_all || site.assets.navigations && navigates == Some(true);
    if !is_ours {
        return None;
    }
    let is_navigation = navigates.unwrap_or_else(|| accepts_pages(headers, path));
    let fallback = site.assets.fallback(path).filter(|page| is_navigation && site.has(page));
    if let Some(page) = fallback {
        return Some(Reply::File(page, StatusCode::OK));
    }
    match site.not_found(path) {
        Some(page) => Some(Reply::File(page, StatusCode::NOT_FOUND)),
        None => site.is_all.then_some(Reply::NotFound),
    }
}

/// Returns true for clients that show pages, by their `Accept` header. Clients that accept
/// everything (curl, scripts) count among them unless the path ends with a file name.
fn accepts_pages(headers: &HeaderMap, path: &str) -> bool {
    let values =
        headers.get_all(ACCEPT).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let accepted: Vec<_> = values.map(<[u8]>::trim_ascii).collect();
    let accepts = |kind: &[u8]| accepted.iter().any(|accepted| accepted.starts_with(kind));
    let is_file = path.rsplit('/').next().is_some_and(|name| name.contains('.'));
    accepts(b"text/html") || !is_file && (accepted.is_empty() || accepts(b"*/*"))
}

/// Makes the response. `prefix` is the part that was removed from the request's path.
///
/// # Errors
/// The file cannot be read.
pub(super) async fn answer<B>(
    reply: Reply,
    lease: SiteLease,
    request: &Request<B>,
    prefix: &str,
    slot: Slot,
) -> Result<Response<Body>, RequestProblem> {
    let mut response = match reply {
        Reply::File(file, status) => return send(&file, status, lease, request, slot).await,
        Reply::Redirect { to, permanent } => redirect(&to, permanent, prefix, request.uri().query()),
        Reply::NotFound => text(StatusCode::NOT_FOUND, "Not found\n"),
        Reply::Methods(status @ StatusCode::NO_CONTENT) => text(status, ""),
        Reply::Methods(status) => text(status, "Files are read with GET and HEAD\n"),
    };
    if matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::METHOD_NOT_ALLOWED) {
        response.headers_mut().insert(ALLOW, METHODS);
    }
    if request.method() == Method::HEAD {
        let length = response.body().size_hint().lower();
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
        *response.body_mut() = Body::from("");
    }
    lease.mark(response.headers_mut());
    Ok(response)
}

fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    if !text.is_empty() {
        response.headers_mut().insert(CONTENT_TYPE, PLAIN);
    }
    response.headers_mut().insert(CACHE_CONTROL, REVALIDATED);
    response
}

fn redirect(to: &str, permanent: bool, prefix: &str, query: Option<&str>) -> Response<Body> {
    let status = if permanent { StatusCode::MOVED_PERMANENTLY } else { StatusCode::TEMPORARY_REDIRECT };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = text(status, "");
    // The path of a request is always a valid header value.
    if let Ok(location) = HeaderValue::from_str(&format!("{prefix}{to}{query}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// Responds with a file.
async fn send<B>(
    file: &str,
    status: StatusCode,
    lease: SiteLease,
    request: &Request<B>,
    slot: Slot,
) -> Result<Response<Body>, RequestProblem> {
    let site = &lease.site;
    let variant = encoding::choose(site, file, request.headers());
    let mut headers = headers(site, file, &variant);
    let is_head = request.method() == Method::HEAD;
    let etag = etag(site, &variant.file).filter(|_| status == StatusCode::OK);
    let mut requested = None;
    if let Some(etag) = etag {
        let outcome = conditions::evaluate(request.headers(), &etag);
        headers.insert(ETAG, etag);
        match outcome {
            ConditionOutcome::NotModified => {
                return Ok(without_body(StatusCode::NOT_MODIFIED, headers, &lease));
            }
            ConditionOutcome::Failed => {
                return Ok(without_body(StatusCode::PRECONDITION_FAILED, headers, &lease));
            }
            ConditionOutcome::Whole => {}
            ConditionOutcome::Send => requested = range::requested(request.headers()).filter(|_| !is_head),
        }
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    let choose = move |size| requested.map_or(ByteRange::All, |range| range.of(size));
    let opened = FilePieces::open(Arc::from(site.path_of(&variant.file)), is_head, choose).await;
    let opened = opened.map_err(|error| lease.unreadable(&variant.file, &error))?;
    headers.insert(CONTENT_TYPE, kind(file));
    let (status, length) = match &opened.range {
        ByteRange::All => (status, opened.size),
        ByteRange::Part(part) => {
            let part = format!("bytes {}-{}/{}", part.start(), part.end(), opened.size);
            headers.extend(HeaderValue::from_str(&part).map(|part| (CONTENT_RANGE, part)));
            (StatusCode::PARTIAL_CONTENT, opened.pieces.left())
        }
        ByteRange::Unsatisfiable => {
            let size = HeaderValue::from_str(&format!("bytes */{}", opened.size));
            headers.extend(size.map(|size| (CONTENT_RANGE, size)));
            return Ok(without_body(StatusCode::RANGE_NOT_SATISFIABLE, headers, &lease));
        }
    };
    headers.insert(CONTENT_LENGTH, length.into());
    lease.mark(&mut headers);
    // No process is in use, so slow readers need no slot. Over HTTP/1, the limits on connections
    // bound them; an HTTP/2 connection can have many downloads, each with a piece in memory.
    let slot = (request.version() == Version::HTTP_2).then_some(slot);
    let body = if is_head { Body::from("") } else { Body::file(opened.pieces, lease, slot) };
    Ok(with(status, headers, body))
}

/// Returns the headers that a file has in every response.
fn headers(site: &LiveSite, file: &str, variant: &Variant) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let cache = if site.assets.is_immutable(file) { IMMUTABLE } else { REVALIDATED };
    headers.insert(CACHE_CONTROL, cache);
    headers.extend(variant.coding.map(|coding| (CONTENT_ENCODING, HeaderValue::from_static(coding))));
    if variant.varies {
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    }
    headers
}

/// Returns the file's `ETag`, which depends on the content alone: it is the same at every router,
/// after a restart, and in every version with the same file.
fn etag(site: &LiveSite, file: &str) -> Option<HeaderValue> {
    let hash = site.hash(file)?;
    // Half of a SHA-256 is enough: two files with the same half cannot be found.
    let number = hash.iter().take(16).fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    HeaderValue::from_str(&format!("\"{number:032x}\"")).ok()
}

fn kind(file: &str) -> HeaderValue {
    let kind = HeaderValue::from_str(&content_type(file));
    kind.unwrap_or_else(|_| HeaderValue::from_static("application/octet-stream"))
}

fn without_body(status: StatusCode, mut headers: HeaderMap, lease: &SiteLease) -> Response<Body> {
    if status != StatusCode::NOT_MODIFIED {
        headers.remove(CONTENT_ENCODING);
        headers.insert(CACHE_CONTROL, REVALIDATED);
    }
    lease.mark(&mut headers);
    with(status, headers, Body::from(""))
}

fn with(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
