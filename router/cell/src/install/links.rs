//! The view of the project's own manifests in `node_modules`: their dependencies under the names
//! that they give them, and the members of its workspace and its dependencies that are folders of
//! it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use deno_npm_installer::package_json::{InstallWorkspacePkg, InstallWorkspacePkgDep, NpmInstallDepsProvider};
use deno_resolver::npm::get_package_folder_id_folder_name;
use switchyard_protocol::{Install, Link, Target, fetched};

use super::Installer;
use super::npm::Npm;

/// Makes the links of the project's root, which are the same for all versions, and returns the
/// others: they lead into a checkout, or are in one.
pub(super) fn make(packages: &Installer, request: &Install, npm: &Npm) -> anyhow::Result<Vec<Link>> {
    if !npm.is_managed() {
        return Ok(Vec::new());
    }
    let workspace = &packages.workspace_factory().workspace_directory()?.workspace;
    // Also what is there for development: that which is imported was fetched.
    let manifests = NpmInstallDepsProvider::from_workspace(workspace, false, false);
    let snapshot = packages.resolver_factory().npm_resolution().subset(&npm.cached(packages));
    let stored = |requirement| {
        let package = snapshot.resolve_pkg_from_pkg_req(requirement).ok()?;
        let folder = get_package_folder_id_folder_name(&package.get_package_cache_folder_id());
        Some(format!(".deno/{folder}/node_modules/{}", package.id.nv.name))
    };
    let (mut top, mut links) = (BTreeMap::new(), BTreeMap::new());
    for package in in_order(&manifests, &request.checkout) {
        let Some(folder) = folder_of(package, request) else { continue };
        for dependency in &package.deps {
            let at = |name: &str| format!("{folder}node_modules/{name}");
            match dependency {
                InstallWorkspacePkgDep::Remote { alias, req } => {
                    let Some(path) = stored(req) else { continue };
                    if folder.is_empty() {
                        top.entry(alias.to_string()).or_insert(path);
                    } else {
                        let to = Target::Fetched(format!("{}/{path}", fetched::NODE_MODULES));
                        links.entry(at(alias)).or_insert(to);
                    }
                }
                InstallWorkspacePkgDep::Workspace { alias, nv } => {
                    let member = manifests.workspace_pkgs().iter().find(|member| member.nv == *nv);
                    let member = member.and_then(|member| in_version(&member.target_dir, request));
                    if let Some(member) = member {
                        links.entry(at(alias)).or_insert(Target::Project(member));
                    }
                }
            }
        }
    }
    for local in manifests.local_pkgs() {
        let Some(alias) = &local.alias else { continue };
        if !local.target_dir.is_dir() {
            log::warn!(
                "the dependency \"{alias}\" is left out: what package.json names is not a folder of the project"
            );
            continue;
        }
        if let Some(folder) = in_version(&local.target_dir, request).filter(|path| !path.is_empty()) {
            links.entry(format!("node_modules/{alias}")).or_insert(Target::Project(folder));
        }
    }
    let node_modules = request.folder.join(fetched::NODE_MODULES);
    for (name, path) in top {
        link(&node_modules, &name, &path)?;
    }
    Ok(links.into_iter().map(|(at, to)| Link { at, to }).collect())
}

/// The project itself, then the root of the workspace that it is in, then all others.
fn in_order<'a>(manifests: &'a NpmInstallDepsProvider, checkout: &Path) -> Vec<&'a InstallWorkspacePkg> {
    let mut packages: Vec<_> = manifests.workspace_pkgs().iter().collect();
    packages.sort_by_key(|package| (package.target_dir != checkout, !package.is_root));
    packages
}

/// The folder of a member in the project, with `/` at its end; none for the root of all.
fn folder_of(package: &InstallWorkspacePkg, request: &Install) -> Option<String> {
    match in_version(&package.target_dir, request) {
        Some(path) if path.is_empty() => Some(path),
        Some(path) => Some(format!("{path}/")),
        None => package.is_root.then(String::new),
    }
}

/// The path, relative to the project, of a folder in it or of one beside it that it includes
/// (`../_say`).
fn in_version(path: &Path, request: &Install) -> Option<String> {
    let path = deno_path_util::normalize_path(path.into());
    if let Ok(path) = path.strip_prefix(&request.checkout) {
        return Some(path.to_str()?.to_owned());
    }
    let path = path.strip_prefix(&request.root).ok()?.to_str()?;
    (!path.is_empty()).then(|| format!("../{path}"))
}

/// Has `name` in `node_modules` lead to `path`, which is relative to it.
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
