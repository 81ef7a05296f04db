//! The id by which logs know a request: the one that it came with, or a new one.

use std::cell::Cell;
use std::hash::{BuildHasher as _, RandomState};

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use switchyard_protocol::Mark;

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// One thread's.
#[derive(Debug)]
pub(super) struct RequestIds {
    random: RandomState,
    next: Cell<u64>,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        Self { random: RandomState::new(), next: Cell::new(0) }
    }

    /// Sees to it that a request has one, and that it can stand in a log.
    pub(super) fn set(&self, headers: &mut HeaderMap) {
        let mut given = headers.get_all(REQUEST_ID).into_iter().map(HeaderValue::to_str);
        let is_sane = |id: &str| Mark::parse(id).is_some();
        if !matches!((given.next(), given.next()), (Some(Ok(id)), None) if is_sane(id)) {
            headers.insert(REQUEST_ID, self.next());
        }
    }

    /// 64 bits that nobody can foresee.
    fn next(&self) -> HeaderValue {
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        let id = format!("{:016x}", self.random.hash_one(number));
        HeaderValue::try_from(id).expect("hex digits make a value")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_keeps_a_sane_id_and_gets_one_otherwise() {
        let ids = RequestIds::new();
        let with = |given: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.extend(given.map(|id| (REQUEST_ID, HeaderValue::from_str(id).unwrap())));
            ids.set(&mut headers);
            let all: Vec<_> = headers.get_all(REQUEST_ID).iter().collect();
            assert_eq!(all.len(), 1);
            all[0].to_str().unwrap().to_owned()
        };
        assert_eq!(with(Some("my-1")), "my-1");
        let made = [None, None, Some(""), Some("a b"), Some(&"x".repeat(65))].map(with);
        assert!(
            made.iter().all(|id| id.len() == 16 && id.bytes().all(|c| c.is_ascii_hexdigit())),
            "{made:?}"
        );
        assert!(made.iter().enumerate().all(|(n, id)| !made[..n].contains(id)), "{made:?}");
    }
}
