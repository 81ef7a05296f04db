//! The canonical form of a request's host and path: computed once, used for routing, and passed on.
//! Otherwise, two spellings of one host or path could mean one project to the router and another to
//! the server behind it.

use std::cell::RefCell;
use std::net::SocketAddr;

use http::header::{HOST, HeaderName};
use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};

/// The longest host: a DNS name has at most 253 characters, brackets and a port are added.
const MAX_HOST: usize = 262;

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The host of a request: lower case, without a trailing dot, with the port if the client named
/// one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    text: HeaderValue,
    /// The length without the port. 0 if the request names no host.
    name: usize,
}

impl Host {
    fn unnamed(local: SocketAddr) -> Self {
        let local = SocketAddr::new(local.ip().to_canonical(), local.port());
        let text = HeaderValue::from_str(&local.to_string()).expect("addresses are visible ASCII");
        Self { text, name: 0 }
    }

    /// The name without the port, for the lookup of routes. Empty if the request names no host.
    pub fn name(&self) -> &str {
        self.text.to_str().map_or("", |text| &text[..self.name])
    }

    /// The name with the port, for the servers behind.
    pub fn authority(&self) -> &HeaderValue {
        &self.text
    }
}

/// The reason why a request's target is ambiguous or invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.rule())]
pub enum InvalidTarget {
    /// The request names no host.
    NoHost,
    /// The request has several `Host` headers.
    SeveralHosts,
    /// The host is not a name or an address.
    InvalidHost,
    /// The target of the request and its `Host` disagree.
    OtherHost,
    /// The method is `CONNECT`.
    Tunnel,
    /// The target is neither a path nor an HTTP URL.
    Form,
    /// The path is not canonical, and cannot be made so.
    Path,
}

impl InvalidTarget {
    /// The rule that the request breaks, as a sentence for the client.
    pub fn rule(self) -> &'static str {
        match self {
            Self::NoHost | Self::SeveralHosts => "a request names exactly one host",
            Self::InvalidHost => "a host is a name or an address, and a port",
            Self::OtherHost => "the host in the target of a request is the one that it names as Host",
            Self::Tunnel => "this server makes no connections to other hosts",
            Self::Form => "the target of a request is a path, or an http:// or https:// URL",
            Self::Path => {
                "a path begins with a slash, has no backslash and no NUL, and each % is \
                 followed by two hexadecimal digits"
            }
        }
    }
}

/// Returns the host of a request, and puts the request's target into its canonical form: a path and
/// a query (or `*`), the path without dot segments, and without percent-encoding where none is
/// needed. An encoded slash stays encoded, and the query stays as it is.
///
/// An HTTP/1.0 request need not name a host: the host is `local` then, the address that the client
/// has connected to.
///
/// # Errors
/// The target or the host is ambiguous or invalid, which is answered 400.
pub fn canonical<B>(request: &mut Request<B>, local: SocketAddr) -> Result<Host, InvalidTarget> {
    if request.method() == Method::CONNECT {
        return Err(InvalidTarget::Tunnel);
    }
    if request.uri().path() == "*" && request.method() != Method::OPTIONS {
        return Err(InvalidTarget::Form);
    }
    let host = match host(request.uri(), request.headers(), request.version()) {
        Err(InvalidTarget::NoHost) if request.version() == Version::HTTP_10 => Host::unnamed(local),
        host => host?,
    };
    let uri = request.uri();
    let path = path(uri.path())?;
    if path.is_some() || uri.authority().is_some() {
        *request.uri_mut() = origin(uri, path.as_deref().unwrap_or(uri.path())).ok_or(InvalidTarget::Path)?;
    }
    Ok(host)
}

/// Puts the target of a request into the form that its receiver expects: the whole URL as the
/// client sees it, or the path and the query alone. Scheme and host are those of
/// [`set_forwarded`](crate::forwarded::set_forwarded).
///
/// A request without a host in its headers keeps its target.
pub fn set_form<B>(request: &mut Request<B>, is_url: bool) {
    if request.uri().authority().is_some() == is_url {
        return;
    }
    let mut parts = Parts::default();
    if is_url {
        let Some(authority) = seen_host(request.headers()) else { return };
        parts.authority = Some(authority);
        parts.scheme = Some(seen_scheme(request.headers()));
    }
    parts.path_and_query = Some(match std::mem::take(request.uri_mut()).into_parts().path_and_query {
        // A URL cannot have `*` as its path: Deno writes `/*`.
        Some(path) if is_url && path.as_str() == "*" => PathAndQuery::from_static("/*"),
        Some(path) => path,
        None => PathAndQuery::from_static("/"),
    });
    *request.uri_mut() = Uri::from_parts(parts).expect("a URL has a scheme, a host and a path");
}

fn seen_scheme(headers: &HeaderMap) -> Scheme {
    let scheme = headers.get(FORWARDED_PROTO).map_or(&b""[..], HeaderValue::as_bytes);
    // Some proxies name the scheme of WebSockets.
    let is_secure = [&b"https"[..], b"wss"].iter().any(|secure| scheme.eq_ignore_ascii_case(secure));
    if is_secure { Scheme::HTTPS } else { Scheme::HTTP }
}

thread_local! {
    /// The last host that was parsed: most requests of a connection have the same one.
    static LAST: RefCell<Option<(HeaderValue, Authority)>> = const { RefCell::new(None) };
}

/// Returns the forwarded host if it is valid in a URL.
fn seen_host(headers: &HeaderMap) -> Option<Authority> {
    let mut named = [FORWARDED_HOST, HOST].into_iter().filter_map(|name| headers.get(name));
    named.find_map(|value| LAST.with_borrow_mut(|last| authority(value, last)))
}

fn authority(value: &HeaderValue, last: &mut Option<(HeaderValue, Authority)>) -> Option<Authority> {
    if let Some((_, authority)) = last.as_ref().filter(|(known, _)| known == value) {
        return Some(authority.clone());
    }
    let host = parse_header(value).ok()?;
    let authority: Authority = host.text.as_bytes().try_into().ok()?;
    // `1.2.3.4.5` and `xn--` are valid hosts in HTTP, but not in web URLs.
    url::Url::parse(&format!("http://{authority}/")).ok()?;
    *last = Some((value.clone(), authority.clone()));
    Some(authority)
}

thread_local! {
    /// The last plain host.
    static LAST_PLAIN: RefCell<Option<Host>> = const { RefCell::new(None) };
}

/// Returns the host that the value of a `Host` header names, if it is canonical as it is, and valid
/// in a URL.
#[must_use]
pub fn plain_host(value: &[u8]) -> Option<Host> {
    LAST_PLAIN.with_borrow_mut(|last| {
        if last.as_ref().is_none_or(|last| last.text.as_bytes() != value) {
            let text = HeaderValue::from_bytes(value).ok()?;
            let host = parse_header(&text).ok().filter(|host| host.text == text)?;
            LAST.with_borrow_mut(|last| authority(&text, last))?;
            *last = Some(host);
        }
        last.clone()
    })
}

fn host(uri: &Uri, headers: &HeaderMap, version: Version) -> Result<Host, InvalidTarget> {
    let mut named = headers.get_all(HOST).iter();
    let header = named.next().map(parse_header).transpose()?;
    if named.next().is_some() {
        return Err(InvalidTarget::SeveralHosts);
    }
    let Some(authority) = uri.authority() else { return header.ok_or(InvalidTarget::NoHost) };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(InvalidTarget::Form);
    }
    let text = HeaderValue::from_str(authority.as_str()).map_err(|_| InvalidTarget::InvalidHost)?;
    let target = parse_header(&text)?;
    match header {
        Some(header) if header != target => Err(InvalidTarget::OtherHost),
        // RFC 9112, 3.2: an HTTP/1.1 client sends it with every form of target.
        None if version == Version::HTTP_11 => Err(InvalidTarget::NoHost),
        _ => Ok(target),
    }
}

fn parse_header(value: &HeaderValue) -> Result<Host, InvalidTarget> {
    let text = value.to_str().map_err(|_| InvalidTarget::InvalidHost)?;
    let (name, port) = split(text).ok_or(InvalidTarget::InvalidHost)?;
    let is_canonical =
        name.len() + port.len() == text.len() && !text.bytes().any(|byte| byte.is_ascii_uppercase());
    if is_canonical {
        return Ok(Host { text: value.clone(), name: name.len() });
    }
    let canonical = format!("{}{port}", name.to_ascii_lowercase());
    let text = HeaderValue::try_from(canonical).map_err(|_| InvalidTarget::InvalidHost)?;
    Ok(Host { text, name: name.len() })
}

/// Returns the name without a trailing dot, and the port with its colon (empty without a port).
fn split(text: &str) -> Option<(&str, &str)> {
    let end = match text.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => text.find(':').unwrap_or(text.len()),
    };
    let (name, port) = text.split_at(end);
    if text.len() > MAX_HOST || !(port.is_empty() || is_port(port)) {
        return None;
    }
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let name = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().ok().map(|_| name)?,
        None => name.strip_suffix('.').unwrap_or(name),
    };
    let valid = address.is_some() || name.split('.').all(is_label);
    valid.then_some((name, if port == ":" { "" } else { port }))
}

fn is_label(label: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !label.is_empty() && label.bytes().all(plain)
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|digits| {
        digits.is_empty() || digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
    })
}

/// Returns the canonical path if it differs.
fn path(path: &str) -> Result<Option<String>, InvalidTarget> {
    let bytes = path.as_bytes();
    if path == "*" || path.is_empty() {
        return Ok(None);
    }
    if bytes[0] != b'/' {
        return Err(InvalidTarget::Path);
    }
    let is_plain = |(at, byte): (usize, &u8)| match byte {
        b'%' | b'\\' | 0 => false,
        b'.' => bytes[at - 1] != b'/',
        _ => true,
    };
    if bytes.iter().enumerate().all(is_plain) {
        return Ok(None);
    }
    let decoded = decoded(path)?;
    let canonical = without_dots(decoded.as_deref().unwrap_or(path));
    Ok((canonical != path).then_some(canonical))
}

/// Decodes percent-encoded letters, digits, `-`, `.`, `_` and `~` (RFC 3986, 6.2.2.2). Returns
/// `None` if there is no percent sign.
fn decoded(path: &str) -> Result<Option<String>, InvalidTarget> {
    if path.contains(['\\', '\0']) {
        return Err(InvalidTarget::Path);
    }
    let mut parts = path.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    if text.len() == path.len() {
        return Ok(None);
    }
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let byte =
            digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).ok_or(InvalidTarget::Path)?;
        match byte {
            b'\\' | 0 => return Err(InvalidTarget::Path),
            b'-' | b'.' | b'_' | b'~' => text.push(byte.into()),
            _ if byte.is_ascii_alphanumeric() => text.push(byte.into()),
            _ => {
                text.push('%');
                text.push_str(&part[..2]);
            }
        }
        text.push_str(&part[2..]);
    }
    Ok(Some(text))
}

/// Removes dot segments (RFC 3986, 5.2.4). A path above the root becomes the root.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            _ => {
                kept.push(segment);
                continue;
            }
        }
        if last {
            kept.push("");
        }
    }
    kept.iter().flat_map(|segment| ["/", segment]).collect()
}

fn origin(uri: &Uri, path: &str) -> Option<Uri> {
    let path = if path.is_empty() { "/" } else { path };
    let path_and_query = match uri.query() {
        Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
        None => PathAndQuery::try_from(path),
    };
    let mut parts = Parts::default();
    parts.path_and_query = Some(path_and_query.ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests;
