//! The names of packages. Deno makes paths of them in the folder that is filled: none may lead out
//! of it, and none that does is asked for.

use anyhow::ensure;
use deno_config::workspace::Workspace;
use deno_core::url::Url;

use super::Installer;

/// The end of each error about a name.
const INVALID: &str = "is not a valid package name: it is `name` or `@scope/name`, and no part of it is empty, \
     begins with a dot, or has a backslash or a control character";

/// Returns why `name` cannot be the name of a package.
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

/// Checks the names that the project's own package.json files give to what is fetched.
///
/// # Errors
/// Names the file, the field and the first name that is not valid.
pub(super) fn check_manifests(workspace: &Workspace) -> anyhow::Result<()> {
    for package in workspace.package_jsons() {
        let fields = [
            ("dependencies", &package.dependencies),
            ("optionalDependencies", &package.optional_dependencies),
            ("peerDependencies", &package.peer_dependencies),
        ];
        for (field, named) in fields {
            for (name, version) in named.iter().flatten() {
                let error = error(name).or_else(|| error(aliased(version)?));
                ensure!(
                    error.is_none(),
                    "{field} of {}: {}",
                    package.path.display(),
                    error.unwrap_or_default()
                );
            }
        }
    }
    Ok(())
}

/// The name in a version like `npm:other@^1`.
fn aliased(version: &str) -> Option<&str> {
    let target = version.trim().strip_prefix("npm:")?;
    let end = target.rfind('@').filter(|at| *at > 0).unwrap_or(target.len());
    Some(&target[..end])
}

/// Checks the names of all packages that were chosen, and those that they give to each other,
/// wherever they are from: a lock file, manifests, or answers of registries.
///
/// # Errors
/// Names the first one that is not valid, and the package that depends on it.
pub(super) fn check_chosen(packages: &Installer) -> anyhow::Result<()> {
    let snapshot = packages.resolver_factory().npm_resolution().snapshot();
    for package in snapshot.all_packages_for_every_system() {
        let version = &package.id.nv;
        if let Some(error) = error(&version.name) {
            anyhow::bail!("a lock file or a registry names a package whose name is refused: {error}");
        }
        for (name, dependency) in &package.dependencies {
            let error = error(name).or_else(|| error(&dependency.nv.name));
            ensure!(error.is_none(), "npm:{version} depends on {}", error.unwrap_or_default());
        }
    }
    Ok(())
}

/// Returns the name that a request for a package's versions has at the end of its URL, where that
/// name is not valid. The last resort: nothing is written for what is not asked for.
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
