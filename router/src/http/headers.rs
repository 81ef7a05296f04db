//! The headers that end at a hop, and those that the router sets and nobody can forge.

use std::net::SocketAddr;

use http::header::{CONNECTION, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, header};

pub(super) const VERSION: HeaderName = HeaderName::from_static("x-switchyard-version");
pub(super) const STALE: HeaderName = HeaderName::from_static("x-switchyard-stale");

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
/// Where Deno's server takes the client's address from.
const CLIENT_ADDRESS: HeaderName = HeaderName::from_static("x-deno-client-address");

/// RFC 9110, 7.6.1, and the older ones that it mentions.
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// Takes out what is meant for the next hop only, and what `Connection` names as such.
pub(super) fn drop_hop_by_hop(headers: &mut HeaderMap) {
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
    headers.remove("proxy-connection");
}

/// The protocol that the client wants to switch to (`websocket`), if any.
pub(super) fn wanted_upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let named = tokens(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    if named { headers.get(UPGRADE).cloned() } else { None }
}

/// Puts back what a switch of protocols needs, behind [`drop_hop_by_hop`].
pub(super) fn set_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

fn tokens<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// The client at the other end of a connection, in the words of the headers that tell of it.
#[derive(Debug, Clone)]
pub(super) struct Client {
    ip: HeaderValue,
    address: HeaderValue,
}

impl Client {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { ip: ascii(&address.ip().to_string()), address: ascii(&address.to_string()) }
    }
}

/// Says where the request came from, in place of whatever the client said.
pub(super) fn set_forwarded(headers: &mut HeaderMap, client: &Client, host: &HeaderValue, prefix: &str) {
    headers.insert(FORWARDED_FOR, client.ip.clone());
    headers.insert(CLIENT_ADDRESS, client.address.clone());
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    headers.insert(FORWARDED_HOST, host.clone());
    headers.insert(header::HOST, host.clone());
    headers.remove(header::FORWARDED);
    headers.remove("x-real-ip");
    // The router has answered it by the time that the body is read.
    headers.remove(header::EXPECT);
    match HeaderValue::from_str(prefix) {
        Ok(value) if !prefix.is_empty() => headers.insert(FORWARDED_PREFIX, value),
        _ => headers.remove(FORWARDED_PREFIX),
    };
}

fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("addresses are visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn what_connection_names_ends_here() {
        let mut map = headers(&[
            ("connection", "keep-alive, X-Secret-Hop"),
            ("x-secret-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("accept", "*/*"),
        ]);
        drop_hop_by_hop(&mut map);
        assert_eq!(map, headers(&[("accept", "*/*")]));
    }

    #[test]
    fn an_upgrade_must_be_named_by_connection() {
        assert!(wanted_upgrade(&headers(&[("upgrade", "websocket")])).is_none());
        let map = headers(&[("upgrade", "websocket"), ("connection", "keep-alive, Upgrade")]);
        assert_eq!(wanted_upgrade(&map).unwrap(), "websocket");
    }

    #[test]
    fn a_client_cannot_say_where_it_is() {
        let mut map = headers(&[
            ("x-forwarded-for", "1.2.3.4"),
            ("x-deno-client-address", "1.2.3.4:5"),
            ("x-forwarded-prefix", "/x"),
            ("forwarded", "for=1.2.3.4"),
        ]);
        let host = HeaderValue::from_static("blog.test");
        let client = Client::new("127.0.0.1:99".parse().unwrap());
        set_forwarded(&mut map, &client, &host, "");
        assert_eq!(map["x-forwarded-for"], "127.0.0.1");
        assert_eq!(map["x-deno-client-address"], "127.0.0.1:99");
        assert!(!map.contains_key("x-forwarded-prefix") && !map.contains_key("forwarded"));
        set_forwarded(&mut map, &client, &host, "/blog");
        assert_eq!(map["x-forwarded-prefix"], "/blog");
    }
}
