//! Sources that name an unusable entry: the warnings, and the error if nothing else is found.

use std::collections::HashSet;

use super::files;
use crate::config::in_file;
use switchyard_contract::event::Diagnostic;

/// A source that names an entry.
#[derive(Debug, Clone)]
pub(super) struct Setting {
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
    named: Setting,
    what: String,
    kind: Kind,
}

#[derive(Default)]
pub(super) struct Misses(Vec<Miss>);

impl Misses {
    pub(super) fn add(&mut self, named: &Setting, what: String, kind: Kind) {
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
        let reasons = self.0.iter().filter(|miss| miss.kind != Kind::Tool);
        let mut seen = HashSet::new();
        let sentences = reasons.map(|miss| format!("{} {}", miss.named, miss.what));
        sentences.filter(move |sentence| seen.insert(sentence.clone()))
    }

    /// The error of a project without an entry. `file` is set only if a setting names a file that
    /// cannot be used: a static site may well have a package.json with defaults and development
    /// commands.
    pub(super) fn into_error(self) -> Diagnostic {
        let reasons = self.sentences().map(|sentence| format!("{sentence}; ")).collect::<String>();
        let message = format!(
            "no entry: {reasons}add one of {} with .{}, or name it in deno.json as \"switchyard\": {{\"entry\": …}}; \
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

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in {}", self.field, self.file)
    }
}
