//! The page at `/ui/`: static files, which need no token. All that it shows comes from the API.

mod files;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use self::files::{FILES, PageFile};
use super::{Api, Shared, unknown_path};
use switchyard_edge::api::endpoint::{Routes, get};
use switchyard_edge::api::path::Path;
use switchyard_edge::problem::Problem;

/// Scripts and styles from here alone, none inline, and no text that becomes markup or code.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// The headers of each file.
const HEADERS: [(HeaderName, &str); 7] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
    // Asked for each time: the answer is 304 until the program is another one.
    (CACHE_CONTROL, "no-cache"),
];

/// The endpoints of the page. They are no part of the API, so the OpenAPI document has none of them.
pub(super) fn routes(api: &Arc<Api>) -> Routes<Arc<Api>> {
    Routes::default()
        .add(get("/").any_query(), root)
        .add(get("/ui").any_query(), without_slash)
        .add(get("/ui/").any_query(), index)
        .add(get("/ui/{*file}").any_query(), file)
        .map(|router| router.layer(from_fn_with_state(api.clone(), check)))
}

/// Refuses other hosts and pages of other sites, as the API does.
async fn check(State(api): Shared, request: Request, next: Next) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    api.gate.check(&parts, false)?;
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// Sends people to the page: those who accept HTML, as browsers and curl do.
async fn root(headers: HeaderMap) -> Result<Response, Problem> {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let is_html = |kind: &str| ["text/html", "text/*", "*/*"].iter().any(|html| kind.starts_with(html));
    let mut accepted = accepted.flat_map(|value| value.split(','));
    if accepted.any(|kind| is_html(kind.trim())) { Ok(redirect()) } else { Err(unknown_path().await) }
}

async fn without_slash() -> Response {
    redirect()
}

/// The address is relative, since a proxy may serve the API below a path.
fn redirect() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("ui/"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn index(headers: HeaderMap) -> Result<Response, Problem> {
    find("index.html", &headers).await
}

async fn file(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    find(&name, &headers).await
}

async fn find(name: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    match FILES.iter().find(|file| file.name == name) {
        Some(file) => Ok(answer(file, headers)),
        None => Err(unknown_path().await),
    }
}

fn answer(file: &PageFile, headers: &HeaderMap) -> Response {
    let tag = file.tag();
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let is_known = known.flat_map(|value| value.split(',')).any(|known| known.trim() == tag);
    let mut response =
        if is_known { Response::default() } else { Response::new(axum::body::Body::from(file.bytes)) };
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let answer = response.headers_mut();
    answer.insert(CONTENT_TYPE, HeaderValue::from_static(file.kind()));
    answer.extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
    if let Ok(tag) = HeaderValue::from_str(tag) {
        answer.insert(ETAG, tag);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_has_the_strict_headers_and_is_sent_again_only_when_it_is_another_one() {
        for file in FILES.iter() {
            let first = answer(file, &HeaderMap::new());
            assert_eq!(first.status(), StatusCode::OK, "{}", file.name);
            let policy = first.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{policy}");
            assert_eq!(first.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
            assert_eq!(first.headers()[REFERRER_POLICY], "no-referrer");
            let mut known = HeaderMap::new();
            known.insert(IF_NONE_MATCH, first.headers()[ETAG].clone());
            assert_eq!(answer(file, &known).status(), StatusCode::NOT_MODIFIED, "{}", file.name);
        }
    }

    #[tokio::test]
    async fn those_who_accept_html_are_sent_to_the_page() {
        let mut headers = HeaderMap::new();
        for accepted in ["text/html,application/xhtml+xml;q=0.9", "*/*"] {
            headers.insert(ACCEPT, HeaderValue::from_static(accepted));
            assert_eq!(root(headers.clone()).await.unwrap().headers()[LOCATION], "ui/");
        }
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        assert_eq!(root(headers).await.unwrap_err().status, StatusCode::NOT_FOUND);
    }
}
