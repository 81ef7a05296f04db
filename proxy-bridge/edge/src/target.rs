//! What a request asks for, in one form only: computed once, routed by, and handed on. Two spellings of one
//! host or path could otherwise be one thing to who routes and another to who answers.

use std::cell::RefCell;
use std::net::SocketAddr;

use http::header::{HOST, HeaderName};
use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};

/// A name in the DNS has at most 253 characters; a port and brackets come on top.
const MAX_HOST: usize = 262;

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The host of a request: lower case, without the root's dot, with the port that the client wrote, if any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    text: HeaderValue,
    /// How long it is without the port. 0: the request named none.
    name: usize,
}

impl Host {
    fn unnamed(local: SocketAddr) -> Self {
        let local = SocketAddr::new(local.ip().to_canonical(), local.port());
        let text = HeaderValue::from_str(&local.to_string()).expect("addresses are visible ASCII");
        Self { text, name: 0 }
    }

    /// Without the port: what routes are looked up by. Empty when the request named none.
    pub fn name(&self) -> &str {
        self.text.to_str().map_or("", |text| &text[..self.name])
    }

    /// With the port: what is handed on.
    pub fn authority(&self) -> &HeaderValue {
        &self.text
    }
}

/// Why a request asks for nothing that can be told for sure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.rule())]
pub enum Unclear {
    NoHost,
    SeveralHosts,
    InvalidHost,
    /// The target of the request and its `Host` disagree.
    OtherHost,
    Tunnel,
    Form,
    Path,
}

impl Unclear {
    /// The rule that was broken, in words for the client.
    pub fn rule(self) -> &'static str {
        match self {
            Self::NoHost | Self::SeveralHosts => "a request names exactly one host",
            Self::InvalidHost => "a host is a name or an address, and a port",
            Self::OtherHost => "the host in the target of a request is the one that it names as Host",
            Self::Tunnel => "no connections to other hosts are made here",
            Self::Form => "the target of a request is a path, or a http:// or https:// URL",
            Self::Path => {
                "a path begins with a slash, has no backslash and no NUL, and a % stands before two hexadecimal digits"
            }
        }
    }
}

/// Finds the host of a request, and puts the request's target into its canonical form: a path and a query
/// (or `*`), the path without dot segments, and without percent signs where none are needed. An encoded slash
/// stays encoded, and the query is left as it is.
///
/// A request of HTTP/1.0 need not name a host: it is the one that the client has connected to, at `local`.
///
/// # Errors
/// The request does not say for sure what it asks for: it is to be answered 400.
pub fn canonical<B>(request: &mut Request<B>, local: SocketAddr) -> Result<Host, Unclear> {
    if request.method() == Method::CONNECT {
        return Err(Unclear::Tunnel);
    }
    if request.uri().path() == "*" && request.method() != Method::OPTIONS {
        return Err(Unclear::Form);
    }
    let host = match host(request.uri(), request.headers(), request.version()) {
        Err(Unclear::NoHost) if request.version() == Version::HTTP_10 => Host::unnamed(local),
        host => host?,
    };
    let uri = request.uri();
    let path = path(uri.path())?;
    if path.is_some() || uri.authority().is_some() {
        *request.uri_mut() = origin(uri, path.as_deref().unwrap_or(uri.path())).ok_or(Unclear::Path)?;
    }
    Ok(host)
}

/// Puts the target of a request that is handed on into the form that its receiver wants: the whole URL as the client
/// sees it, or the path and the query alone. The headers are those of
/// [`set_forwarded`](crate::forwarded::set_forwarded): the scheme and the host are the forwarded ones.
///
/// A request whose headers name no host keeps its target.
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
        // No URL has a `*` in place of its path; this one is Deno's for it.
        Some(path) if is_url && path.as_str() == "*" => PathAndQuery::from_static("/*"),
        Some(path) => path,
        None => PathAndQuery::from_static("/"),
    });
    *request.uri_mut() = Uri::from_parts(parts).expect("a URL has a scheme, a host and a path");
}

fn seen_scheme(headers: &HeaderMap) -> Scheme {
    let scheme = headers.get(FORWARDED_PROTO).map_or(&b""[..], HeaderValue::as_bytes);
    // WebSockets are asked for by http too.
    let is_secure = [&b"https"[..], b"wss"].iter().any(|secure| scheme.eq_ignore_ascii_case(secure));
    if is_secure { Scheme::HTTPS } else { Scheme::HTTP }
}

thread_local! {
    /// The last host that was parsed: most requests of a connection are for the same one.
    static LAST: RefCell<Option<(HeaderValue, Authority)>> = const { RefCell::new(None) };
}

/// The forwarded host, if it is one that a URL can have.
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
    // `1.2.3.4.5` and `xn--` are hosts to HTTP, and not to the URLs of the web.
    url::Url::parse(&format!("http://{authority}/")).ok()?;
    *last = Some((value.clone(), authority.clone()));
    Some(authority)
}

fn host(uri: &Uri, headers: &HeaderMap, version: Version) -> Result<Host, Unclear> {
    let mut named = headers.get_all(HOST).iter();
    let header = named.next().map(parse_header).transpose()?;
    if named.next().is_some() {
        return Err(Unclear::SeveralHosts);
    }
    let Some(authority) = uri.authority() else { return header.ok_or(Unclear::NoHost) };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(Unclear::Form);
    }
    let text = HeaderValue::from_str(authority.as_str()).map_err(|_| Unclear::InvalidHost)?;
    let target = parse_header(&text)?;
    match header {
        Some(header) if header != target => Err(Unclear::OtherHost),
        // RFC 9112, 3.2: a client of HTTP/1.1 sends it whatever the form of its target.
        None if version == Version::HTTP_11 => Err(Unclear::NoHost),
        _ => Ok(target),
    }
}

fn parse_header(value: &HeaderValue) -> Result<Host, Unclear> {
    let text = value.to_str().map_err(|_| Unclear::InvalidHost)?;
    let (name, port) = split(text).ok_or(Unclear::InvalidHost)?;
    let as_it_was =
        name.len() + port.len() == text.len() && !text.bytes().any(|byte| byte.is_ascii_uppercase());
    if as_it_was {
        return Ok(Host { text: value.clone(), name: name.len() });
    }
    let canonical = format!("{}{port}", name.to_ascii_lowercase());
    let text = HeaderValue::try_from(canonical).map_err(|_| Unclear::InvalidHost)?;
    Ok(Host { text, name: name.len() })
}

/// The name without the root's dot, and the port with its colon (nothing when there is none).
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

/// The canonical path, when that is another one.
fn path(path: &str) -> Result<Option<String>, Unclear> {
    let bytes = path.as_bytes();
    if path == "*" || path.is_empty() {
        return Ok(None);
    }
    if bytes[0] != b'/' {
        return Err(Unclear::Path);
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

/// Percent-encoded letters, digits, `-`, `.`, `_` and `~` as themselves (RFC 3986, 6.2.2.2); `None` when there
/// is no percent sign.
fn decoded(path: &str) -> Result<Option<String>, Unclear> {
    if path.contains(['\\', '\0']) {
        return Err(Unclear::Path);
    }
    let mut parts = path.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    if text.len() == path.len() {
        return Ok(None);
    }
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).ok_or(Unclear::Path)?;
        match byte {
            b'\\' | 0 => return Err(Unclear::Path),
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

/// RFC 3986, 5.2.4. What would lead above the root leads to the root.
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
