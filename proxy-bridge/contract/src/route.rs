//! A route to a project besides its name, in the notation of configurations.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub mod label;

/// Segments of a prefix that a project claims: each is a level of a tree.
const MAX_SEGMENTS: usize = 32;

/// Bytes of a prefix, percent-encoded: room for [`MAX_SEGMENTS`] long words.
const MAX_PREFIX: usize = 1024;

/// Characters of an invalid route that its error quotes: the longest host, or the beginning of a
/// prefix.
const MAX_SHOWN: usize = 253;

/// Characters of a name in the DNS, and of one of its labels (RFC 1035, 2.3.4).
const MAX_HOST: usize = 253;
const MAX_LABEL: usize = 63;

/// Routes that one project may claim. Each is kept and shown with every version of the project.
pub const MAX_ROUTES: usize = 100;

/// A route that a project claims.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Claim {
    /// The host or the path prefix.
    #[schema(value_type = String)]
    pub route: Route,
    /// The moment from which on the router knows the claim without interruption.
    pub since: Timestamp,
    /// `true`: the operator's policy gives the route to the project.
    pub assigned: bool,
}

/// One more way to a project than its name. Its text is as in `switchyard.routes` and in
/// [`crate::admin::Status::routes`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Route {
    /// A whole host name, lower case, without a port and the root's dot.
    Host(String),
    /// A path prefix in canonical form: begins with `/`, does not end with it.
    Prefix(String),
}

/// A text that is not a route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRoute {
    /// Neither a host nor a prefix.
    #[error("invalid route {0:?}: expected a host (\"www.example.com\") or a prefix (\"/shop\")")]
    Neither(String),
    /// A host with `*` in it.
    #[error("invalid route {0:?}: write out each host (patterns are for the operator's policy)")]
    Pattern(String),
    /// A host with a port.
    #[error("invalid route {0:?}: write the host without its port")]
    Port(String),
    /// A host that is not ASCII.
    #[error("invalid route {0:?}: write the host as clients send it (\"xn--bcher-kva.example\")")]
    NotAscii(String),
    /// An IP address or `localhost`.
    #[error("invalid route {0:?}: requests to an address or localhost find projects by path")]
    Shared(String),
    /// A prefix that paths never have, or that is too long.
    #[error(
        "invalid route {0:?}: a prefix is a path of at most {MAX_SEGMENTS} segments and {MAX_PREFIX} bytes, \
         without a query, empty segments and dots for segments (\"/shop/eu\")"
    )]
    Prefix(String),
}

impl FromStr for Route {
    type Err = InvalidRoute;

    fn from_str(text: &str) -> Result<Self, InvalidRoute> {
        if text.starts_with('/') {
            let prefix = prefix(text).ok_or_else(|| InvalidRoute::Prefix(shown(text)))?;
            return Ok(Self::Prefix(prefix));
        }
        host(text).map(Self::Host).map_err(|wrong| wrong(shown(text)))
    }
}

/// The text as errors show it.
fn shown(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Returns the host in canonical form, or the kind of its error.
fn host(text: &str) -> Result<String, fn(String) -> InvalidRoute> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.contains('*') {
        return Err(InvalidRoute::Pattern);
    }
    if !name.is_ascii() {
        return Err(InvalidRoute::NotAscii);
    }
    let host = name.to_ascii_lowercase();
    if label::is_address(&host) || host == "localhost" {
        return Err(InvalidRoute::Shared);
    }
    if let Some((before, port)) = host.rsplit_once(':')
        && is_host(before)
        && port.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Err(if label::is_address(before) { InvalidRoute::Shared } else { InvalidRoute::Port });
    }
    if is_host(&host) { Ok(host) } else { Err(InvalidRoute::Neither) }
}

fn is_host(host: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_label = |label: &str| (1..=MAX_LABEL).contains(&label.len()) && label.bytes().all(plain);
    host.len() <= MAX_HOST && host.split('.').all(is_label)
}

/// The prefix in the form in which paths are looked up: see [`switchyard_edge::target::canonical`].
fn prefix(text: &str) -> Option<String> {
    let mut prefix = String::new();
    for segment in text.trim_end_matches('/').split('/').skip(1) {
        let segment = segment_of(segment)?;
        if segment.is_empty() || segment == "." || segment == ".." {
            return None;
        }
        prefix.push('/');
        prefix.push_str(&segment);
    }
    let segments = prefix.matches('/').count();
    ((1..=MAX_SEGMENTS).contains(&segments) && prefix.len() <= MAX_PREFIX).then_some(prefix)
}

fn segment_of(text: &str) -> Option<String> {
    let mut segment = String::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let is_encoded = byte == b'%' || !byte.is_ascii();
        let byte = match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                let digits = std::str::from_utf8(&digits).ok()?;
                let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)?
            }
            byte => byte,
        };
        match byte {
            b'-' | b'.' | b'_' | b'~' => segment.push(byte.into()),
            _ if byte.is_ascii_alphanumeric() => segment.push(byte.into()),
            0 | b'\\' => return None,
            _ if is_encoded => segment.push_str(&format!("%{byte:02X}")),
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@' => {
                segment.push(byte.into());
            }
            _ => return None,
        }
    }
    Some(segment)
}

/// A segment of a canonical path with the digits of its escapes in upper case, as in a [`Route`].
pub fn upper_hex(segment: &str) -> Cow<'_, str> {
    if !segment.contains('%') {
        return Cow::Borrowed(segment);
    }
    let mut parts = segment.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        text.push('%');
        text.push_str(&digits.to_ascii_uppercase());
        text.push_str(rest);
    }
    Cow::Owned(text)
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Host(text) | Self::Prefix(text)) = self;
        f.write_str(text)
    }
}

impl TryFrom<String> for Route {
    type Error = InvalidRoute;

    fn try_from(text: String) -> Result<Self, InvalidRoute> {
        text.parse()
    }
}

impl From<Route> for String {
    fn from(route: Route) -> Self {
        let (Route::Host(text) | Route::Prefix(text)) = route;
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_a_host_or_a_prefix_and_shows_as_it_is_parsed() {
        for (text, shown) in [
            ("WWW.Example.com", "www.example.com"),
            ("www.example.com.", "www.example.com"),
            ("intranet", "intranet"),
            ("my_app.example", "my_app.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("/shop/", "/shop"),
            ("/a/b", "/a/b"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/café", "/caf%C3%A9"),
            ("/%7Euser/%41", "/~user/A"),
            ("/a%2fb", "/a%2Fb"),
            ("/a;b=c", "/a;b=c"),
        ] {
            let route: Route = text.parse().unwrap();
            assert_eq!(route.to_string(), shown);
            assert_eq!(shown.parse(), Ok(route));
        }
        assert!("/a".repeat(MAX_SEGMENTS).parse::<Route>().is_ok());
        assert!(format!("/{}", "a".repeat(MAX_PREFIX - 1)).parse::<Route>().is_ok());
    }

    #[test]
    fn an_invalid_route_is_refused_with_the_expected_form() {
        use InvalidRoute::{Neither, NotAscii, Pattern, Port, Prefix, Shared};
        let wrong = |text: &str| text.parse::<Route>().unwrap_err();
        for text in ["", "a b", "a..b", ".a", "a..", "https://a.example", "example.com:x", &"a".repeat(64)] {
            assert_eq!(wrong(text), Neither(text.to_owned()));
        }
        for text in ["127.0.0.1", "127.0.0.1:80", "127.1", "10", "0x7f.1", "[::1]", "localhost", "LocalHost."]
        {
            assert_eq!(wrong(text), Shared(text.to_owned()), "{text}");
        }
        assert_eq!(wrong("*.example.com"), Pattern("*.example.com".to_owned()));
        assert_eq!(wrong("example.com:80"), Port("example.com:80".to_owned()));
        assert_eq!(wrong("bücher.example"), NotAscii("bücher.example".to_owned()));
        let deep = "/a".repeat(MAX_SEGMENTS + 1);
        let long = format!("/{}", "a".repeat(MAX_PREFIX));
        for text in [
            "/",
            "//",
            "/a//b",
            "/a/../b",
            "/a/%2e%2E/b",
            "/.",
            "/a?b",
            "/a#b",
            "/a b",
            "/a%2",
            "/%+1",
            "/%5c",
            &deep,
        ] {
            assert_eq!(wrong(text), Prefix(text.to_owned()));
        }
        assert_eq!(wrong(&long), Prefix(format!("{}…", &long[..MAX_SHOWN])));
    }

    #[test]
    fn escapes_are_looked_up_in_upper_case() {
        assert_eq!(upper_hex("caf%c3%a9x"), "caf%C3%A9x");
        assert_eq!(upper_hex("plain"), "plain");
        assert_eq!(upper_hex("%"), "%");
    }
}
