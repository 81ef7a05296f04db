//! The pattern of a file trigger: a folder below `DATA_DIR`, and names in it. Pure.

/// Longest name of a file, which is the kernel's limit too.
const MAX_NAME: usize = 255;

/// Maximum number of folders in a pattern: each is opened for each look.
const MAX_DEPTH: usize = 16;

/// A pattern with one `*` in its last part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    /// The folder relative to `DATA_DIR`, without a slash at either end. Empty: `DATA_DIR` itself.
    folder: String,
    prefix: String,
    suffix: String,
}

impl Pattern {
    /// Returns `None` for text that no declaration may have.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (folder, name) = text.rsplit_once('/').unwrap_or(("", text));
        let (prefix, suffix) = name.split_once('*')?;
        let is_plain = |part: &str| !matches!(part, "" | "." | "..") && part.len() <= MAX_NAME;
        let parts = || folder.split('/').filter(|_| !folder.is_empty());
        if suffix.contains('*') || text.contains(['\0', '\\']) || folder.contains('*') {
            return None;
        }
        if !parts().all(is_plain) || parts().count() > MAX_DEPTH {
            return None;
        }
        Some(Self { folder: folder.to_owned(), prefix: prefix.to_owned(), suffix: suffix.to_owned() })
    }

    /// The folder relative to `DATA_DIR`.
    pub(super) fn folder(&self) -> &str {
        &self.folder
    }

    /// Returns true for the name of a file that starts the task. As in a shell, `*` does not stand for
    /// a dot at the beginning: programs write under such names before they rename.
    pub(super) fn matches(&self, name: &str) -> bool {
        self.fits(name) && is_usable(name)
    }

    /// Returns true for a name that matches but for its characters.
    pub(super) fn fits(&self, name: &str) -> bool {
        let has_room = name.len() >= self.prefix.len() + self.suffix.len() && name.len() <= MAX_NAME;
        let is_hidden = self.prefix.is_empty() && name.starts_with('.');
        has_room && !is_hidden && name.starts_with(&self.prefix) && name.ends_with(&self.suffix)
    }
}

/// Returns true for a name that tasks and logs can have: one without control characters.
pub(super) fn is_usable(name: &str) -> bool {
    !name.chars().any(char::is_control)
}

/// The folder beside which files are moved on: the one that has the pattern's folder, or `DATA_DIR`.
pub(super) fn base(folder: &str) -> &str {
    folder.rsplit_once('/').map_or("", |(base, _)| base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_part_of_a_name_but_a_dot_at_its_beginning() {
        let pattern = Pattern::parse("pending/*.json").unwrap();
        assert_eq!(pattern.folder(), "pending");
        for name in ["a.json", "a b.json", "a.b.json", "ä.json"] {
            assert!(pattern.matches(name), "{name}");
        }
        for name in
            [".json", ".a.json", "a.json.tmp", "a\n.json", "json", "", &format!("{}.json", "a".repeat(251))]
        {
            assert!(!pattern.matches(name), "{name:?}");
        }
        let pattern = Pattern::parse("seed-*-seed").unwrap();
        assert!(pattern.matches("seed-1-seed") && pattern.matches("seed--seed"));
        assert!(!pattern.matches("seed-seed"), "the parts do not overlap");
    }

    #[test]
    fn a_pattern_stays_below_its_folder() {
        for text in
            ["a.json", "../*.json", "a/../*.json", "/a/*.json", "a//*.json", "*/a*.json", "**", "a\\*", ""]
        {
            assert_eq!(Pattern::parse(text), None, "{text}");
        }
        assert_eq!(Pattern::parse(&format!("{}*", "a/".repeat(17))), None);
    }

    #[test]
    fn files_are_moved_on_beside_the_folder_of_the_pattern() {
        assert_eq!((base("a/b/pending"), base("pending"), base("")), ("a/b", "", ""));
    }
}
