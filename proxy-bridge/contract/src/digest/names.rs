//! The names below a project that count in its digest, and those that are invalid.

/// Folders that are never entered: history, and packages that a package manager can install again
/// from the lock file (which counts).
const FOLDERS_LEFT_OUT: [&[u8]; 2] = [b".git", b"node_modules"];

/// Returns true if a folder of that name (not a path) can hold files that count.
pub fn is_entered(name: impl AsRef<[u8]>) -> bool {
    !FOLDERS_LEFT_OUT.contains(&name.as_ref())
}

/// Returns true if the file at that path, relative to the project and with `/` between, counts.
///
/// Everything below `.git/` and `node_modules/` is left out at any depth (and a `.git` file, as git
/// worktrees have), and so are leftovers of editors by the file's own name: `.#*`, `*~`, `*.swp`,
/// `*.swx`, `4913` and `.DS_Store`. A folder with the name of a leftover counts.
pub fn is_counted(path: impl AsRef<[u8]>) -> bool {
    let path = path.as_ref();
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    path.split(|byte| *byte == b'/').all(is_entered) && !is_leftover(name)
}

fn is_leftover(name: &[u8]) -> bool {
    name.starts_with(b".#")
        || [b"~".as_slice(), b".swp", b".swx"].iter().any(|end| name.ends_with(end))
        || [b"4913".as_slice(), b".DS_Store"].contains(&name)
}

/// A path that makes its project invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the name {shown:?} has a control character: rename it")]
pub struct InvalidPath {
    /// The path. Bytes that are not UTF-8 are replaced.
    pub shown: String,
}

/// Refuses control characters (C0, delete and C1) anywhere in a relative path. They would make the
/// text under the digest ambiguous, and confuse logs and URLs. Bytes that are not UTF-8 are
/// allowed.
///
/// # Errors
/// The path has a control character.
pub fn check_path(path: impl AsRef<[u8]>) -> Result<(), InvalidPath> {
    let shown = String::from_utf8_lossy(path.as_ref());
    if shown.chars().any(char::is_control) {
        return Err(InvalidPath { shown: shown.into_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_lock_files_and_hidden_files_count() {
        for path in [
            "main.ts",
            "a/b/c.json",
            "package-lock.json",
            "deno.lock",
            ".env",
            ".gitignore",
            "swp",
            "a.swp.ts",
            "49130",
            "node_modules.ts",
            "4913/data.json",
            "old~/main.ts",
        ] {
            assert!(is_counted(path), "{path} should count");
        }
    }

    #[test]
    fn history_packages_and_leftovers_do_not_count() {
        for path in [
            ".git",
            ".git/HEAD",
            "vendor/lib/.git/config",
            "node_modules/express/index.js",
            "packages/a/node_modules/b.js",
            ".#main.ts",
            "src/.#main.ts",
            "main.ts~",
            "~",
            ".main.ts.swp",
            "src/.main.ts.swx",
            "4913",
            "src/4913",
            ".DS_Store",
            "src/.DS_Store",
        ] {
            assert!(!is_counted(path), "{path} should not count");
        }
    }

    #[test]
    fn a_name_with_a_control_character_is_invalid() {
        for path in ["a\nb", "a\rb", "tab\t.ts", "dir\u{7}/x", "del\u{7f}", "c1\u{85}"] {
            assert!(check_path(path).is_err(), "{path:?} should be invalid");
        }
        let error = check_path("a\nb").unwrap_err();
        assert_eq!(error.to_string(), r#"the name "a\nb" has a control character: rename it"#);
    }

    #[test]
    fn spaces_backslashes_and_other_alphabets_are_valid() {
        for path in ["with space", "back\\slash", "日本/🎉.ts", "quote\"'`"] {
            assert_eq!(check_path(path), Ok(()));
        }
        assert_eq!(check_path(b"latin-\xe9.txt"), Ok(()));
    }
}
