//! Sources that name an unusable entry: the warnings, and the error if nothing else is found.

use std::collections::HashSet;

use super::files;
use crate::config::in_file;
use switchyard_contract::event::Diagnostic;

/// A source that names an entry.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) file: &'static str,
    pub(super) field: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The source names a file that is missing, outside the project, or not a program.
    File,
    /// A value that `npm init` wrote, or a page.
    LeftOver,
    /// A command from which no file could be read.
    Unclear,
    /// A command for developers. Not reported.
    Tool,
}

/// One source, with the reason: `runs server.js, which does not exist`.
struct Miss {
    named: Named,
    what: String,
    kind: Kind,
}

#[derive(Default)]
pub(super) struct Misses(Vec<Miss>);

impl Misses {
    pub(super) fn add(&mut self, named: &Named, what: String, kind: Kind) {
        self.0.push(Miss { named: named.clone(), what, kind });
    }

    pub(super) fn is_last(&self, kind: Kind) -> bool {
        self.0.last().is_some_and(|miss| miss.kind == kind)
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Drops all but the first `count`.
    pub(super) fn forget_after(&mut self, count: usize) {
        self.0.truncate(count);
    }

    /// Returns one sentence for each, except for developer commands and repetitions.
    pub(super) fn sentences(&self) -> impl Iterator<Item = String> {
        let told = self.0.iter().filter(|miss| miss.kind != Kind::Tool);
        let mut seen = HashSet::new();
        let sentences = told.map(|miss| format!("{} {}", miss.named, miss.what));
        sentences.filter(move |sentence| seen.insert(sentence.clone()))
    }

    /// The error of a project that has no entry. `file` is set only when a place names a file that cannot be used:
    /// a static site may well have a package.json with defaults and commands for developers.
    pub(super) fn into_error(self) -> Diagnostic {
        let told = self.sentences().map(|sentence| format!("{sentence}; ")).collect::<String>();
        let message = format!(
            "no entry: {told}add one of {} with .{}, or name it in deno.json as \"switchyard\": {{\"entry\": …}}; \
             if it is no project, give the folder a name that begins with _",
            files::STEMS.join(", "),
            files::EXTENSIONS.join(" .")
        );
        match self.0.iter().find(|miss| miss.kind == Kind::File) {
            Some(miss) => in_file(miss.named.file, message),
            None => Diagnostic { message, ..Diagnostic::default() },
        }
    }
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in {}", self.field, self.file)
    }
}
