//! The name of a part and of the file in it, as clients write them.
//!
//! | written | read as |
//! |---|---|
//! | `filename="größe.txt"`, in UTF-8 (browsers, curl, Node, Python's urllib3 2) | as it is |
//! | `%22`, `%0D`, `%0A` in it (browsers, curl) or `\"` (older curl) | the character |
//! | other escapes (`100%25.txt`) | as they are |
//! | `filename=plain.txt` (.NET) | as it is |
//! | `filename*=utf-8''gr%C3%B6%C3%9Fe.txt` (.NET, Python's urllib3 1) | decoded; goes before `filename` |
//! | `=?utf-8?B?…?=` alone, `%2F`, `%5C` or escapes of UTF-8 in `filename` (aiohttp), other encodings | refused |

use percent_encoding::percent_decode_str;

use super::UploadError;

/// The name and the filename in a part's headers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Disposition {
    pub(super) name: Option<String>,
    /// The file's path in the project.
    pub(super) filename: Option<String>,
}

impl Disposition {
    /// Reads the value of a part's content-disposition.
    ///
    /// # Errors
    /// It is not well formed, or holds a name that could be read as another one than was meant.
    pub(super) fn parse(header: &[u8]) -> Result<Self, UploadError> {
        Self::read(header).map_err(|refused| refused.part(&String::from_utf8_lossy(header)))
    }

    fn read(header: &[u8]) -> Result<Self, UploadError> {
        let text = std::str::from_utf8(header)
            .map_err(|_| bad("the content-disposition of a part is not UTF-8: send names in UTF-8"))?;
        let malformed = || bad(format!("the content-disposition {text:?} of a part is not well formed"));
        let parameters = parameters(text).ok_or_else(malformed)?;
        let value = |wanted: &str| {
            let mut found = parameters.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value);
            match (found.next(), found.next()) {
                (value, None) => Ok(value),
                _ => Err(bad(format!("the content-disposition {text:?} of a part has {wanted} twice"))),
            }
        };
        let filename = match (value("filename*")?, value("filename")?) {
            (Some(extended), _) => Some(extended_value(extended).map_err(|refused| refused.part(extended))?),
            (None, Some(plain)) => Some(plain_value(plain).map_err(|refused| refused.part(plain))?),
            (None, None) => None,
        };
        Ok(Self { name: value("name")?.cloned(), filename })
    }
}

/// Returns the parameters after the first `;`, with their names in lower case. `None` if they are
/// malformed.
fn parameters(text: &str) -> Option<Vec<(String, String)>> {
    let mut parameters = Vec::new();
    let mut rest = text.split_once(';').map_or("", |(_, rest)| rest).trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let end = after.find([';', ' ', '\t']).unwrap_or(after.len());
                (after[..end].to_owned(), &after[end..])
            }
        };
        parameters.push((name.trim().to_ascii_lowercase(), value));
        let after = after.trim_start();
        rest = match after.strip_prefix(';') {
            Some(next) => next.trim_start(),
            None if after.is_empty() => after,
            None => return None,
        };
    }
    Some(parameters)
}

/// Returns the text up to the closing quote, and the rest.
fn unquoted(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = quoted.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next_if(|(_, c)| matches!(c, '"' | '\\')).map_or(c, |(_, c)| c)),
            c => value.push(c),
        }
    }
    None
}

fn plain_value(plain: &str) -> Result<String, UploadError> {
    if is_encoded_word(plain) {
        return Err(bad(format!("the filename {plain:?} is a MIME word: send it in UTF-8, or in filename*")));
    }
    // Browsers and curl escape three characters and nothing else, so other escapes belong to the
    // file's own name. But a client that escapes a slash or a letter means that character.
    let lower = plain.to_ascii_lowercase();
    let decoded = percent_decode_str(plain).decode_utf8();
    let has_letters = decoded.is_ok_and(|decoded| !decoded.is_ascii() && plain.is_ascii());
    if has_letters || ["%2f", "%5c"].iter().any(|escape| lower.contains(escape)) {
        return Err(bad(format!(
            "the filename {plain:?} is percent-encoded: send it unencoded, in UTF-8, or in filename*"
        )));
    }
    Ok(plain.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n"))
}

/// RFC 8187. Only UTF-8 is read, which is the charset that every recipient must support.
fn extended_value(extended: &str) -> Result<String, UploadError> {
    let mut parts = extended.splitn(3, '\'');
    let (charset, text) = (parts.next().unwrap_or_default(), parts.nth(1));
    let text = text.filter(|_| charset.eq_ignore_ascii_case("utf-8"));
    let text = text.and_then(|text| percent_decode_str(text).decode_utf8().ok());
    let wrong =
        || bad(format!("filename*={extended} is not UTF-8: write filename*=UTF-8''name%20in%20UTF-8"));
    text.map(|text| text.into_owned()).ok_or_else(wrong)
}

/// Returns true if the text has an encoded word of RFC 2047, `=?charset?encoding?text?=`.
fn is_encoded_word(text: &str) -> bool {
    text.match_indices("=?").any(|(at, begin)| {
        let mut parts = text[at + begin.len()..].splitn(3, '?');
        let is_encoding = |encoding: &str| ["b", "q"].contains(&encoding.to_ascii_lowercase().as_str());
        parts.next().is_some_and(|charset| !charset.is_empty())
            && parts.next().is_some_and(is_encoding)
            && parts.next().is_some_and(|text| text.contains("?="))
    })
}

fn bad(detail: impl Into<String>) -> UploadError {
    UploadError::bad("filename", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filename(parameters: &str) -> Option<String> {
        let header = format!("form-data; name=\"file\"; {parameters}");
        Disposition::parse(header.as_bytes()).unwrap().filename
    }

    fn refused(header: &[u8]) -> String {
        Disposition::parse(header).unwrap_err().detail
    }

    #[test]
    fn names_are_read_as_their_clients_mean_them() {
        let table = [
            (r#"filename="src/größe.txt""#, "src/größe.txt"),
            (r#"filename="a%22b%0D%0A.ts""#, "a\"b\r\n.ts"),
            (r#"filename="a\"b.ts""#, "a\"b.ts"),
            (r#"filename="a;b, c=d.ts""#, "a;b, c=d.ts"),
            (r#"filename="100%25 a%20b.txt""#, "100%25 a%20b.txt"),
            (r#"filename="100%.txt""#, "100%.txt"),
            (r#"filename="C:\dir\x.ts""#, r"C:\dir\x.ts"),
            ("filename=plain.txt", "plain.txt"),
            ("FileName = plain.txt ;", "plain.txt"),
            ("filename*=utf-8''gr%C3%BC%C3%9Fe.txt", "grüße.txt"),
            ("filename*=UTF-8'de'gr%C3%BC%C3%9Fe%2Ftxt", "grüße/txt"),
            ("filename=\"gr__e.txt\"; filename*=UTF-8''gr%C3%BC%C3%9Fe.txt", "grüße.txt"),
            ("filename*=UTF-8''gr%C3%BC%C3%9Fe.txt; filename=\"gr__e.txt\"", "grüße.txt"),
            ("filename=\"=?utf-8?B?Z3LDvMOfZS50eHQ=?=\"; filename*=utf-8''gr%C3%BC%C3%9Fe.txt", "grüße.txt"),
            ("filename=z.txt; filename*=utf-8''z.txt", "z.txt"),
            (r#"filename="what=?b.txt""#, "what=?b.txt"),
        ];
        for (written, meant) in table {
            assert_eq!(filename(written).as_deref(), Some(meant), "{written}");
        }
    }

    #[test]
    fn a_name_within_another_value_is_not_a_parameter() {
        let header = br#"form-data; name="x; filename=evil.ts"; filename="main.ts""#;
        let disposition = Disposition::parse(header).unwrap();
        assert_eq!(disposition.name.as_deref(), Some("x; filename=evil.ts"));
        assert_eq!(disposition.filename.as_deref(), Some("main.ts"));
        assert_eq!(Disposition::parse(b"form-data; name=message").unwrap().filename, None);
    }

    #[test]
    fn ambiguous_forms_are_refused() {
        let table: [(&[u8], &str); 12] = [
            (b"form-data; filename=\"=?utf-8?B?Z3LDvMOfZS50eHQ=?=\"", "MIME word"),
            (b"form-data; filename=\"a =?ISO-8859-1?q?gr=FC?= b\"", "MIME word"),
            (b"form-data; filename=\"src%2Fa.ts\"", "percent-encoded"),
            (b"form-data; filename=\"src%5ca.ts\"", "percent-encoded"),
            (b"form-data; filename=\"gr%C3%BC%C3%9Fe.txt\"", "percent-encoded"),
            (b"form-data; filename*=iso-8859-1''gr%FC.txt", "not UTF-8"),
            (b"form-data; filename*=utf-8''gr%FC.txt", "not UTF-8"),
            (b"form-data; filename*=plain.txt", "not UTF-8"),
            (b"form-data; filename=\"gr\xfc.txt\"", "not UTF-8"),
            (b"form-data; filename=\"a\"; filename=\"b\"", "twice"),
            (b"form-data; filename=a b.txt", "well formed"),
            (b"form-data; filename=\"open", "well formed"),
        ];
        for (header, why) in table {
            let detail = refused(header);
            assert!(detail.contains(why), "{}: {detail}", String::from_utf8_lossy(header));
        }
    }
}
