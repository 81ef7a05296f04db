//! Texts of requests and responses between JavaScript and frames.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use bytes::Bytes;
use deno_core::v8;
use switchyard_protocol::frame::RequestHead;

/// The header with the client's address and port, which is private to the router and the cell.
pub(super) const CLIENT: &str = "x-deno-client-address";

/// The header whose values are joined by semicolons.
pub(super) const COOKIE: &str = "cookie";

/// Returns `true` for headers that are not in the list of all headers as they are.
pub(super) fn is_apart(name: &[u8]) -> bool {
    name == COOKIE.as_bytes() || name == CLIENT.as_bytes()
}

/// Returns all values of a header, joined. `None` if there are none that a handler may see.
pub(super) fn header<'a>(head: &'a RequestHead, name: &str) -> Option<Cow<'a, [u8]>> {
    if name == CLIENT {
        return None;
    }
    let separator: &[u8] = if name == COOKIE { b"; " } else { b", " };
    let mut values = head.headers().filter(|(found, _)| *found == name.as_bytes()).map(|(_, value)| value);
    let mut joined = Cow::Borrowed(values.next()?);
    for value in values {
        let joined = joined.to_mut();
        joined.extend_from_slice(separator);
        joined.extend_from_slice(value);
    }
    Some(joined)
}

/// Returns the URL of a request as Deno's server makes it. `socket`: the path of a server's Unix
/// socket, which stands for a host that the client has not named.
pub(super) fn url<'a>(head: &'a RequestHead, socket: &Path) -> Cow<'a, [u8]> {
    let target = head.target();
    let scheme_end =
        target.windows(3).position(|part| part == b"://").filter(|at| *at > 0 && target[0] != b'/');
    if let Some(at) = scheme_end {
        let authority = &target[at + 3..];
        let path = authority.iter().position(|byte| matches!(byte, b'/' | b'?'));
        return match path {
            Some(_) => Cow::Borrowed(target),
            None => Cow::Owned([target, b"/"].concat()),
        };
    }
    let mut url = b"http+unix://".to_vec();
    match head.header("host") {
        Some(host) if !host.is_empty() => url.extend_from_slice(host),
        _ => url.extend_from_slice(encoded(socket).as_bytes()),
    }
    if !matches!(target.first(), Some(b'/' | b'*')) || (head.method() == b"OPTIONS" && target == b"*") {
        url.push(b'/');
    }
    url.extend_from_slice(target);
    Cow::Owned(url)
}

fn encoded(path: &Path) -> String {
    let mut encoded = String::new();
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(*byte));
        } else {
            // A string takes all of it.
            _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Returns the text of a body without its byte order mark, as the Fetch standard decodes it.
pub(super) fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body)
}

/// Returns a body in one piece.
pub(super) fn joined(chunks: &VecDeque<Bytes>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(chunks.iter().map(Bytes::len).sum());
    chunks.iter().for_each(|chunk| bytes.extend_from_slice(chunk));
    bytes
}

/// Makes a string of Latin-1.
pub(super) fn one_byte<'s>(scope: &v8::PinScope<'s, '_>, bytes: &[u8]) -> v8::Local<'s, v8::String> {
    let string = v8::String::new_from_one_byte(scope, bytes, v8::NewStringType::Normal);
    string.unwrap_or_else(|| v8::String::empty(scope))
}

/// Makes a string of UTF-8, with replacements of what is invalid. Empty if it is longer than
/// strings can be.
pub(super) fn string<'s>(scope: &v8::PinScope<'s, '_>, bytes: &[u8]) -> v8::Local<'s, v8::String> {
    if bytes.is_ascii() {
        return one_byte(scope, bytes);
    }
    let text = String::from_utf8_lossy(bytes);
    v8::String::new(scope, &text).unwrap_or_else(|| v8::String::empty(scope))
}

/// Writes a string as UTF-8 to the beginning of a buffer, with replacements of what has no form in
/// it. Returns its length.
pub(super) fn read(isolate: &v8::Isolate, string: v8::Local<'_, v8::String>, buffer: &mut Vec<u8>) -> usize {
    if string.is_onebyte() || string.contains_only_onebyte() {
        let bytes = room(buffer, string.length());
        string.write_one_byte_v2(isolate, 0, bytes, v8::WriteFlags::empty());
        if bytes.is_ascii() {
            return bytes.len();
        }
    }
    let bytes = room(buffer, string.utf8_length(isolate));
    string.write_utf8_v2(isolate, bytes, v8::WriteFlags::kReplaceInvalidUtf8, None)
}

/// Returns the first `length` bytes of a buffer that is reused, whatever they are.
pub(super) fn room(buffer: &mut Vec<u8>, length: usize) -> &mut [u8] {
    if buffer.len() < length {
        buffer.resize(length, 0);
    }
    &mut buffer[..length]
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use switchyard_protocol::frame::{HEADER, encode};

    use super::*;

    fn head(method: &str, target: &str, headers: &[(&str, &str)]) -> RequestHead {
        let mut frame = BytesMut::new();
        encode::request(&mut frame, 1, method, &[target], headers.iter().copied(), (b"", true)).unwrap();
        RequestHead::parse(frame.split_off(HEADER).freeze()).unwrap().0
    }

    #[test]
    fn the_url_is_the_target_or_made_of_the_host_or_of_the_socket() {
        for (method, target, host, expected) in [
            ("GET", "http://a.example/x?y", "b.example", "http://a.example/x?y"),
            ("GET", "https://a.example", "b.example", "https://a.example/"),
            ("GET", "http://a.example?x", "b.example", "http://a.example?x"),
            ("GET", "/x?u=http://c.example", "b.example", "http+unix://b.example/x?u=http://c.example"),
            ("GET", "/x", "", "http+unix://%2Frun%2Fhttp/x"),
            ("GET", "x", "b.example", "http+unix://b.example/x"),
            ("OPTIONS", "*", "b.example", "http+unix://b.example/*"),
            ("GET", "*", "b.example", "http+unix://b.example*"),
        ] {
            let head = head(method, target, &[("host", host)]);
            let url = url(&head, Path::new("/run/http"));
            assert_eq!(String::from_utf8_lossy(&url), expected, "{method} {target}");
        }
    }

    #[test]
    fn values_of_a_header_are_joined_and_the_clients_address_is_hidden() {
        let headers = [
            ("cookie", "a=1"),
            ("x", "1"),
            (CLIENT, "192.0.2.1:1"),
            ("cookie", "b=2"),
            ("x", "2"),
            ("y", ""),
        ];
        let head = head("GET", "/", &headers);
        let value =
            |name: &str| header(&head, name).map(|value| String::from_utf8_lossy(&value).into_owned());
        assert_eq!(value(COOKIE).as_deref(), Some("a=1; b=2"));
        assert_eq!(value("x").as_deref(), Some("1, 2"));
        assert_eq!(value("y").as_deref(), Some(""));
        assert_eq!((value("z"), value(CLIENT)), (None, None));
    }
}
