//! What the loader knows about the errors that it has raised. The error itself travels through V8, where only its text
//! survives; by that text its place is found again.

use std::sync::Mutex;

/// More than a build that fails needs: a project that tries many imports must not fill the memory.
const KEPT: usize = 64;

/// Where in the project something went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// URL or absolute path.
    pub(crate) file: String,
    /// 1-based.
    pub(crate) line: Option<u32>,
    /// 1-based, in UTF-16 units.
    pub(crate) column: Option<u32>,
}

#[derive(Debug, Default)]
pub(crate) struct Failures {
    places: Mutex<Vec<(String, Place)>>,
    /// What was said for want of something that could be fetched.
    lacks: Mutex<Vec<String>>,
}

impl Failures {
    pub(crate) fn note(&self, message: &str, place: Place) {
        let mut noted = self.places.lock().expect("no panic while it is held");
        if noted.len() < KEPT {
            noted.push((message.to_owned(), place));
        }
    }

    /// Remembers that a message is for want of something that could be fetched.
    pub(crate) fn note_lack(&self, message: &str) {
        let mut lacks = self.lacks.lock().expect("no panic while it is held");
        if lacks.len() < KEPT {
            lacks.push(message.to_owned());
        }
    }

    /// Whether such a message is part of this one.
    pub(crate) fn is_lack(&self, message: &str) -> bool {
        let lacks = self.lacks.lock().expect("no panic while it is held");
        lacks.iter().any(|known| message.contains(known))
    }

    /// The place that was noted with a message that is part of this one.
    pub(crate) fn place_of(&self, message: &str) -> Option<Place> {
        let noted = self.places.lock().expect("no panic while it is held");
        noted.iter().find(|(known, _)| message.contains(known)).map(|(_, place)| place.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_found_by_the_text_of_the_error() {
        let failures = Failures::default();
        let place = Place { file: "file:///p/main.ts".into(), line: Some(3), column: Some(7) };
        failures.note("no such file", place.clone());
        assert_eq!(failures.place_of("Uncaught TypeError: no such file"), Some(place));
        assert_eq!(failures.place_of("something else"), None);
    }

    #[test]
    fn a_lack_is_known_by_the_text_of_the_error() {
        let failures = Failures::default();
        failures.note_lack("no such package");
        assert!(failures.is_lack("Uncaught TypeError: no such package"));
        assert!(!failures.is_lack("no such file"));
    }
}
