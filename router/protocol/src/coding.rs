//! Content codings: those that a client accepts, by the header `accept-encoding`.

/// Returns the quality that a client gives to a content coding, in thousandths. 0 if it does not
/// accept the coding. `accepted`: the values of its headers.
pub fn quality(accepted: &[&str], coding: &str) -> u16 {
    named_quality(accepted, coding).or_else(|| named_quality(accepted, "*")).unwrap_or_default()
}

/// The same for a coding that the client names itself. `None`: it does not.
pub fn named_quality(accepted: &[&str], coding: &str) -> Option<u16> {
    let mut codings = accepted.iter().flat_map(|value| value.split(',')).map(|item| {
        let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
        (name.trim(), parameters)
    });
    let (_, parameters) = codings.find(|(name, _)| name.eq_ignore_ascii_case(coding))?;
    let quality = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| thousandths(value.trim()))
    });
    Some(quality.unwrap_or(1000))
}

/// Parses a number from 0 to 1 with at most three digits, in thousandths. Anything else counts as
/// 0.
fn thousandths(text: &str) -> u16 {
    let (whole, digits) = text.split_once('.').unwrap_or((text, ""));
    let is_number = digits.len() <= 3 && digits.bytes().all(|digit| digit.is_ascii_digit());
    match whole {
        "1" if is_number => 1000,
        "0" if is_number => format!("{digits:0<3}").parse().unwrap_or_default(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quality_of_a_coding_is_read_as_it_is_written() {
        let accepted = ["GZIP;q=0.8, br ; Q=0.25", "zstd;q=0,identity;q=0.5"];
        let quality_of = |coding| quality(&accepted, coding);
        assert_eq!(["gzip", "br", "zstd", "deflate", "identity"].map(quality_of), [800, 250, 0, 0, 500]);
        for (text, number) in [
            ("1", 1000),
            ("1.000", 1000),
            ("0", 0),
            ("0.5", 500),
            ("0.123", 123),
            ("2", 0),
            ("x", 0),
            ("", 0),
        ] {
            assert_eq!(thousandths(text), number, "{text}");
        }
        let star = ["br;q=0, *"];
        assert_eq!(["br", "gzip"].map(|coding| quality(&star, coding)), [0, 1000]);
    }
}
