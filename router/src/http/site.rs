//! Answers with files of the live version, without a process: which one, and with which headers.

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
use switchyard_protocol::assets::{Found, content_type};

use self::conditions::Verdict;
use self::encoding::Variant;
use super::body::Body;
use super::lease::SiteLease;
use super::problem::Problem;
use crate::live::LiveSite;
use crate::pieces::{Pieces, Range};
use crate::slots::Slot;

/// The methods that a file answers.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// Kept, and asked for again each time by its `ETag`: what is deployed is seen at once.
const REVALIDATED: HeaderValue = HeaderValue::from_static("public, max-age=0, must-revalidate");

/// For a year, as long as a cache keeps anything, and not asked for again (RFC 8246).
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// What answers a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// A file, relative to the project, with 200 or as the page for what is not found.
    File(String, StatusCode),
    Redirect {
        to: String,
        permanent: bool,
    },
    NotFound,
    Methods(StatusCode),
}

/// Chooses what answers the request, whose path has no prefix. `None`: the version's code does.
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
        Found::File(file) => Some(Reply::File(file, StatusCode::OK)),
        Found::Redirect { to, permanent } => Some(Reply::Redirect { to, permanent }),
        Found::Nothing => missing(site, path, request.headers()),
    }
}

/// What answers a request for a path without a file.
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

/// Returns `true` for clients that show pages, by what they accept. Those that accept anything (curl,
/// scripts) are taken for such unless the path ends like that of a file.
fn accepts_pages(headers: &HeaderMap, path: &str) -> bool {
    let values =
        headers.get_all(ACCEPT).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let accepted: Vec<_> = values.map(<[u8]>::trim_ascii).collect();
    let accepts = |kind: &[u8]| accepted.iter().any(|accepted| accepted.starts_with(kind));
    let is_file = path.rsplit('/').next().is_some_and(|name| name.contains('.'));
    accepts(b"text/html") || !is_file && (accepted.is_empty() || accepts(b"*/*"))
}

/// Answers the request. `prefix` is what was taken off its path.
///
/// # Errors
/// The file cannot be read.
pub(super) async fn answer<B>(
    reply: Reply,
    lease: SiteLease,
    request: &Request<B>,
    prefix: &str,
    slot: Slot,
) -> Result<Response<Body>, Problem> {
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
    // What is no header's value was no request's path either.
    if let Ok(location) = HeaderValue::from_str(&format!("{prefix}{to}{query}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// Sends a file that there is.
async fn send<B>(
    file: &str,
    status: StatusCode,
    lease: SiteLease,
    request: &Request<B>,
    slot: Slot,
) -> Result<Response<Body>, Problem> {
    let site = &lease.site;
    let variant = encoding::choose(site, file, request.headers());
    let mut headers = headers(site, file, &variant);
    let is_head = request.method() == Method::HEAD;
    let etag = etag(site, &variant.file).filter(|_| status == StatusCode::OK);
    let mut wanted = None;
    if let Some(etag) = etag {
        let verdict = conditions::judge(request.headers(), &etag);
        headers.insert(ETAG, etag);
        match verdict {
            Verdict::NotModified => return Ok(without_body(StatusCode::NOT_MODIFIED, headers, &lease)),
            Verdict::Failed => return Ok(without_body(StatusCode::PRECONDITION_FAILED, headers, &lease)),
            Verdict::Whole => {}
            Verdict::Send => wanted = range::wanted(request.headers()).filter(|_| !is_head),
        }
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    let choose = move |size| wanted.map_or(Range::All, |wanted| wanted.of(size));
    let opened = Pieces::open(Arc::from(site.path_of(&variant.file)), is_head, choose).await;
    let opened = opened.map_err(|error| lease.unreadable(&variant.file, &error))?;
    headers.insert(CONTENT_TYPE, kind(file));
    let (status, length) = match &opened.range {
        Range::All => (status, opened.size),
        Range::Part(part) => {
            let part = format!("bytes {}-{}/{}", part.start(), part.end(), opened.size);
            headers.extend(HeaderValue::from_str(&part).map(|part| (CONTENT_RANGE, part)));
            (StatusCode::PARTIAL_CONTENT, opened.pieces.left())
        }
        Range::Unsatisfiable => {
            let size = HeaderValue::from_str(&format!("bytes */{}", opened.size));
            headers.extend(size.map(|size| (CONTENT_RANGE, size)));
            return Ok(without_body(StatusCode::RANGE_NOT_SATISFIABLE, headers, &lease));
        }
    };
    headers.insert(CONTENT_LENGTH, length.into());
    lease.mark(&mut headers);
    // No process is held, so slow readers need not keep others out. Over HTTP/1 the limits of connections
    // bound them; a connection of HTTP/2 has many downloads, each with a piece in memory.
    let slot = (request.version() == Version::HTTP_2).then_some(slot);
    let body = if is_head { Body::from("") } else { Body::file(opened.pieces, lease, slot) };
    Ok(with(status, headers, body))
}

/// The headers that a file has in every answer.
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

/// Made of the content alone: the same at every router, after a restart, and in every version that
/// has the same file.
fn etag(site: &LiveSite, file: &str) -> Option<HeaderValue> {
    let hash = site.hash(file)?;
    // Half of a SHA-256: nobody finds two files with the same.
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
