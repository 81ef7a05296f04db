//! Heads that are rewritten before hyper reads them.
//!
//! - Upgrade offers other than WebSocket (`h2c`, `TLS/1.0`) are ignored (RFC 9110, 7.8), so hyper
//!   must not prepare to switch protocols.
//! - Some characters that browsers and servers accept in a target are not valid in `http::Uri`.
//!   They are percent-encoded as URL parsers do it, so that every parser of the URL gets the same
//!   result.

use std::borrow::Cow;

use httparse::Request;

/// Returns true if a request without a body asks to become a WebSocket (RFC 6455, 4.1).
pub(super) fn wants_websocket(request: &Request<'_, '_>) -> bool {
    let has_token = |name: &str, token: &str| {
        let values = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        let mut tokens = values.flat_map(|header| header.value.split(|byte| *byte == b','));
        tokens.any(|found| found.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    };
    request.method == Some("GET")
        && request.version == Some(1)
        && has_token("connection", "upgrade")
        && has_token("upgrade", "websocket")
}

/// Returns the head without its upgrade offers (if `without_offers`), and with a target that is
/// valid in `http::Uri`. `None` if nothing changes.
pub(super) fn rewritten(request: &Request<'_, '_>, head: &[u8], without_offers: bool) -> Option<Vec<u8>> {
    let (method, target) = (request.method?, request.path?);
    let encoded = encoded(target);
    if !without_offers && matches!(encoded, Cow::Borrowed(_)) {
        return None;
    }
    // Exactly one space separates method and target: two are refused.
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
