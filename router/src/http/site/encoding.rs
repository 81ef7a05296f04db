//! Compressed forms of files, which lie beside them: the choice of the form that a client accepts.

use http::HeaderMap;
use http::header::ACCEPT_ENCODING;
use switchyard_protocol::coding::{named_quality, quality};

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
    let accepted = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let accepted: Vec<_> = accepted.collect();
    // The file itself is always acceptable unless the client excludes it, and loses against equal
    // qualities.
    let mut most = named_quality(&accepted, "identity").map_or(0, |quality| quality.saturating_sub(1));
    for (form, coding) in forms {
        let quality = quality(&accepted, coding);
        if quality > most {
            most = quality;
            best = Variant { file: form, coding: Some(coding), varies };
        }
    }
    best
}
