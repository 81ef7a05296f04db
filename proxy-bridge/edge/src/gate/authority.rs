//! The host and port of a request, an origin or a `--public-host`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A name in the DNS has at most 253 characters; brackets, a zone and a port come on top.
const MAX_LENGTH: usize = 300;

/// A host and, where it was written, a port. Names are compared without case and without the dot of
/// the root, IPv6 addresses without their zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    host: Host,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    /// In lower case.
    Name(String),
}

/// The text is not a host with an optional port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a host and an optional port")]
pub struct InvalidAuthority;

impl Authority {
    /// Returns true for an IP address.
    pub fn is_address(&self) -> bool {
        matches!(self.host, Host::Address(_))
    }

    /// Returns true if this can only be the own machine: a loopback address, `localhost` or a name
    /// below it.
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Address(address) => address.to_canonical().is_loopback(),
            Host::Name(name) => name == "localhost" || name.ends_with(".localhost"),
        }
    }

    pub(super) fn is_named(&self, name: &str) -> bool {
        matches!(&self.host, Host::Name(own) if own == name)
    }

    /// Returns true if a page of `origin` (`http://127.0.0.1:8001`) was served from here.
    pub(super) fn is_origin(&self, origin: &str) -> bool {
        let Some((from, default)) = split_origin(origin) else { return false };
        from.parse::<Self>().is_ok_and(|from| {
            from.host == self.host && from.port.unwrap_or(default) == self.port.unwrap_or(default)
        })
    }

    /// Returns the host and port of an origin. `None` for one that is not of the web (`null`).
    pub fn of_origin(origin: &str) -> Option<Self> {
        split_origin(origin)?.0.parse().ok()
    }
}

/// Splits an origin into its host with port, and the default port of its scheme.
fn split_origin(origin: &str) -> Option<(&str, u16)> {
    let http = origin.strip_prefix("http://").map(|rest| (rest, 80));
    http.or_else(|| origin.strip_prefix("https://").map(|rest| (rest, 443)))
}

impl FromStr for Authority {
    type Err = InvalidAuthority;

    fn from_str(text: &str) -> Result<Self, InvalidAuthority> {
        if text.len() > MAX_LENGTH {
            return Err(InvalidAuthority);
        }
        if let Some(rest) = text.strip_prefix('[') {
            let (address, port) = rest.split_once(']').ok_or(InvalidAuthority)?;
            let address: Ipv6Addr = without_zone(address)?.parse().map_err(|_| InvalidAuthority)?;
            return Ok(Self { host: Host::Address(address.into()), port: parse_port(port)? });
        }
        let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
        let name = name.strip_suffix('.').unwrap_or(name);
        let host = match name.parse::<Ipv4Addr>() {
            Ok(address) => Host::Address(address.into()),
            Err(_) if name.split('.').all(is_label) => Host::Name(name.to_ascii_lowercase()),
            Err(_) => return Err(InvalidAuthority),
        };
        Ok(Self { host, port: parse_port(port)? })
    }
}

/// Returns the address before a zone (`fe80::1%eth0`, in URLs `fe80::1%25eth0`).
fn without_zone(text: &str) -> Result<&str, InvalidAuthority> {
    let Some((address, zone)) = text.split_once('%') else { return Ok(text) };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if zone.is_empty() || !zone.bytes().all(is_plain) {
        return Err(InvalidAuthority);
    }
    Ok(address)
}

/// Reads the rest after the host: nothing, or a colon and digits, which may be missing
/// (RFC 3986, 3.2.3).
fn parse_port(text: &str) -> Result<Option<u16>, InvalidAuthority> {
    match text.strip_prefix(':') {
        None if text.is_empty() => Ok(None),
        Some("") => Ok(None),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().map(Some).map_err(|_| InvalidAuthority)
        }
        _ => Err(InvalidAuthority),
    }
}

fn is_label(label: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !label.is_empty() && label.bytes().all(is_plain)
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}")?,
            Host::Name(name) => f.write_str(name)?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// A name of `--public-host`, valid on any port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicHost(String);

/// The text is not a public host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPublicHost {
    /// An IP address, which needs no permission.
    #[error("{0:?} is an address, and those are always allowed: expected a name")]
    Address(String),
    /// Not a name, or more than a name.
    #[error("invalid host {0:?}: expected a name without scheme and port, such as deploy.example.com")]
    Malformed(String),
}

impl PublicHost {
    pub(super) fn is_of(&self, host: &Authority) -> bool {
        host.is_named(&self.0)
    }
}

impl FromStr for PublicHost {
    type Err = InvalidPublicHost;

    fn from_str(text: &str) -> Result<Self, InvalidPublicHost> {
        match text.parse() {
            Ok(Authority { host: Host::Name(name), port: None }) => Ok(Self(name)),
            Ok(Authority { host: Host::Address(_), .. }) => Err(InvalidPublicHost::Address(text.to_owned())),
            _ => Err(InvalidPublicHost::Malformed(text.to_owned())),
        }
    }
}
