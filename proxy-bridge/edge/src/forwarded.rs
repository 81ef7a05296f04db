//! The headers that end at a hop, and those that say where a request came from: for the router and
//! for whoever forwards to it.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use http::header::{CONNECTION, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, Method, Request, Version, header};
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
/// Where Deno's server takes the client's address from.
const CLIENT_ADDRESS: HeaderName = HeaderName::from_static("x-deno-client-address");
/// Where Cloudflare's Workers take the client's address from.
const CONNECTING_IP: HeaderName = HeaderName::from_static("cf-connecting-ip");

/// RFC 9110, 7.6.1, and the older ones that it mentions. `Trailer` is not one of them any more: it announces fields behind
/// the body, which are passed on.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    // RFC 7540, 3.2.1: part of an offer to upgrade.
    HeaderName::from_static("http2-settings"),
];

/// Takes out what is meant for the next hop only, and what `Connection` names as such.
pub fn drop_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> =
            tokens(headers, &CONNECTION).filter_map(|token| token.parse().ok()).collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Whether a request asks to become a WebSocket (RFC 6455, 4.1). Offers of other protocols (`h2c`) are ignored, as
/// RFC 9110, 7.8 allows; so are those of requests with a body, which would have to be read first.
pub fn wants_websocket<B>(request: &Request<B>, has_body: bool) -> bool {
    request.headers().contains_key(UPGRADE)
        && request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && !has_body
        && names_websocket(request.headers())
}

/// Whether `Connection` and `Upgrade` of a request ask for WebSocket.
pub fn names_websocket(headers: &HeaderMap) -> bool {
    tokens(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade")) && is_websocket(headers)
}

/// Whether `Upgrade` names WebSocket, in a request or in the answer 101 to it.
pub fn is_websocket(headers: &HeaderMap) -> bool {
    tokens(headers, &UPGRADE).any(|token| token.eq_ignore_ascii_case("websocket"))
}

/// Puts back what a switch to WebSocket needs, behind [`drop_hop_by_hop`].
pub fn set_upgrade(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

fn tokens<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// The peers whose word on where a request came from is taken. None by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Arc<[IpNet]>);

/// A text that names no networks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no network: write CIDR,… as 10.0.0.0/8,fd00::/8, or an address alone")]
pub struct InvalidNetwork(String);

impl FromStr for TrustedProxies {
    type Err = InvalidNetwork;

    /// `10.0.0.0/8,fd00::/8`; an address alone is a network of one.
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
    /// An IPv4 address counts as itself when it comes in IPv6 clothes, as on a listener for both.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// The client at the other end of a connection, in the words of the headers that tell of it.
#[derive(Debug, Clone)]
pub struct Client {
    peer: SocketAddr,
    local: SocketAddr,
    ip: HeaderValue,
    address: HeaderValue,
    /// Whom else to believe, when the peer itself is believed.
    believed: Option<TrustedProxies>,
}

impl Client {
    /// `local` is the address that it has connected to.
    pub fn new(peer: SocketAddr, local: SocketAddr, trusted: &TrustedProxies) -> Self {
        let believed = trusted.contains(peer.ip()).then(|| trusted.clone());
        Self { peer, local, ip: ascii(&peer.ip().to_string()), address: ascii(&peer.to_string()), believed }
    }

    /// The address that it has connected to.
    pub fn local(&self) -> SocketAddr {
        self.local
    }
}

/// Says where the request came from: in place of whatever the client said, or, when the client is a
/// proxy that is trusted, beside it. `host` is the request's [`authority`](crate::target::Host::authority),
/// `prefix` what was taken off its path.
pub fn set_forwarded(headers: &mut HeaderMap, client: &Client, host: &HeaderValue, prefix: &str) {
    match &client.believed {
        None => {
            headers.insert(FORWARDED_FOR, client.ip.clone());
            headers.insert(CLIENT_ADDRESS, client.address.clone());
            headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
            headers.insert(FORWARDED_HOST, host.clone());
        }
        Some(trusted) => carry_on(headers, client, trusted, host),
    }
    headers.insert(header::HOST, host.clone());
    headers.remove(header::FORWARDED);
    headers.remove("x-real-ip");
    // That is answered here, by the time that the body is read. What else a client expects is for the receiver to know.
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

/// Sets the client's address as Cloudflare does, behind [`set_forwarded`]: in place of whatever the client said.
pub fn set_connecting_ip(headers: &mut HeaderMap) {
    let address = headers.get(CLIENT_ADDRESS).and_then(|address| address.to_str().ok());
    let ip = address.and_then(|address| address.parse::<SocketAddr>().ok()).map(|address| address.ip());
    match ip.and_then(|ip| HeaderValue::from_str(&ip.to_string()).ok()) {
        Some(ip) => headers.insert(CONNECTING_IP, ip),
        None => headers.remove(CONNECTING_IP),
    };
}

/// Keeps what a trusted proxy said, with its own address behind; what it did not say, or not in a way
/// that is understood, is said in its place.
fn carry_on(headers: &mut HeaderMap, client: &Client, trusted: &TrustedProxies, host: &HeaderValue) {
    let mut chain: Vec<&str> = tokens(headers, &FORWARDED_FOR).filter(|hop| !hop.is_empty()).collect();
    let address = origin(&chain, client, trusted);
    let peer = client.peer.ip().to_string();
    chain.push(&peer);
    let chain = HeaderValue::from_str(&chain.join(", ")).unwrap_or_else(|_| client.ip.clone());
    headers.insert(FORWARDED_FOR, chain);
    headers.insert(CLIENT_ADDRESS, address);
    if !says_one(headers, &FORWARDED_PROTO, |scheme| scheme.parse::<Scheme>().is_ok()) {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    }
    if !says_one(headers, &FORWARDED_HOST, |host| !host.contains('@') && host.parse::<Authority>().is_ok()) {
        headers.insert(FORWARDED_HOST, host.clone());
    }
}

fn says_one(headers: &HeaderMap, name: &HeaderName, valid: impl Fn(&str) -> bool) -> bool {
    let mut values = headers.get_all(name).iter();
    let first = values.next().and_then(|value| value.to_str().ok());
    first.is_some_and(valid) && values.next().is_none()
}

/// The last address in the chain that is no trusted proxy's; who is before it may have been made up.
/// Nobody said its port: 0.
fn origin(chain: &[&str], client: &Client, trusted: &TrustedProxies) -> HeaderValue {
    let mut last = None;
    for hop in chain.iter().rev() {
        let Some(address) = address_of(hop) else { break };
        last = Some(address);
        if !trusted.contains(address) {
            break;
        }
    }
    last.map_or_else(|| client.address.clone(), |address| ascii(&SocketAddr::new(address, 0).to_string()))
}

/// Some proxies write a port behind the address.
fn address_of(hop: &str) -> Option<IpAddr> {
    let with_port = || hop.parse::<SocketAddr>().map(|address| address.ip());
    hop.parse().or_else(|_| with_port()).ok()
}

fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("addresses are visible ASCII")
}

#[cfg(test)]
mod tests;
