//! The names of packages. Deno makes paths from them in the folder that is filled: a name that
//! leads out of it is refused, and never requested.

use deno_core::url::Url;

/// The end of each error about a name.
const INVALID: &str = "is not a valid package name: it is `name` or `@scope/name`, and no part of it is empty, \
     begins with a dot, or has a backslash or a control character";

/// Returns the error for an invalid name of a package, or `None` if the name is valid.
pub(super) fn error(name: &str) -> Option<String> {
    (!is_valid(name)).then(|| format!("{name:?} {INVALID}"))
}

fn is_valid(name: &str) -> bool {
    let rest = match name.strip_prefix('@') {
        Some(scoped) => match scoped.split_once('/') {
            Some((scope, rest)) if is_part(scope) => rest,
            _ => return false,
        },
        None => name,
    };
    is_part(rest)
}

fn is_part(part: &str) -> bool {
    let is_forbidden = |character: char| matches!(character, '/' | '\\') || character.is_control();
    !part.is_empty() && !part.starts_with('.') && !part.contains(is_forbidden)
}

/// Returns the name in a version such as `npm:other@^1`.
pub(super) fn aliased(version: &str) -> Option<&str> {
    let target = version.trim().strip_prefix("npm:")?;
    let end = target.rfind('@').filter(|at| *at > 0).unwrap_or(target.len());
    Some(&target[..end])
}

/// Returns the invalid name at the end of the URL of a request for a package's versions, if it is
/// one. A last resort: nothing is written for a package that is not requested.
pub(super) fn refused(url: &Url) -> Option<String> {
    let segment = url.path_segments()?.next_back()?;
    let name = segment.replace("%2f", "/").replace("%2F", "/").replace("%5C", "\\");
    (!name.is_empty() && !is_valid(&name)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: [&str; 6] = ["a", "a.js", "@a/b", "Mixed_Case", "a..b", "!'()*~"];

    const INVALID: [&str; 15] = [
        "", ".", "..", "../a", "a/..", "a/b", "/a", "@a", "@/a", "@a/", "@a/..", "@../a", "@a/b/c", "a\\b",
        "a\0",
    ];

    #[test]
    fn names_that_lead_elsewhere_are_not_valid() {
        for name in VALID {
            assert_eq!(error(name), None);
        }
        for name in INVALID {
            assert!(error(name).is_some(), "{name:?}");
        }
    }

    #[test]
    fn the_name_in_a_request_is_known() {
        let refused =
            |path: &str| refused(&Url::parse("https://r.example/npm/").unwrap().join(path).unwrap());
        assert_eq!(refused("..%2f..%2fa").as_deref(), Some("../../a"));
        for valid in ["@a%2fb", "a", "@a/b/-/b-1.0.0.tgz", "a/-/a-1.0.0.tgz?x=1", ""] {
            assert_eq!(refused(valid), None);
        }
    }

    #[test]
    fn the_target_of_an_alias_is_known() {
        assert_eq!(aliased("npm:@a/b@^1"), Some("@a/b"));
        assert_eq!(aliased("npm:../a"), Some("../a"));
        assert_eq!(aliased("^1"), None);
    }
}
