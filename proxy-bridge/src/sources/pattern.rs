//! Patterns for folders and branches: `apps/*`, `feature/**`.

use std::fmt;

use globset::{GlobBuilder, GlobMatcher};

/// The longest pattern, in bytes. A path of git's may be longer, and no one writes it.
const MAX_LEN: usize = 512;

/// The characters that mean something else than themselves.
const SPECIAL: [char; 4] = ['*', '?', '[', '{'];

/// A pattern for paths with `/` between: `*` and `?` stay within one part, `**` crosses parts, and
/// `[ab]` and `{a,b}` are choices. Without any of these it is the path itself.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    /// `None` for a path without special characters.
    matcher: Option<GlobMatcher>,
}

/// A text that is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidPattern(String);

impl Pattern {
    /// Reads a pattern: relative, with `/` between parts. One `/` at the end is dropped.
    ///
    /// # Errors
    /// It has an empty part, `.` or `..` as a part, a backslash or a control character, or is not
    /// closed.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let text = text.strip_suffix('/').unwrap_or(text);
        let wrong = |what: &str| Err(InvalidPattern(format!("invalid pattern {text:?}: {what}")));
        if text.is_empty() || text.len() > MAX_LEN {
            return Err(InvalidPattern(format!("a pattern has 1 to {MAX_LEN} bytes")));
        }
        if text.starts_with('/') {
            return wrong("it is absolute: write it relative to the repository");
        }
        if text.contains('\\') {
            return wrong("it has a backslash: write / between folders, and [*] for a star");
        }
        if text.chars().any(char::is_control) {
            return wrong("it has a control character: take it out");
        }
        if text.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return wrong("a part is empty, \".\" or \"..\": write it as git lists it, as in \"apps/*\"");
        }
        let matcher = match text.contains(SPECIAL) {
            false => None,
            true => {
                let glob = GlobBuilder::new(text).literal_separator(true).backslash_escape(false).build();
                match glob {
                    Ok(glob) => Some(glob.compile_matcher()),
                    Err(error) => return wrong(&format!("{}: fix it", error.kind())),
                }
            }
        };
        Ok(Self { text: text.to_owned(), matcher })
    }

    /// Returns the pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the path, if the pattern stands for exactly one.
    pub fn literal(&self) -> Option<&str> {
        self.matcher.is_none().then_some(self.text.as_str())
    }

    /// Returns the number of parts at the beginning that stand for themselves.
    pub fn literal_parts(&self) -> usize {
        self.text.split('/').take_while(|part| !part.contains(SPECIAL)).count()
    }

    /// Returns the text that all paths begin with which the pattern stands for.
    pub fn beginning(&self) -> &str {
        let end = if self.matcher.is_some() { self.text.find(SPECIAL) } else { None };
        self.text.get(..end.unwrap_or(self.text.len())).unwrap_or_default()
    }

    /// Returns true if the pattern stands for `path` too.
    pub fn matches(&self, path: &str) -> bool {
        match &self.matcher {
            Some(matcher) => matcher.is_match(path),
            None => self.text == path,
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_in_one_part_and_two_cross_parts() {
        for (pattern, path, matches) in [
            ("apps/*", "apps/api", true),
            ("apps/*/", "apps/api", true),
            ("apps/*", "apps/api/lib", false),
            ("apps/*", "apps", false),
            ("apps/**", "apps/api/lib", true),
            ("apps/**", "apps", false),
            ("**/fn-*", "a/b/fn-c", true),
            ("{apps,sites}/[a-c]*", "sites/blog", true),
            ("{apps,sites}/[a-c]*", "sites/shop", false),
            ("apps/api", "apps/api", true),
            ("apps/api", "apps/API", false),
            ("a[*]b", "a*b", true),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(path), matches, "{pattern} {path}");
        }
        assert_eq!(Pattern::parse("apps/api/").unwrap().literal(), Some("apps/api"));
        assert_eq!(Pattern::parse("a/b/c*/d").unwrap().literal_parts(), 2);
        for (pattern, beginning) in [("feature/*", "feature/"), ("*", ""), ("a/{b,c}", "a/"), ("dev", "dev")]
        {
            assert_eq!(Pattern::parse(pattern).unwrap().beginning(), beginning);
        }
    }

    #[test]
    fn a_pattern_stays_in_the_repository() {
        for (pattern, says) in [
            ("", "1 to 512"),
            ("/", "1 to 512"),
            ("/apps", "absolute"),
            ("apps\\api", "backslash"),
            ("../apps", "\"..\""),
            ("apps//api", "empty"),
            ("./apps", "\".\""),
            ("apps/[a", "fix it"),
            ("apps/{a", "fix it"),
            ("apps/a\nb", "control"),
            (&"a".repeat(513), "1 to 512"),
        ] {
            let error = Pattern::parse(pattern).unwrap_err().to_string();
            assert!(error.contains(says), "{pattern:?}: {error}");
        }
    }
}
