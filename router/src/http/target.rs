//! What a request is aimed at: one host and one path, computed once, used for routing and handed on.

use std::borrow::Cow;

use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Uri};

/// The host of a request as it is handed on: with its port, as the client wrote it.
///
/// `None` when it names none, or more than one.
pub(super) fn authority(uri: &Uri, headers: &HeaderMap) -> Option<HeaderValue> {
    if let Some(authority) = uri.authority() {
        return HeaderValue::from_str(authority.as_str()).ok();
    }
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next()?;
    hosts.next().is_none().then(|| host.clone())
}

/// The host without port, lower case, without the root's dot: what routes are looked up by.
pub(super) fn host_name(authority: &str) -> Cow<'_, str> {
    let end = match authority.rfind(']') {
        Some(bracket) => bracket + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let name = authority[..end].trim_end_matches('.');
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// The path and query behind `prefix`, in origin form: `/blog/x?y` behind `/blog` is `/x?y`.
pub(super) fn behind(uri: &Uri, prefix: &str) -> Option<Uri> {
    let whole = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let rest = &whole[prefix.len()..];
    let origin = if rest.starts_with('/') { Cow::Borrowed(rest) } else { Cow::Owned(format!("/{rest}")) };
    origin.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_has_no_port_no_capitals_and_no_last_dot() {
        for (authority, name) in [
            ("Blog.localhost:8000", "blog.localhost"),
            ("[::1]:80", "[::1]"),
            ("a.", "a"),
            ("a", "a"),
            ("", ""),
        ] {
            assert_eq!(host_name(authority), name);
        }
    }

    #[test]
    fn the_path_behind_a_prefix_begins_with_a_slash() {
        let behind = |uri: &'static str| behind(&Uri::from_static(uri), "/blog").unwrap().to_string();
        assert_eq!(behind("/blog/x?y=1"), "/x?y=1");
        assert_eq!(behind("/blog"), "/");
        assert_eq!(behind("/blog?y"), "/?y");
        assert_eq!(behind("http://h/blog/%2e%2e/x"), "/%2e%2e/x");
    }

    #[test]
    fn two_hosts_are_none() {
        let mut headers = HeaderMap::new();
        let uri = Uri::from_static("/");
        assert_eq!(authority(&uri, &headers), None);
        headers.append(HOST, HeaderValue::from_static("a"));
        assert_eq!(authority(&uri, &headers).unwrap(), "a");
        headers.append(HOST, HeaderValue::from_static("b"));
        assert_eq!(authority(&uri, &headers), None);
        assert_eq!(authority(&Uri::from_static("http://c/"), &headers).unwrap(), "c");
    }
}
