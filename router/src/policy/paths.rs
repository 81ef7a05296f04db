//! Files and folders: what the operator names, and what a project asks for. Of the latter nothing is looked up: what it
//! means must not depend on links that the project could set.

use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

/// What a path of a project stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// In the checkout, or all of it.
    Inside,
    /// Absolute, without `..`.
    Absolute(PathBuf),
    /// Above the project, in whatever folder the router has it.
    Outside,
}

impl Place {
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

/// What `path` and the `allowed` ones have in common, and whether that is all of `path`.
pub(super) fn meet(path: &Path, allowed: &[PathBuf]) -> (Vec<PathBuf>, bool) {
    if allowed.iter().any(|allowed| path.starts_with(allowed)) {
        return (vec![path.to_owned()], true);
    }
    (allowed.iter().filter(|allowed| allowed.starts_with(path)).cloned().collect(), false)
}

/// Takes a path that the operator names. `state` is the router's own folder.
///
/// # Errors
/// It is not absolute, leads through a symbolic link, or to the router's own.
pub(super) fn check(text: &str, state: &Path) -> Result<PathBuf, String> {
    let Place::Absolute(path) = Place::of(text) else {
        return Err(format!("{text:?} is no absolute path"));
    };
    match path.canonicalize() {
        // A cell opens without following links, so that nobody who may write there can lead it elsewhere.
        Ok(real) if real != path => {
            return Err(format!(
                "{text:?} leads through a symbolic link: write {:?}",
                real.display().to_string()
            ));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            tracing::warn!("{} is in the policy and is not there", path.display());
        }
        Err(error) => return Err(format!("{text:?} cannot be looked at: {error}")),
        Ok(_) => {}
    }
    if path.starts_with(state) || state.starts_with(&path) {
        return Err(format!(
            "{text:?} holds what is the router's own, or is in it (--state {})",
            state.display()
        ));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_a_project_is_inside_it_or_absolute_or_nothing() {
        let absolute = |path: &str| Place::Absolute(path.into());
        for (text, place) in [
            ("./a", Place::Inside),
            ("a/../b", Place::Inside),
            (".", Place::Inside),
            ("", Place::Inside),
            ("..", Place::Outside),
            ("a/../../b", Place::Outside),
            ("/srv/./a", absolute("/srv/a")),
            ("/srv/../etc", absolute("/etc")),
            ("/../../etc", absolute("/etc")),
        ] {
            assert_eq!(Place::of(text), place, "{text}");
        }
    }

    #[test]
    fn a_path_and_those_allowed_have_the_lower_one_in_common() {
        let allowed = [PathBuf::from("/srv/a"), "/srv/b/c".into()];
        let both = |path: &str| meet(Path::new(path), &allowed);
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
        assert!(check("link").unwrap_err().contains("/real"));
        for path in ["real", "real/state", "real/state/run"] {
            assert!(check(path).unwrap_err().contains("the router's own"), "{path}");
        }
        assert!(super::check("srv/shared", &state).unwrap_err().contains("no absolute path"));
    }
}
