//! Heads that hyper is given in another form.
//!
//! - Offers to upgrade that are not WebSocket (`h2c`, `TLS/1.0`) are ignored (RFC 9110, 7.8), so hyper must
//!   not prepare to switch protocols.
//! - Some characters that browsers and servers take in a target as they are, `http::Uri` cannot hold. They are
//!   percent-encoded as a URL parser does it: whoever parses the URL finds the same.

use std::borrow::Cow;

use httparse::Request;

/// Whether a request without a body asks to become a WebSocket (RFC 6455, 4.1).
pub(super) fn wants_websocket(request: &Request<'_, '_>) -> bool {
    let says = |name: &str, token: &str| {
        let values = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        let mut tokens = values.flat_map(|header| header.value.split(|byte| *byte == b','));
        tokens.any(|found| found.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    };
    request.method == Some("GET")
        && request.version == Some(1)
        && says("connection", "upgrade")
        && says("upgrade", "websocket")
}

/// The head without its offers to upgrade (if `without_offers`), and with a target that `http::Uri` takes. `None`:
/// it stays as it is.
pub(super) fn rewritten(request: &Request<'_, '_>, head: &[u8], without_offers: bool) -> Option<Vec<u8>> {
    let (method, target) = (request.method?, request.path?);
    let encoded = encoded(target);
    if !without_offers && matches!(encoded, Cow::Borrowed(_)) {
        return None;
    }
    // One space is between method and target: two are refused.
    let rest = &head[method.len() + 1 + target.len()..];
    let mut text = [method.as_bytes(), b" ", encoded.as_bytes()].concat();
    for line in rest.split_inclusive(|byte| *byte == b'\n') {
        if !(without_offers && is_offer(line)) {
            text.extend_from_slice(line);
        }
    }
    Some(text)
}

fn is_offer(line: &[u8]) -> bool {
    let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
    name.eq_ignore_ascii_case(b"upgrade") || name.eq_ignore_ascii_case(b"http2-settings")
}

fn encoded(target: &str) -> Cow<'_, str> {
    if !target.bytes().any(|byte| matches!(byte, b'"' | b'<' | b'>' | b'`')) {
        return Cow::Borrowed(target);
    }
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let mut text = String::with_capacity(target.len() + 16);
    encode(path, &['<', '>', '`'], &mut text);
    if let Some(query) = query {
        text.push('?');
        encode(query, &['<', '>', '"'], &mut text);
    }
    Cow::Owned(text)
}

fn encode(part: &str, special: &[char], text: &mut String) {
    for character in part.chars() {
        if special.contains(&character) {
            text.push_str(&format!("%{:02X}", u32::from(character)));
        } else {
            text.push(character);
        }
    }
}
