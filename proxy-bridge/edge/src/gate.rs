//! The gate in front of the listeners that take commands: the router's admin listener and the
//! bridge's API.
//!
//! Any web page can have the visitor's browser send requests to loopback addresses, and by DNS
//! rebinding read the answers too. Without tokens such a request looks like the operator's, so it
//! is refused by what browsers always send and pages cannot change: `Host`, `Origin` and
//! `Sec-Fetch-Site`. A body needs the content type of its endpoint.

mod authority;
mod body;

use http::header::{HOST, HeaderName, HeaderValue, ORIGIN};
use http::request::Parts;
use http::{StatusCode, Version};

pub use self::authority::{Authority, InvalidAuthority, InvalidPublicHost, PublicHost};
pub use self::body::{ARCHIVES, BodyKind, media_type};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// The hosts under which a listener takes commands without a token: addresses, `localhost` and its
/// public names.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    public: Vec<PublicHost>,
}

/// The reason why a request is refused, as a sentence that ends with the fix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// The request does not name exactly one valid host.
    #[error("a request names exactly one host, as a name or an address and a port: send one Host header")]
    MalformedHost,
    /// The host is not one of the listener's.
    #[error(
        "connect by an IP address or as localhost, or name the host with --public-host at the start: \
         other names could be anyone's (a request with a valid token may use any)"
    )]
    ForeignHost,
    /// A page of another site sent the request.
    #[error(
        "this is a browser's request from another site: send it from this listener's own address, \
         or without a browser"
    )]
    ForeignOrigin,
    /// The body has another content type. The text names the right one, and a command line that
    /// works.
    #[error("{0}")]
    UnsupportedMediaType(String),
}

impl GateError {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::MalformedHost => StatusCode::BAD_REQUEST,
            Self::ForeignHost | Self::ForeignOrigin => StatusCode::FORBIDDEN,
            Self::UnsupportedMediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        }
    }

    /// The end of the problem document's `type`.
    pub fn slug(&self) -> &'static str {
        match self {
            Self::MalformedHost => "bad-request",
            Self::ForeignHost => "foreign-host",
            Self::ForeignOrigin => "foreign-origin",
            Self::UnsupportedMediaType(_) => "unsupported-media-type",
        }
    }

    /// The name of the header that is wrong.
    pub fn field(&self) -> &'static str {
        match self {
            Self::MalformedHost | Self::ForeignHost => "host",
            Self::ForeignOrigin => "origin",
            Self::UnsupportedMediaType(_) => "content-type",
        }
    }
}

impl Gate {
    /// A gate for a listener with these public names (`--public-host`).
    pub fn new(public: Vec<PublicHost>) -> Self {
        Self { public }
    }

    /// Checks where a request comes from. With a valid token (`has_token`) any host is allowed.
    ///
    /// # Errors
    /// The host is malformed or not one of this listener's, or a page of another site sent the
    /// request.
    pub fn check(&self, request: &Parts, has_token: bool) -> Result<(), GateError> {
        let host = authority(request)?;
        if !has_token && !host.as_ref().is_some_and(|host| self.is_own(host)) {
            return Err(GateError::ForeignHost);
        }
        if is_from_another_site(request, host.as_ref()) {
            return Err(GateError::ForeignOrigin);
        }
        Ok(())
    }

    fn is_own(&self, host: &Authority) -> bool {
        host.is_address() || host.is_named("localhost") || self.public.iter().any(|name| name.is_of(host))
    }
}

/// Returns the host that a request names in its target or as `Host`. `None` only for HTTP/1.0,
/// which may leave it out.
///
/// # Errors
/// The request names no host, more than one, or a malformed one.
pub fn authority(request: &Parts) -> Result<Option<Authority>, GateError> {
    let parse = |text: &str| text.parse::<Authority>().map_err(|_| GateError::MalformedHost);
    let mut named = request.headers.get_all(HOST).iter();
    let header = match named.next() {
        Some(host) => Some(parse(host.to_str().map_err(|_| GateError::MalformedHost)?)?),
        None if request.version == Version::HTTP_10 => None,
        None => return Err(GateError::MalformedHost),
    };
    if named.next().is_some() {
        return Err(GateError::MalformedHost);
    }
    let target = request.uri.authority().map(|target| parse(target.as_str())).transpose()?;
    match (target, header) {
        (Some(target), Some(header)) if target != header => Err(GateError::MalformedHost),
        (target, header) => Ok(target.or(header)),
    }
}

/// Returns true if a page of another site had the browser send this. A link may lead here, because
/// its page cannot read the answer. A frame may not: it could hold streams open.
fn is_from_another_site(request: &Parts, host: Option<&Authority>) -> bool {
    let is_safe = request.method.is_safe();
    let is_devtools = |origin: &HeaderValue| is_safe && is_of_devtools(origin);
    let is_own = |origin: &HeaderValue| {
        origin.to_str().is_ok_and(|text| host.is_some_and(|host| host.is_origin(text)))
    };
    let mut origins = request.headers.get_all(ORIGIN).iter().peekable();
    if origins.peek().is_some_and(|origin| is_devtools(origin)) {
        return origins.any(|origin| !is_devtools(origin));
    }
    if origins.any(|origin| !is_own(origin)) {
        return true;
    }
    let mode = request.headers.get(&SEC_FETCH_MODE);
    let is_whole_page = request.headers.get_all(&SEC_FETCH_DEST).iter().all(|dest| dest == "document");
    let is_navigation = is_safe && is_whole_page && mode.is_some_and(|mode| mode == "navigate");
    let mut sites = request.headers.get_all(&SEC_FETCH_SITE).iter();
    // "same-site" is another port of this machine, such as a project's page.
    sites.any(|site| site != "same-origin" && site != "none" && !is_navigation)
}

/// Returns true if the origin is Chrome's DevTools, which no web page can have.
pub fn is_of_devtools(origin: &HeaderValue) -> bool {
    origin.as_bytes().starts_with(b"devtools://")
}

#[cfg(test)]
mod tests;
