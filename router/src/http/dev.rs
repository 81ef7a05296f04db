//! Development aids of the public listener (`--dev`, without `--no-overlay`): pages get a script that
//! shows the error of a failed build over the page, and loads the page again when another version is
//! live. Nothing of it runs without `--dev`.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE,
    ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, ORIGIN, RANGE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use switchyard_contract::admin::VERSION;
use switchyard_contract::project::ProjectName;
use switchyard_edge::gate::Authority;

use super::body::Body;
use super::dev_changes::Changes;
use crate::live::LiveTable;

/// The path of the script. No project's name begins with a dot.
const SCRIPT_PATH: &str = "/.switchyard/dev.js";

/// The path of the stream of changes that the script reads.
const CHANGES_PATH: &str = "/.switchyard/changes";

const SCRIPT: &str = include_str!("dev/overlay.js");

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The project of a page that the router itself made.
#[derive(Debug, Clone)]
pub(super) struct PageOf(pub(super) String);

/// Answers a request of the script, or for it.
pub(super) fn answer<B>(request: &Request<B>, live: &Arc<LiveTable>) -> Option<Response<Body>> {
    let path = request.uri().path();
    if request.method() != Method::GET || !path.starts_with("/.switchyard/") || is_foreign(request.headers())
    {
        return None;
    }
    let (kind, body) = match path {
        SCRIPT_PATH => ("text/javascript; charset=utf-8", Body::from(SCRIPT)),
        CHANGES_PATH => ("text/event-stream", Body::Changes(Changes::follow(live.clone()))),
        _ => return None,
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    Some(response)
}

/// Returns true if a page that this machine does not serve sent the request: it may not see code.
fn is_foreign(headers: &HeaderMap) -> bool {
    let is_local = |origin: &HeaderValue| {
        let origin = origin.to_str().ok().and_then(Authority::of_origin);
        origin.is_some_and(|origin| origin.is_loopback())
    };
    headers.get_all(ORIGIN).iter().any(|origin| !is_local(origin))
}

/// Returns true if the request is for a page that may get the script. Removes the headers by which
/// the response would be a compressed or a partial one, or none.
pub(super) fn prepare<B>(request: &mut Request<B>) -> bool {
    let headers = request.headers();
    let accepts_pages = headers.get_all(ACCEPT).iter().any(names_html);
    if request.method() != Method::GET || !accepts_pages {
        return false;
    }
    for name in [ACCEPT_ENCODING, IF_NONE_MATCH, IF_MODIFIED_SINCE, RANGE] {
        request.headers_mut().remove(name);
    }
    true
}

fn names_html(value: &HeaderValue) -> bool {
    value.as_bytes().windows(9).any(|part| part == b"text/html")
}

/// Adds the script to a page.
pub(super) fn add_script(response: Response<Body>) -> Response<Body> {
    let Some(script) = script_for(&response) else { return response };
    let (mut head, body) = response.into_parts();
    for name in [CONTENT_LENGTH, ETAG, LAST_MODIFIED, ACCEPT_RANGES] {
        head.headers.remove(name);
    }
    head.headers.insert(CACHE_CONTROL, NO_STORE);
    Response::from_parts(head, Body::WithScript { body: Box::new(body), script: Some(script) })
}

/// Returns the element that loads the script, unless the response is not a page.
fn script_for(response: &Response<Body>) -> Option<Bytes> {
    let headers = response.headers();
    let has_body = !response.status().is_informational()
        && !matches!(
            response.status(),
            StatusCode::NO_CONTENT | StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED
        );
    let is_page = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if !has_body || !is_page || headers.contains_key(CONTENT_ENCODING) {
        return None;
    }
    let version = headers.get(VERSION).and_then(|version| version.to_str().ok()).unwrap_or_default();
    let project = match response.extensions().get::<PageOf>() {
        Some(PageOf(project)) => project,
        None => version.split('@').next().unwrap_or_default(),
    };
    // What stands in the element is a name and a digest, and nothing that a browser reads otherwise.
    ProjectName::parse(project).ok()?;
    let version = version.split('@').nth(1).unwrap_or_default();
    Some(Bytes::from(format!(
        "\n<script src=\"{SCRIPT_PATH}\" data-switchyard=\"{project}@{version}\" async></script>\n"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(kind: &'static str) -> Response<Body> {
        let mut page = Response::new(Body::from("<p>"));
        page.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        page.headers_mut().insert(VERSION, HeaderValue::from_static("blog@0123456789ab"));
        page.headers_mut().insert(ETAG, HeaderValue::from_static("\"x\""));
        page
    }

    fn has_script(response: Response<Body>) -> bool {
        matches!(add_script(response).body(), Body::WithScript { .. })
    }

    #[test]
    fn whole_pages_of_a_project_get_the_script_and_nothing_else_does() {
        assert!(has_script(page("text/html; charset=utf-8")));
        assert!(!has_script(page("application/json")));
        let mut partial = page("text/html");
        *partial.status_mut() = StatusCode::PARTIAL_CONTENT;
        let mut compressed = page("text/html");
        compressed.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("br"));
        let mut nobodys = page("text/html");
        nobodys.headers_mut().remove(VERSION);
        assert!([partial, compressed, nobodys].into_iter().all(|response| !has_script(response)));
    }

    #[test]
    fn a_page_with_the_script_is_not_kept_by_caches() {
        let added = add_script(page("text/html"));
        assert_eq!((added.headers().get(ETAG), added.headers().get(CACHE_CONTROL)), (None, Some(&NO_STORE)));
    }

    #[test]
    fn only_pages_of_this_machine_follow_changes() {
        let live = Arc::new(LiveTable::new());
        let ask = |origin: Option<&'static str>| {
            let mut request = Request::new(());
            *request.uri_mut() = CHANGES_PATH.parse().unwrap();
            request.headers_mut().extend(origin.map(|origin| (ORIGIN, HeaderValue::from_static(origin))));
            answer(&request, &live).is_some()
        };
        assert!(ask(None) && ask(Some("http://blog.localhost:8000")) && ask(Some("http://127.0.0.1:8000")));
        assert!(!ask(Some("https://evil.example")) && !ask(Some("null")));
    }

    #[test]
    fn a_request_for_a_page_asks_for_all_of_it_uncompressed() {
        let mut request = Request::new(());
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("br"));
        assert!(!prepare(&mut request) && request.headers().contains_key(ACCEPT_ENCODING));
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("text/html,*/*"));
        assert!(prepare(&mut request) && !request.headers().contains_key(ACCEPT_ENCODING));
    }
}
