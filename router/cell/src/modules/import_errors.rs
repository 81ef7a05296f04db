//! Errors of imports, located in the module that imports: there they can be fixed.

use deno_core::ModuleLoadReferrer;
use deno_core::url::Url;
use deno_error::JsErrorBox;

use super::code::decode;
use super::failures::SourceLocation;
use super::project::Project;
use super::resolve::{ResolveError, resolve};
use super::{imports, source};

/// Records the location of an import that does not resolve, and whether a fetch could fix it.
/// Returns the error to throw.
pub(super) fn note_unresolved(
    project: &Project,
    raw: &str,
    referrer: &Url,
    error: ResolveError,
    is_named: bool,
) -> JsErrorBox {
    let ResolveError { message, is_final } = error;
    if is_named && !is_final {
        project.failures.note_fetchable(&message);
    }
    project.failures.note(&message, location_of_import(project, referrer, |text| text == raw));
    JsErrorBox::type_error(message)
}

/// Records the location of an import of a module that cannot be loaded.
pub(super) fn note_unloadable(
    project: &Project,
    specifier: &Url,
    referrer: Option<&ModuleLoadReferrer>,
    error: &JsErrorBox,
) {
    let message = error.to_string();
    // A syntax error has been recorded with a better location already.
    if let (Some(referrer), None) = (referrer, project.failures.location_of(&message)) {
        let imports_it = |text: &str| {
            !text.contains(char::is_whitespace)
                && resolve(project, text, &referrer.specifier).is_ok_and(|url| url == *specifier)
        };
        let location = location_of_import(project, &referrer.specifier, imports_it);
        project.failures.note(&message, location);
    }
}

fn location_of_import(project: &Project, referrer: &Url, is_it: impl Fn(&str) -> bool) -> SourceLocation {
    let source = source::read(project, referrer).ok().map(decode);
    let found = source.and_then(|source| imports::find(&source, is_it));
    SourceLocation {
        file: referrer.to_string(),
        line: found.map(|(line, _)| line),
        column: found.map(|(_, column)| column),
    }
}
