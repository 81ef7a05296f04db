//! The pages that browsers get with `--dev` for a project without a good version, and where no project
//! is.

use std::fmt::Write as _;

use switchyard_contract::suggest::nearest;
use switchyard_contract::visible;

use crate::live::{FailedVersion, Table};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:4rem auto;padding:0 1rem;\
color:#1d1f21;background:#fff}pre{background:#f4f4f2;padding:1rem;overflow-x:auto;border-left:4px solid #c0392b;\
white-space:pre-wrap}code{color:#c0392b}footer,small{color:#777;font-size:.85rem}a{color:#06c}\
li{margin:.3rem 0}@media(prefers-color-scheme:dark){body{color:#ddd;background:#1d1f21}pre{background:#282a2e}a{color:#6cf}}";

/// Returns the page about a project's failed build.
pub(super) fn render(project: &str, failed: &FailedVersion) -> String {
    let error = &failed.error;
    let mut page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>{project} does not build</title>\
         <meta name=viewport content=\"width=device-width\"><style>{STYLE}</style>\
         <body data-switchyard-error><h1>{project} does not build</h1>"
    );
    if let Some(file) = &error.file {
        let mut location = file.clone();
        for number in [error.line, error.column].into_iter().flatten() {
            let _ = write!(location, ":{number}");
        }
        let _ = write!(page, "<p><code>{}</code></p>", escape(&location));
    }
    let _ = write!(page, "<pre>{}</pre>", escape(&error.message));
    if let Some(frame) = &error.frame {
        let _ = write!(page, "<pre>{}</pre>", escape(frame));
    }
    let version = failed.version.as_ref().map(ToString::to_string).unwrap_or_default();
    let _ = write!(
        page,
        "<footer>{version} &middot; shown because the router runs with --dev &middot; save a fix</footer></html>"
    );
    page
}

/// Returns the page that lists all projects. `wanted` is the first segment of the request's path, which
/// leads to none.
pub(super) fn list(wanted: &str, table: &Table) -> String {
    let names: Vec<_> = table.values().map(|entry| entry.project.as_str()).collect();
    let mut page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Projects</title>\
         <meta name=viewport content=\"width=device-width\"><style>{STYLE}</style><h1>Projects</h1>"
    );
    if !wanted.is_empty() {
        let _ = write!(page, "<p>There is no project <code>{}</code>.", escape(wanted));
        if let Some(near) = nearest(wanted, &names) {
            let _ = write!(page, " Did you mean <a href=\"/{near}/\">{near}</a>?");
        }
    }
    page.push_str("<ul>");
    for entry in table.values().take(MAX_LISTED) {
        let name = entry.project.as_str();
        let state = match (&entry.live, &entry.failed) {
            (_, Some(_)) => "does not build",
            (None, None) => "is being built",
            (Some(_), None) => "",
        };
        let _ = write!(page, "<li><a href=\"/{name}/\">{name}</a> <small>{state}</small>");
    }
    page.push_str("</ul><footer>shown because the router runs with --dev</footer></html>");
    page
}

/// Projects in the list: more are not looked through by eye.
const MAX_LISTED: usize = 1_000;

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in visible::block(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use switchyard_contract::event::Diagnostic;
    use switchyard_contract::project::ProjectName;

    use super::*;

    #[test]
    fn the_page_shows_the_location_and_nothing_of_the_project_is_markup() {
        let error = Diagnostic {
            message: "<script>alert(1)</script>".into(),
            file: Some("main.ts".into()),
            line: Some(3),
            column: Some(7),
            frame: Some("3 | let x = ;".into()),
        };
        let page = render("blog", &FailedVersion::new(&ProjectName::parse("blog").unwrap(), None, error));
        assert!(page.contains("main.ts:3:7") && page.contains("3 | let x = ;"));
        assert!(!page.contains("<script>"));
    }

    #[test]
    fn nothing_of_the_project_hides_in_the_page() {
        let error = Diagnostic {
            message: "a\u{202e}b\x1b\r\nc".into(),
            file: Some("\u{200b}main.ts".into()),
            frame: Some("1 |\tx\n\u{9b}".into()),
            ..Diagnostic::default()
        };
        let page = render("blog", &FailedVersion::new(&ProjectName::parse("blog").unwrap(), None, error));
        for shown in [r"a\u{202e}b␛␍", r"\u{200b}main.ts", "1 |\tx\n", r"\u{9b}"] {
            assert!(page.contains(shown), "{shown:?} in {page:?}");
        }
    }
}
