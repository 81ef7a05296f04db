//! Compressed forms of files, which lie beside them: the choice of the form that a client accepts.

use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

use crate::live::LiveSite;

/// The content codings and the extensions of their files. The ones that save most come first, and
/// win among equal qualities.
const CODINGS: [(&str, &str); 3] = [("br", "br"), ("zstd", "zst"), ("gzip", "gz")];

/// The form of a file that is sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Variant {
    /// Relative to the project.
    pub(super) file: String,
    /// The content coding. `None` for the file itself.
    pub(super) coding: Option<&'static str>,
    /// Other clients may get another form.
    pub(super) varies: bool,
}

/// Chooses the form of `file` to which the client gives the highest quality.
pub(super) fn choose(site: &LiveSite, file: &str, headers: &HeaderMap) -> Variant {
    let form = |(coding, extension): (&'static str, &str)| {
        let form = format!("{file}.{extension}");
        site.has(&form).then_some((form, coding))
    };
    let mut forms = CODINGS.into_iter().filter_map(form).peekable();
    let varies = forms.peek().is_some();
    let mut best = Variant { file: file.to_owned(), coding: None, varies };
    if !varies {
        return best;
    }
    // The file itself is always acceptable unless the client excludes it, and loses against equal
    // qualities.
    let mut most = named(headers, "identity").map_or(0, |quality| quality.saturating_sub(1));
    for (form, coding) in forms {
        let quality = quality(headers, coding);
        if quality > most {
            most = quality;
            best = Variant { file: form, coding: Some(coding), varies };
        }
    }
    best
}

/// Returns the quality that the client gives to a coding, in thousandths. 0 if it does not accept
/// the coding.
fn quality(headers: &HeaderMap, coding: &str) -> u16 {
    named(headers, coding).or_else(|| named(headers, "*")).unwrap_or_default()
}

fn named(headers: &HeaderMap, coding: &str) -> Option<u16> {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut codings = values.flat_map(|value| value.split(',')).map(|item| {
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
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_quality_of_a_coding_is_read_as_it_is_written() {
        let headers: HeaderMap =
            [("GZIP;q=0.8, br ; Q=0.25,zstd;q=0,identity;q=0.5", 800), ("x, gzip", 1000)]
                .into_iter()
                .take(1)
                .map(|(value, _)| (ACCEPT_ENCODING, HeaderValue::from_static(value)))
                .collect();
        let qualities = ["gzip", "br", "zstd", "deflate", "identity"].map(|coding| quality(&headers, coding));
        assert_eq!(qualities, [800, 250, 0, 0, 500]);
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
        let star: HeaderMap =
            [(ACCEPT_ENCODING, HeaderValue::from_static("br;q=0, *"))].into_iter().collect();
        assert_eq!(["br", "gzip"].map(|coding| quality(&star, coding)), [0, 1000]);
    }
}
