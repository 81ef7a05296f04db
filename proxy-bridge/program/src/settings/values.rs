//! Parsers of single values. Their errors state the expected form.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::units::{InvalidSize, InvalidSpan, PlainNumber, Size, Span};

/// A value that its setting does not accept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidValue {
    #[error(transparent)]
    Time(#[from] InvalidSpan),
    #[error(transparent)]
    Size(#[from] InvalidSize),
    #[error("invalid number {0:?}: expected a whole number of at least {1}")]
    Number(String, u64),
    #[error("invalid value {value:?}: expected at least {least}")]
    TooSmall {
        /// The value as it was given.
        value: String,
        /// The smallest valid value, with its unit.
        least: String,
    },
    #[error(
        "invalid address {0:?}: expected IP:PORT, such as 127.0.0.1:8000 or [::1]:8000, or :8000 for this machine alone"
    )]
    Address(String),
    #[error("invalid URL {0:?}: expected http://… or https://…")]
    Url(String),
}

/// A time of at least `least`. A number without a unit is in milliseconds.
pub fn time(
    least: Duration,
) -> impl Fn(&str) -> Result<Duration, InvalidValue> + Clone + Send + Sync + 'static {
    move |text| {
        let time = Span::parse(text, PlainNumber::Milliseconds)?.0;
        at_least(text, time, least, Span)
    }
}

/// A size of at least `least` bytes. A number without a unit is in bytes.
pub fn size<T: TryFrom<u64> + Send + Sync + Clone + 'static>(
    least: u64,
) -> impl Fn(&str) -> Result<T, InvalidValue> + Clone + Send + Sync + 'static {
    move |text| {
        let Size(bytes) = text.parse()?;
        let bytes = at_least(text, bytes, least, Size)?;
        T::try_from(bytes).map_err(|_| InvalidSize(text.to_owned()).into())
    }
}

/// A whole number of at least `least`.
pub fn number<T: TryFrom<u64> + Send + Sync + Clone + 'static>(
    least: u64,
) -> impl Fn(&str) -> Result<T, InvalidValue> + Clone + Send + Sync + 'static {
    move |text| {
        let number = text.parse().ok().filter(|number| *number >= least);
        let number = number.and_then(|number: u64| T::try_from(number).ok());
        number.ok_or_else(|| InvalidValue::Number(text.to_owned(), least))
    }
}

/// An IP address and a port. `8000`, `:8000` and `localhost:8000` are ports of 127.0.0.1: an address
/// that other machines can reach is written out.
///
/// # Errors
/// The text is anything else, such as a host name.
pub fn address(text: &str) -> Result<SocketAddr, InvalidValue> {
    let port = text.strip_prefix("localhost:").or_else(|| text.strip_prefix(':')).unwrap_or(text);
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let local = port.parse().ok().filter(|_| is_number).map(|port| (Ipv4Addr::LOCALHOST, port).into());
    let address = local.or_else(|| text.parse().ok());
    address.ok_or_else(|| InvalidValue::Address(text.to_owned()))
}

/// An HTTP URL, by its scheme.
///
/// # Errors
/// The text has another scheme or none.
pub fn http_url(text: &str) -> Result<String, InvalidValue> {
    let is_http = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
    is_http.then(|| text.to_owned()).ok_or_else(|| InvalidValue::Url(text.to_owned()))
}

fn at_least<T: PartialOrd, S: fmt::Display>(
    text: &str,
    value: T,
    least: T,
    shown: impl Fn(T) -> S,
) -> Result<T, InvalidValue> {
    if value < least {
        return Err(InvalidValue::TooSmall { value: text.to_owned(), least: shown(least).to_string() });
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_one_of_this_machine() {
        for text in ["8000", ":8000", "localhost:8000", "127.0.0.1:8000"] {
            assert_eq!(address(text), Ok(SocketAddr::from(([127, 0, 0, 1], 8000))), "{text}");
        }
        assert_eq!(address("0.0.0.0:1"), Ok(SocketAddr::from(([0, 0, 0, 0], 1))));
        assert!(address("[::1]:80").is_ok());
        for text in ["", ":", "localhost", "example.com:80", "70000", "+80", ":-1"] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
