//! Links in `node_modules` for the project's own manifests: their dependencies under the names in
//! the manifests, the members of the workspace, and dependencies that are folders of the project.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use deno_npm_installer::package_json::{InstallWorkspacePkg, InstallWorkspacePkgDep, NpmInstallDepsProvider};
use deno_resolver::npm::get_package_folder_id_folder_name;
use switchyard_protocol::{InstallRequest, LinkTarget, PackageLink, fetched};

use super::factory::Installer;
use super::npm::NpmPackages;

/// Makes the links of the project's root, which are the same for all versions, and returns the
/// others, which are in a checkout or lead into one.
///
/// # Errors
/// A link cannot be made.
pub(super) fn make(
    packages: &Installer,
    request: &InstallRequest,
    npm: &NpmPackages,
) -> anyhow::Result<Vec<PackageLink>> {
    if !npm.is_managed() {
        return Ok(Vec::new());
    }
    let workspace = &packages.workspace_factory().workspace_directory()?.workspace;
    // Including development dependencies: those that are imported were fetched.
    let manifests = NpmInstallDepsProvider::from_workspace(workspace, false, false);
    let snapshot = packages.resolver_factory().npm_resolution().subset(&npm.cached(packages));
    let stored = |requirement| {
        let package = snapshot.resolve_pkg_from_pkg_req(requirement).ok()?;
        let folder = get_package_folder_id_folder_name(&package.get_package_cache_folder_id());
        Some(format!(".deno/{folder}/node_modules/{}", package.id.nv.name))
    };
    let (mut top, mut links) = (BTreeMap::new(), BTreeMap::new());
    for package in ordered(&manifests, &request.checkout) {
        let Some(folder) = folder_of(package, request) else { continue };
        for dependency in &package.deps {
            let at = |name: &str| format!("{folder}node_modules/{name}");
            match dependency {
                InstallWorkspacePkgDep::Remote { alias, req } => {
                    let Some(path) = stored(req) else { continue };
                    if folder.is_empty() {
                        top.entry(alias.to_string()).or_insert(path);
                    } else {
                        let to = LinkTarget::Fetched(format!("{}/{path}", fetched::NODE_MODULES));
                        links.entry(at(alias)).or_insert(to);
                    }
                }
                InstallWorkspacePkgDep::Workspace { alias, nv } => {
                    let member = manifests.workspace_pkgs().iter().find(|member| member.nv == *nv);
                    let member = member.and_then(|member| in_version(&member.target_dir, request));
                    if let Some(member) = member {
                        links.entry(at(alias)).or_insert(LinkTarget::Project(member));
                    }
                }
            }
        }
    }
    for local in manifests.local_pkgs() {
        let Some(alias) = &local.alias else { continue };
        if !local.target_dir.is_dir() {
            log::warn!(
                "the dependency \"{alias}\" is left out: package.json does not name a folder of the project"
            );
            continue;
        }
        if let Some(folder) = in_version(&local.target_dir, request).filter(|path| !path.is_empty()) {
            links.entry(format!("node_modules/{alias}")).or_insert(LinkTarget::Project(folder));
        }
    }
    let node_modules = request.folder.join(fetched::NODE_MODULES);
    for (name, path) in top {
        link(&node_modules, &name, &path)?;
    }
    Ok(links.into_iter().map(|(at, to)| PackageLink { at, to }).collect())
}

/// Returns the manifests in order: the project's, that of its workspace's root, then all others.
fn ordered<'a>(manifests: &'a NpmInstallDepsProvider, checkout: &Path) -> Vec<&'a InstallWorkspacePkg> {
    let mut packages: Vec<_> = manifests.workspace_pkgs().iter().collect();
    packages.sort_by_key(|package| (package.target_dir != checkout, !package.is_root));
    packages
}

/// Returns the folder of a member in the project, with a trailing `/`, or an empty path for the
/// root.
fn folder_of(package: &InstallWorkspacePkg, request: &InstallRequest) -> Option<String> {
    match in_version(&package.target_dir, request) {
        Some(path) if path.is_empty() => Some(path),
        Some(path) => Some(format!("{path}/")),
        None => package.is_root.then(String::new),
    }
}

/// Returns the path, relative to the project, of a folder in it or of an included one beside it
/// (`../_say`).
fn in_version(path: &Path, request: &InstallRequest) -> Option<String> {
    let path = deno_path_util::normalize_path(path.into());
    if let Ok(path) = path.strip_prefix(&request.checkout) {
        return Some(path.to_str()?.to_owned());
    }
    let path = path.strip_prefix(&request.root).ok()?.to_str()?;
    (!path.is_empty()).then(|| format!("../{path}"))
}

/// Makes `name` in `node_modules` a link to `path`, which is relative to it.
fn link(node_modules: &Path, name: &str, path: &str) -> io::Result<()> {
    let parts = if name.starts_with('@') { 2 } else { 1 };
    let is_name = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains('\\');
    if name.split('/').count() != parts || !name.split('/').all(is_name) {
        return Ok(());
    }
    let at = node_modules.join(name);
    if let Some((scope, _)) = name.split_once('/') {
        fs::create_dir_all(node_modules.join(scope))?;
    }
    match fs::remove_file(&at) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(format!("{}{path}", "../".repeat(parts - 1)), at)
}
