//! Cross-origin access to the router's own responses, with `--dev`: a front end on another origin
//! can read why its project does not respond, instead of a browser's error about CORS. The
//! responses of a project have the headers that the project sets.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, CONTENT_TYPE, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use switchyard_edge::gate::Authority;

use super::body::Body;

/// The headers of a request from a page of another origin.
pub(super) struct Cors {
    origin: HeaderValue,
    /// For a preflight: the method and headers of the request that follows.
    preflight: Option<(HeaderValue, Option<HeaderValue>)>,
}

impl Cors {
    /// Returns the headers of `request`. `None` if no page sends it.
    pub(super) fn of<B>(request: &Request<B>) -> Option<Self> {
        let headers = request.headers();
        let origin = headers.get(ORIGIN)?.clone();
        let method =
            headers.get(ACCESS_CONTROL_REQUEST_METHOD).filter(|_| request.method() == Method::OPTIONS);
        let preflight =
            method.map(|method| (method.clone(), headers.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned()));
        Some(Self { origin, preflight })
    }

    /// Returns true if the page is served by this machine, and may see code. Any other page would
    /// see what its visitor works on.
    pub(super) fn is_local(&self) -> bool {
        let origin = self.origin.to_str().ok().and_then(Authority::of_origin);
        origin.is_some_and(|origin| origin.is_loopback())
    }

    /// Lets the page read a response of the router's own. A preflight is granted, so that the
    /// request itself is sent and its response can be read.
    pub(super) fn allow(self, mut answer: Response<Body>) -> Response<Body> {
        if self.preflight.is_some() {
            *answer.status_mut() = StatusCode::NO_CONTENT;
            *answer.body_mut() = Body::from(bytes::Bytes::new());
            answer.headers_mut().remove(CONTENT_TYPE);
        }
        let headers = answer.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.origin);
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        match self.preflight {
            Some((method, requested)) => grant(headers, method, requested),
            None => {
                let exposed =
                    HeaderValue::from_static("retry-after, x-switchyard-version, x-switchyard-stale");
                headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
                headers.append(VARY, HeaderValue::from_static("origin"));
            }
        }
        answer
    }
}

fn grant(headers: &mut HeaderMap, method: HeaderValue, requested: Option<HeaderValue>) {
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, method);
    headers.extend(requested.map(|requested| (ACCESS_CONTROL_ALLOW_HEADERS, requested)));
    let all = "origin, access-control-request-method, access-control-request-headers";
    headers.append(VARY, HeaderValue::from_static(all));
}
