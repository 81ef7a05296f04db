//! Parsers of single values. Their errors state the expected form.

use std::fmt;
use std::net::SocketAddr;
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
    #[error("invalid address {0:?}: expected IP:PORT, such as 127.0.0.1:8000 or [::1]:8000")]
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

/// An IP address and a port.
///
/// # Errors
/// The text is anything else, such as a host name.
pub fn address(text: &str) -> Result<SocketAddr, InvalidValue> {
    text.parse().map_err(|_| InvalidValue::Address(text.to_owned()))
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
