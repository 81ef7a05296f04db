//! Errors that the loader has raised. An error travels through V8 as its text alone; by that text
//! its location, and whether a fetch could fix it, are found again.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Errors that are kept: more than a failing build needs, and a project that tries many imports
/// must not fill the memory.
const MAX_KEPT: usize = 64;

/// A location in a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceLocation {
    /// URL or absolute path.
    pub(crate) file: String,
    /// 1-based.
    pub(crate) line: Option<u32>,
    /// 1-based, in UTF-16 units.
    pub(crate) column: Option<u32>,
}

/// The errors of one version.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    locations: Mutex<Vec<(String, SourceLocation)>>,
    /// Messages about packages and modules that could be fetched.
    fetchable: Mutex<Vec<String>>,
}

impl Failures {
    /// Records the location of an error.
    pub(crate) fn note(&self, message: &str, location: SourceLocation) {
        let mut locations = lock(&self.locations);
        if locations.len() < MAX_KEPT {
            locations.push((message.to_owned(), location));
        }
    }

    /// Records that a fetch could fix an error.
    pub(crate) fn note_fetchable(&self, message: &str) {
        let mut fetchable = lock(&self.fetchable);
        if fetchable.len() < MAX_KEPT {
            fetchable.push(message.to_owned());
        }
    }

    /// Returns `true` if a text contains an error that a fetch could fix.
    pub(crate) fn is_fetchable(&self, message: &str) -> bool {
        lock(&self.fetchable).iter().any(|known| message.contains(known))
    }

    /// Returns the location of the first recorded error that a text contains.
    pub(crate) fn location_of(&self, message: &str) -> Option<SourceLocation> {
        let locations = lock(&self.locations);
        locations.iter().find(|(known, _)| message.contains(known)).map(|(_, location)| location.clone())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_found_by_the_text_of_the_error() {
        let failures = Failures::default();
        let location = SourceLocation { file: "file:///p/main.ts".into(), line: Some(3), column: Some(7) };
        failures.note("no such file", location.clone());
        assert_eq!(failures.location_of("Uncaught TypeError: no such file"), Some(location));
        assert_eq!(failures.location_of("something else"), None);
    }

    #[test]
    fn an_error_that_a_fetch_could_fix_is_known_by_its_text() {
        let failures = Failures::default();
        failures.note_fetchable("no such package");
        assert!(failures.is_fetchable("Uncaught TypeError: no such package"));
        assert!(!failures.is_fetchable("no such file"));
    }
}
