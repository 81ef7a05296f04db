//! Checks of packages' names before they are installed.

use anyhow::ensure;

use super::factory::Installer;
use super::package_names::{aliased, error};

/// Checks the names of dependencies in the project's own package.json files.
///
/// # Errors
/// The first invalid name, with its file and field.
pub(super) fn check_manifests(installer: &Installer) -> anyhow::Result<()> {
    let workspace = &installer.workspace_factory().workspace_directory()?.workspace;
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

/// Checks the names of all chosen packages and of their dependencies, from lock files, manifests
/// and registries alike.
///
/// # Errors
/// The first invalid name, with the package that depends on it.
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
