//! The headers that end at a hop, and those that describe the original client.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use http::header::{CONNECTION, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, Method, Request, Version, header};
use ipnet::IpNet;

use crate::request_id::REQUEST_ID;
use crate::target::Host;

const FORWARDED_FOR_NAME: &str = "x-forwarded-for";
const FORWARDED_FOR: HeaderName = HeaderName::from_static(FORWARDED_FOR_NAME);
const FORWARDED_PROTO_NAME: &str = "x-forwarded-proto";
const FORWARDED_PROTO: HeaderName = HeaderName::from_static(FORWARDED_PROTO_NAME);
const FORWARDED_HOST_NAME: &str = "x-forwarded-host";
const FORWARDED_HOST: HeaderName = HeaderName::from_static(FORWARDED_HOST_NAME);
const FORWARDED_PREFIX_NAME: &str = "x-forwarded-prefix";
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static(FORWARDED_PREFIX_NAME);
/// The header from which Deno's server takes the client's address.
const CLIENT_ADDRESS_NAME: &str = "x-deno-client-address";
const CLIENT_ADDRESS: HeaderName = HeaderName::from_static(CLIENT_ADDRESS_NAME);
/// The header from which Cloudflare's Workers take the client's address.
const CONNECTING_IP: HeaderName = HeaderName::from_static("cf-connecting-ip");

/// The hop-by-hop headers of RFC 9110, 7.6.1, and the older ones that it mentions. `Trailer` is no
/// longer one of them: it announces fields after the body, which are passed on.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    // RFC 7540, 3.2.1: part of an upgrade offer.
    HeaderName::from_static("http2-settings"),
];

/// Removes the hop-by-hop headers, and the headers that `Connection` names as such. The request's id
/// is the listener's, and not for this hop alone.
pub fn drop_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> =
            tokens(headers, &CONNECTION).filter_map(|token| token.parse().ok()).collect();
        for name in named {
            if name != REQUEST_ID {
                headers.remove(name);
            }
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Returns true if a request asks to become a WebSocket (RFC 6455, 4.1). Offers of other protocols
/// (`h2c`) are ignored, as RFC 9110, 7.8 allows; so are those of requests with a body, which would
/// have to be read first.
pub fn wants_websocket<B>(request: &Request<B>, has_body: bool) -> bool {
    request.headers().contains_key(UPGRADE)
        && request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && !has_body
        && names_websocket(request.headers())
}

/// Returns true if `Connection` and `Upgrade` of a request ask for a WebSocket.
pub fn names_websocket(headers: &HeaderMap) -> bool {
    tokens(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade")) && is_websocket(headers)
}

/// Returns true if `Upgrade` names WebSocket, in a request or in its response 101.
pub fn is_websocket(headers: &HeaderMap) -> bool {
    tokens(headers, &UPGRADE).any(|token| token.eq_ignore_ascii_case("websocket"))
}

/// Sets the headers of a switch to WebSocket, which [`drop_hop_by_hop`] has removed.
pub fn set_upgrade(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

fn tokens<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// The proxies with trusted headers about the client. None by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Arc<[IpNet]>);

/// An invalid list of networks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid network {0:?}: expected a list such as 10.0.0.0/8,fd00::/8, or an address alone")]
pub struct InvalidNetwork(String);

impl FromStr for TrustedProxies {
    type Err = InvalidNetwork;

    /// Parses `10.0.0.0/8,fd00::/8`. An address alone is a network of one.
    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let network = |part: &str| {
            let one = || part.parse::<IpAddr>().map(IpNet::from);
            part.parse().or_else(|_| one()).map_err(|_| InvalidNetwork(part.to_owned()))
        };
        parts.map(network).collect::<Result<_, _>>().map(Self)
    }
}

impl TrustedProxies {
    /// Returns true if `address` is a trusted proxy's. An IPv4-mapped IPv6 address counts as the
    /// IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// The client at the other end of a connection, as the headers describe it.
#[derive(Debug, Clone)]
pub struct Client {
    peer: SocketAddr,
    local: SocketAddr,
    ip: HeaderValue,
    address: HeaderValue,
    /// `true`: it speaks TLS.
    is_secure: bool,
    /// All trusted proxies, if the peer itself is one.
    trusted: Option<TrustedProxies>,
}

impl Client {
    /// A client that has connected from `peer` to `local`, and speaks TLS if `is_secure`.
    pub fn new(peer: SocketAddr, local: SocketAddr, is_secure: bool, trusted: &TrustedProxies) -> Self {
        let trusted = trusted.contains(peer.ip()).then(|| trusted.clone());
        let (ip, address) = (ascii(&peer.ip().to_string()), ascii(&peer.to_string()));
        Self { peer, local, ip, address, is_secure, trusted }
    }

    /// The scheme of the URLs that it requests.
    pub fn scheme(&self) -> &'static str {
        if self.is_secure { "https" } else { "http" }
    }

    /// The headers that describe a client which is no trusted proxy, and `prefix`, the part that
    /// was removed from the request's path: what [`set_forwarded`] sets. `None`: it is a proxy.
    pub fn headers<'a>(
        &'a self,
        host: &'a Host,
        prefix: &'a str,
    ) -> Option<impl Iterator<Item = (&'a str, &'a [u8])>> {
        if self.trusted.is_some() {
            return None;
        }
        let host = host.authority().as_bytes();
        let headers = [
            (FORWARDED_FOR_NAME, self.ip.as_bytes()),
            (CLIENT_ADDRESS_NAME, self.address.as_bytes()),
            (FORWARDED_PROTO_NAME, self.scheme().as_bytes()),
            (FORWARDED_HOST_NAME, host),
            ("host", host),
        ];
        let prefix = (!prefix.is_empty()).then_some((FORWARDED_PREFIX_NAME, prefix.as_bytes()));
        Some(headers.into_iter().chain(prefix))
    }

    /// The client's address, which trusted proxies name in the headers of a request.
    pub fn ip(&self, headers: &HeaderMap) -> IpAddr {
        let Some(trusted) = &self.trusted else { return self.peer() };
        let chain: Vec<&str> = tokens(headers, &FORWARDED_FOR).filter(|hop| !hop.is_empty()).collect();
        last_untrusted(&chain, trusted).map_or_else(|| self.peer(), |address| address.to_canonical())
    }

    /// The address at the other end of the connection.
    pub fn peer(&self) -> IpAddr {
        self.peer.ip().to_canonical()
    }

    /// The address that the client has connected to.
    pub fn local(&self) -> SocketAddr {
        self.local
    }
}

/// Sets the headers that describe the client. They replace those of the request, or continue them
/// if the peer is a trusted proxy. `host` is the request's
/// [`authority`](crate::target::Host::authority), `prefix` the part that was removed from its path.
pub fn set_forwarded(headers: &mut HeaderMap, client: &Client, host: &HeaderValue, prefix: &str) {
    match &client.trusted {
        None => {
            headers.insert(FORWARDED_FOR, client.ip.clone());
            headers.insert(CLIENT_ADDRESS, client.address.clone());
            headers.insert(FORWARDED_PROTO, HeaderValue::from_static(client.scheme()));
            headers.insert(FORWARDED_HOST, host.clone());
        }
        Some(trusted) => continue_chain(headers, client, trusted, host),
    }
    headers.insert(header::HOST, host.clone());
    headers.remove(header::FORWARDED);
    headers.remove("x-real-ip");
    // The listener itself sends 100 Continue when the body is read. Other expectations are the
    // receiver's.
    if headers
        .get_all(header::EXPECT)
        .iter()
        .all(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    {
        headers.remove(header::EXPECT);
    }
    match HeaderValue::from_str(prefix) {
        Ok(value) if !prefix.is_empty() => headers.insert(FORWARDED_PREFIX, value),
        _ => headers.remove(FORWARDED_PREFIX),
    };
}

/// Sets the client's address as Cloudflare does, replacing the client's own header. Called after
/// [`set_forwarded`].
pub fn set_connecting_ip(headers: &mut HeaderMap) {
    let address = headers.get(CLIENT_ADDRESS).and_then(|address| address.to_str().ok());
    let ip = address.and_then(|address| address.parse::<SocketAddr>().ok()).map(|address| address.ip());
    match ip.and_then(|ip| HeaderValue::from_str(&ip.to_string()).ok()) {
        Some(ip) => headers.insert(CONNECTING_IP, ip),
        None => headers.remove(CONNECTING_IP),
    };
}

/// Keeps the headers of a trusted proxy, with its own address at the end of the chain. Missing and
/// invalid ones are set as for any client.
fn continue_chain(headers: &mut HeaderMap, client: &Client, trusted: &TrustedProxies, host: &HeaderValue) {
    let mut chain: Vec<&str> = tokens(headers, &FORWARDED_FOR).filter(|hop| !hop.is_empty()).collect();
    let address = origin(&chain, client, trusted);
    let peer = client.peer.ip().to_string();
    chain.push(&peer);
    let chain = HeaderValue::from_str(&chain.join(", ")).unwrap_or_else(|_| client.ip.clone());
    headers.insert(FORWARDED_FOR, chain);
    headers.insert(CLIENT_ADDRESS, address);
    if !has_one(headers, &FORWARDED_PROTO, |scheme| scheme.parse::<Scheme>().is_ok()) {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(client.scheme()));
    }
    if !has_one(headers, &FORWARDED_HOST, |host| !host.contains('@') && host.parse::<Authority>().is_ok()) {
        headers.insert(FORWARDED_HOST, host.clone());
    }
}

/// Returns true if the header `name` occurs exactly once, with a valid value.
fn has_one(headers: &HeaderMap, name: &HeaderName, valid: impl Fn(&str) -> bool) -> bool {
    let mut values = headers.get_all(name).iter();
    let first = values.next().and_then(|value| value.to_str().ok());
    first.is_some_and(valid) && values.next().is_none()
}

/// Returns the client's address, with port 0, which is unknown.
fn origin(chain: &[&str], client: &Client, trusted: &TrustedProxies) -> HeaderValue {
    let last = last_untrusted(chain, trusted);
    last.map_or_else(|| client.address.clone(), |address| ascii(&SocketAddr::new(address, 0).to_string()))
}

/// Returns the last address in the chain that is not a trusted proxy's. Addresses before it may be
/// made up.
fn last_untrusted(chain: &[&str], trusted: &TrustedProxies) -> Option<IpAddr> {
    let mut last = None;
    for hop in chain.iter().rev() {
        let Some(address) = address_of(hop) else { break };
        last = Some(address);
        if !trusted.contains(address) {
            break;
        }
    }
    last
}

/// Returns the address of a hop. Some proxies add a port.
fn address_of(hop: &str) -> Option<IpAddr> {
    let with_port = || hop.parse::<SocketAddr>().map(|address| address.ip());
    hop.parse().or_else(|_| with_port()).ok()
}

fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("addresses are visible ASCII")
}

#[cfg(test)]
mod tests;
