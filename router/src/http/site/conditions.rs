//! Conditional requests (RFC 9110, 13). Files have no date, which would differ between volumes and
//! go back with a rollback. Therefore conditions on dates are ignored.

use http::header::{IF_MATCH, IF_NONE_MATCH, IF_RANGE};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The outcome of a request's conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConditionOutcome {
    /// The client has the content already.
    NotModified,
    /// The client expects other content.
    Failed,
    /// The whole file is sent although the client wants a range: it has a part of other content.
    Whole,
    /// The file, or the range that the client wants, is sent.
    Send,
}

/// Compares the `ETag`s that the client has with the file's strong `ETag`.
pub(super) fn evaluate(headers: &HeaderMap, etag: &HeaderValue) -> ConditionOutcome {
    if headers.contains_key(IF_MATCH) && !names(headers, &IF_MATCH, etag, false) {
        return ConditionOutcome::Failed;
    }
    if names(headers, &IF_NONE_MATCH, etag, true) {
        return ConditionOutcome::NotModified;
    }
    match headers.get(IF_RANGE) {
        Some(known) if known != etag => ConditionOutcome::Whole,
        _ => ConditionOutcome::Send,
    }
}

/// Returns true if the list in the header `name` has `etag`. `weak`: weak ones match too, which
/// compressing proxies make.
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

    fn evaluated(conditions: &[(HeaderName, &'static str)]) -> ConditionOutcome {
        let headers: HeaderMap =
            conditions.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        evaluate(&headers, &HeaderValue::from_static("\"a1\""))
    }

    #[test]
    fn a_client_that_has_the_content_gets_304() {
        for known in ["\"a1\"", "W/\"a1\"", "\"x\", \"a1\"", "\"x\",W/\"a1\" ", "*"] {
            assert_eq!(evaluated(&[(IF_NONE_MATCH, known)]), ConditionOutcome::NotModified, "{known}");
        }
        for known in ["\"x\"", "a1", "\"a1", ""] {
            assert_eq!(evaluated(&[(IF_NONE_MATCH, known)]), ConditionOutcome::Send, "{known}");
        }
    }

    #[test]
    fn a_client_that_expects_other_content_is_refused() {
        assert_eq!(evaluated(&[(IF_MATCH, "\"a1\"")]), ConditionOutcome::Send);
        assert_eq!(evaluated(&[(IF_MATCH, "*")]), ConditionOutcome::Send);
        assert_eq!(evaluated(&[(IF_MATCH, "W/\"a1\"")]), ConditionOutcome::Failed);
        assert_eq!(evaluated(&[(IF_MATCH, "\"x\""), (IF_NONE_MATCH, "\"a1\"")]), ConditionOutcome::Failed);
    }

    #[test]
    fn a_part_is_sent_to_a_client_with_a_part_of_the_same_content() {
        assert_eq!(evaluated(&[(IF_RANGE, "\"a1\"")]), ConditionOutcome::Send);
        for known in ["\"x\"", "W/\"a1\"", "Sat, 21 Nov 2026 04:26:12 GMT"] {
            assert_eq!(evaluated(&[(IF_RANGE, known)]), ConditionOutcome::Whole, "{known}");
        }
    }

    #[test]
    fn conditions_on_dates_are_ignored() {
        let date = "Sat, 21 Nov 2126 04:26:12 GMT";
        assert_eq!(evaluated(&[(http::header::IF_MODIFIED_SINCE, date)]), ConditionOutcome::Send);
        assert_eq!(evaluated(&[(http::header::IF_UNMODIFIED_SINCE, date)]), ConditionOutcome::Send);
    }
}
