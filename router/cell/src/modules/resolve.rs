//! Resolution of import specifiers with Deno's resolver, kept inside the version.

mod message;

use std::path::Path;

use deno_core::url::Url;
use node_resolver::NodeResolutionKind;

pub(super) use self::message::not_fetched;
use super::project::Project;
use super::{tsconfig, wrangler};

/// The beginning of Deno's error for an `npm:` specifier, or a mapping to one, that is not in
/// node_modules.
pub(super) const NO_MATCH: &str = "Could not find a matching package for 'npm:";

/// The code of Node's error for an invalid package.json.
const INVALID_CONFIG: &str = "ERR_INVALID_PACKAGE_CONFIG";

/// The reason why an import does not resolve.
pub(super) struct ResolveError {
    pub(super) message: String,
    /// `true`: fetching packages would not help, as with an invalid package that is already there.
    pub(super) is_final: bool,
}

impl ResolveError {
    fn last(message: String) -> Self {
        Self { message, is_final: true }
    }
}

/// Resolves the specifier of an import in the module `referrer`.
///
/// # Errors
/// No file of the version, package or built-in module has this name.
pub(super) fn resolve(project: &Project, raw: &str, referrer: &Url) -> Result<Url, ResolveError> {
    let renamed = match &project.worker_modules {
        Some(modules) => modules.rename(raw).map_err(|error| ResolveError::last(error.to_string()))?,
        None if raw.starts_with(wrangler::SCHEME) => {
            return Err(ResolveError::last(wrangler::UnknownModule::new(raw).to_string()));
        }
        None => None,
    };
    let raw = renamed.as_deref().unwrap_or(raw);
    if wrangler::is_internal(raw) {
        return Url::parse(raw).map_err(|error| ResolveError::last(error.to_string()));
    }
    if let Some(found) = tsconfig::find(project, raw, referrer) {
        return Ok(found);
    }
    let mode = project.cjs.get_referrer_kind(referrer);
    let resolved = project.resolver.resolve(raw, referrer, mode, NodeResolutionKind::Execution);
    if let Ok(resolution) = &resolved
        && let Some(url) = own_copy(project, &resolution.url)
    {
        return Ok(url);
    }
    if let Some(error) = project.unusable_reason(raw, referrer) {
        let message = format!("The package \"{raw}\" cannot be used: {error}");
        return Err(ResolveError::last(project.names.clean(&message)));
    }
    match resolved {
        Ok(resolution) => Ok(resolution.url),
        Err(error) => {
            let phantom = (!project.in_package(referrer)).then(|| project.phantoms.find(raw)).flatten();
            let found = phantom.and_then(|(folder, subpath)| in_package(project, &folder, subpath, referrer));
            found.ok_or_else(|| {
                let message = project.names.clean(&message::unresolved(project, raw, &error));
                let is_final = message.contains(INVALID_CONFIG);
                ResolveError { message, is_final }
            })
        }
    }
}

/// Returns the URL of the version's own copy of a module. A link in a package may lead to the
/// volume; then it is the copy in the checkout. `None` if the version has no such module.
fn own_copy(project: &Project, url: &Url) -> Option<Url> {
    let path = url.to_file_path().ok().filter(|path| !project.roots.contain(path));
    match path {
        Some(path) => Url::from_file_path(project.roots.in_checkout(&path)?).ok(),
        None => Some(url.clone()),
    }
}

/// Resolves a subpath of the package in `folder`.
fn in_package(project: &Project, folder: &Path, subpath: Option<&str>, referrer: &Url) -> Option<Url> {
    let mode = project.cjs.get_referrer_kind(referrer);
    let kind = NodeResolutionKind::Execution;
    let resolver = project.factory.node_resolver().ok()?;
    let found =
        resolver.resolve_package_subpath_from_deno_module(folder, subpath, Some(referrer), mode, kind);
    found.ok()?.into_url().ok()
}
