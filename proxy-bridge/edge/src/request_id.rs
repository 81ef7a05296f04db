//! Request ids (`x-request-id`) that logs can show: the client's own, or a new one.

use std::cell::Cell;
use std::hash::{BuildHasher as _, RandomState};

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use switchyard_contract::bounds::REQUEST_ID as MAX_LENGTH;

/// The header that carries the id, from the first hop to the project's log.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A generator of request ids. Each thread has its own.
#[derive(Debug, Default)]
pub struct RequestIds {
    random: RandomState,
    next: Cell<u64>,
}

impl RequestIds {
    /// Keeps the id of a request if it has one valid id, and replaces anything else with a new id.
    /// Returns the id.
    pub fn set(&self, headers: &mut HeaderMap) -> HeaderValue {
        let mut given = headers.get_all(REQUEST_ID).into_iter();
        if let (Some(id), None) = (given.next(), given.next())
            && id.to_str().is_ok_and(is_valid)
        {
            return id.clone();
        }
        let id = self.next();
        headers.insert(REQUEST_ID, id.clone());
        id
    }

    /// Returns a new id: 64 unpredictable bits, as hexadecimal digits.
    pub fn next(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.next_digits()).expect("hexadecimal digits are a valid header value")
    }

    fn next_digits(&self) -> [u8; 16] {
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        let bits = self.random.hash_one(number);
        std::array::from_fn(|digit| b"0123456789abcdef"[(bits >> (60 - 4 * digit)) as usize & 15])
    }

    /// Returns the id of a request: `given`, if that is valid, and otherwise a new one, in `new`.
    pub fn choose<'i>(&self, given: Option<&'i [u8]>, new: &'i mut [u8; 16]) -> &'i str {
        let given = given.and_then(|id| std::str::from_utf8(id).ok()).filter(|id| is_valid(id));
        given.unwrap_or_else(|| {
            *new = self.next_digits();
            std::str::from_utf8(new).expect("hexadecimal digits are ASCII")
        })
    }
}

/// Returns true for 1 to 64 letters, digits and `-_.:/+=@`, which a log can show as they are.
fn is_valid(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(&byte);
    (1..=MAX_LENGTH).contains(&id.len()) && id.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_keeps_a_valid_id_and_gets_one_otherwise() {
        let ids = RequestIds::default();
        let with = |given: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.extend(given.map(|id| (REQUEST_ID, HeaderValue::from_str(id).unwrap())));
            let id = ids.set(&mut headers);
            assert_eq!(headers.get_all(REQUEST_ID).iter().collect::<Vec<_>>(), [&id]);
            id.to_str().unwrap().to_owned()
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
