//! Static files that are not served, by lines as in a .gitignore (Cloudflare's `.assetsignore`).

use super::is_covered;

/// Returns `true` if the lines exclude the file with this path from the root. The last line that
/// matches decides; `*` stands for slashes too, so that rather too much is excluded.
pub(super) fn covers(lines: &[String], path: &str) -> bool {
    let rules = lines.iter().rev().filter_map(|line| Rule::parse(line));
    rules.into_iter().find(|rule| rule.matches(path)).is_some_and(|rule| !rule.is_exception)
}

struct Rule<'a> {
    pattern: &'a str,
    is_exception: bool,
    /// `true`: the pattern is for paths from the root, not for names in any folder.
    is_anchored: bool,
}

impl<'a> Rule<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let (is_exception, rest) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest));
        let pattern = rest.trim_end_matches('/');
        let is_anchored = pattern.trim_start_matches("**/").contains('/');
        let pattern = pattern.trim_start_matches("**/").trim_start_matches('/');
        (!pattern.is_empty()).then_some(Self { pattern, is_exception, is_anchored })
    }

    /// Returns `true` if the rule matches the file or a folder above it.
    fn matches(&self, path: &str) -> bool {
        if !self.is_anchored {
            return path.split('/').any(|name| is_covered(self.pattern, name));
        }
        let folders = path.match_indices('/').map(|(at, _)| &path[..at]);
        folders.chain([path]).any(|path| is_covered(self.pattern, path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_a_gitignore() {
        let covered = |lines: &str, path: &str| {
            let lines: Vec<_> = lines.lines().map(str::to_owned).collect();
            covers(&lines, path)
        };
        for (lines, path, expected) in [
            ("_worker.js", "_worker.js", true),
            ("_worker.js", "_worker.js/index.js", true),
            ("_worker.js", "a/_worker.js", true),
            ("_worker.js", "worker.js", false),
            ("/a.txt", "a.txt", true),
            ("/a.txt", "b/a.txt", false),
            ("/dir/", "dir/x", true),
            ("a/b", "a/b/c", true),
            ("a/b", "x/a/b", false),
            ("**/a", "x/y/a", true),
            ("*.map", "x/y.js.map", true),
            ("*.map\n!keep.map", "x/keep.map", false),
            ("!keep.map\n*.map", "keep.map", true),
            ("# *\n\n  \n/", "x", false),
        ] {
            assert_eq!(covered(lines, path), expected, "{lines:?} {path}");
        }
    }
}
