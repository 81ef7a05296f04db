//! The paths that the operator allows, and those that a project requests. The latter are never looked up: their meaning
//! must not depend on links that the project could set.

use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use super::error::InvalidValue;

/// The scope of a path that a project requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PathScope {
    /// In the checkout, or all of the checkout.
    Inside,
    /// Absolute, without `..`.
    Absolute(PathBuf),
    /// Above the project, in a folder of the router.
    Outside,
}

impl PathScope {
    pub(super) fn of(text: &str) -> Self {
        let path = Path::new(text);
        let mut plain = PathBuf::new();
        for component in path.components() {
            match component {
                Component::CurDir => {}
                Component::ParentDir if plain.pop() || path.has_root() => {}
                Component::ParentDir => return Self::Outside,
                other => plain.push(other),
            }
        }
        if path.has_root() { Self::Absolute(plain) } else { Self::Inside }
    }
}

/// Returns the paths that `path` and `allowed` have in common, and true if that is all of `path`.
pub(super) fn intersect(path: &Path, allowed: &[PathBuf]) -> (Vec<PathBuf>, bool) {
    if allowed.iter().any(|allowed| path.starts_with(allowed)) {
        return (vec![path.to_owned()], true);
    }
    (allowed.iter().filter(|allowed| allowed.starts_with(path)).cloned().collect(), false)
}

/// Parses a path of the policy. `state` is the router's own folder.
///
/// # Errors
/// The path is not absolute, leads through a symbolic link, or overlaps with `state`.
pub(super) fn check(text: &str, state: &Path) -> Result<PathBuf, InvalidValue> {
    let PathScope::Absolute(path) = PathScope::of(text) else {
        return Err(InvalidValue::new(format_args!("invalid path {text:?}: expected an absolute path")));
    };
    match path.canonicalize() {
        // A cell opens paths without following links, so that no writer there can redirect it.
        Ok(real) if real != path => {
            return Err(InvalidValue::new(format_args!(
                "{text:?} leads through a symbolic link: use {:?}",
                real.display().to_string()
            )));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            tracing::warn!("{} is in the policy and does not exist", path.display());
        }
        Err(error) => return Err(InvalidValue::new(format_args!("{text:?} cannot be read: {error}"))),
        Ok(_) => {}
    }
    if path.starts_with(state) || state.starts_with(&path) {
        return Err(InvalidValue::new(format_args!(
            "{text:?} overlaps with the router's own folder: choose a path outside of --state {}",
            state.display()
        )));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_a_project_is_inside_it_or_absolute_or_nothing() {
        let absolute = |path: &str| PathScope::Absolute(path.into());
        for (text, scope) in [
            ("./a", PathScope::Inside),
            ("a/../b", PathScope::Inside),
            (".", PathScope::Inside),
            ("", PathScope::Inside),
            ("..", PathScope::Outside),
            ("a/../../b", PathScope::Outside),
            ("/srv/./a", absolute("/srv/a")),
            ("/srv/../etc", absolute("/etc")),
            ("/../../etc", absolute("/etc")),
        ] {
            assert_eq!(PathScope::of(text), scope, "{text}");
        }
    }

    #[test]
    fn a_path_and_those_allowed_have_the_lower_one_in_common() {
        let allowed = [PathBuf::from("/srv/a"), "/srv/b/c".into()];
        let both = |path: &str| intersect(Path::new(path), &allowed);
        assert_eq!(both("/srv/a"), (vec!["/srv/a".into()], true));
        assert_eq!(both("/srv/a/x"), (vec!["/srv/a/x".into()], true));
        assert_eq!(both("/srv/b"), (vec!["/srv/b/c".into()], false));
        assert_eq!(both("/"), (allowed.to_vec(), false));
        assert_eq!(both("/srv/ab"), (vec![], false));
    }

    #[test]
    fn the_operator_names_real_paths_and_not_the_routers_own() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("real/state")).unwrap();
        std::os::unix::fs::symlink(root.join("real"), root.join("link")).unwrap();
        let state = root.join("real/state");
        let check = |path: &str| super::check(&root.join(path).to_string_lossy(), &state);
        assert_eq!(check("real/other"), Ok(root.join("real/other")));
        assert!(check("link").unwrap_err().to_string().contains("/real"));
        for path in ["real", "real/state", "real/state/run"] {
            assert!(check(path).unwrap_err().to_string().contains("the router's own"), "{path}");
        }
        let relative = super::check("srv/shared", &state).unwrap_err().to_string();
        assert!(relative.contains("expected an absolute path"), "{relative}");
    }
}
