//! Conditional requests (RFC 9110, 13). A file has no date: it would differ between volumes, and go
//! back with a rollback. Conditions on dates are ignored, as for anything without one.

use http::header::{IF_MATCH, IF_NONE_MATCH, IF_RANGE};
use http::{HeaderMap, HeaderName, HeaderValue};

/// What is sent of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    NotModified,
    /// The client wants to do something with another content.
    Failed,
    /// All of it, although a range is wanted: the client has a part of another content.
    Whole,
    Send,
}

/// Compares what the client knows with a file's strong `ETag`.
pub(super) fn judge(headers: &HeaderMap, etag: &HeaderValue) -> Verdict {
    if headers.contains_key(IF_MATCH) && !names(headers, &IF_MATCH, etag, false) {
        return Verdict::Failed;
    }
    if names(headers, &IF_NONE_MATCH, etag, true) {
        return Verdict::NotModified;
    }
    match headers.get(IF_RANGE) {
        Some(known) if known != etag => Verdict::Whole,
        _ => Verdict::Send,
    }
}

/// Returns `true` when `name` has `etag` in its list. `weak`: also one that is marked as weak, as
/// proxies that compress do.
fn names(headers: &HeaderMap, name: &HeaderName, etag: &HeaderValue, weak: bool) -> bool {
    let values = headers.get_all(name).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    values.map(<[u8]>::trim_ascii).any(|known| {
        let strong = known.strip_prefix(b"W/").filter(|_| weak).unwrap_or(known);
        strong == etag.as_bytes() || known == b"*"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(conditions: &[(HeaderName, &'static str)]) -> Verdict {
        let headers: HeaderMap =
            conditions.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        judge(&headers, &HeaderValue::from_static("\"a1\""))
    }

    #[test]
    fn a_client_that_has_the_content_is_told_so() {
        for known in ["\"a1\"", "W/\"a1\"", "\"x\", \"a1\"", "\"x\",W/\"a1\" ", "*"] {
            assert_eq!(judged(&[(IF_NONE_MATCH, known)]), Verdict::NotModified, "{known}");
        }
        for known in ["\"x\"", "a1", "\"a1", ""] {
            assert_eq!(judged(&[(IF_NONE_MATCH, known)]), Verdict::Send, "{known}");
        }
    }

    #[test]
    fn a_client_that_wants_another_content_is_refused() {
        assert_eq!(judged(&[(IF_MATCH, "\"a1\"")]), Verdict::Send);
        assert_eq!(judged(&[(IF_MATCH, "*")]), Verdict::Send);
        assert_eq!(judged(&[(IF_MATCH, "W/\"a1\"")]), Verdict::Failed);
        assert_eq!(judged(&[(IF_MATCH, "\"x\""), (IF_NONE_MATCH, "\"a1\"")]), Verdict::Failed);
    }

    #[test]
    fn a_part_is_sent_to_a_client_with_a_part_of_the_same_content() {
        assert_eq!(judged(&[(IF_RANGE, "\"a1\"")]), Verdict::Send);
        for known in ["\"x\"", "W/\"a1\"", "Sat, 21 Nov 2026 04:26:12 GMT"] {
            assert_eq!(judged(&[(IF_RANGE, known)]), Verdict::Whole, "{known}");
        }
    }

    #[test]
    fn conditions_on_dates_are_ignored() {
        let date = "Sat, 21 Nov 2126 04:26:12 GMT";
        assert_eq!(judged(&[(http::header::IF_MODIFIED_SINCE, date)]), Verdict::Send);
        assert_eq!(judged(&[(http::header::IF_UNMODIFIED_SINCE, date)]), Verdict::Send);
    }
}
