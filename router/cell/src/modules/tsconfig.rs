//! Resolution by `paths` and `baseUrl` in tsconfig.json, which bundlers follow and Deno does not.

use deno_core::url::Url;
use deno_resolver::deno_json::CompilerOptionsData;
use node_resolver::NodeResolutionKind;

use super::project::Project;

/// Returns the file of a Worker's project that a bare specifier stands for by tsconfig.json, if
/// any.
pub(super) fn find(project: &Project, raw: &str, referrer: &Url) -> Option<Url> {
    let is_bare = !raw.starts_with(['.', '/', '#']) && Url::parse(raw).is_err();
    if project.worker_modules.is_none() || !is_bare || project.in_package(referrer) {
        return None;
    }
    let options = project.factory.compiler_options_resolver().ok()?.for_specifier(referrer);
    let by_paths = options.paths().resolve_candidates(raw).into_iter().flat_map(|(candidates, _)| candidates);
    let by_base = base_url(options).and_then(|base| base.join(raw).ok());
    by_paths.chain(by_base).find_map(|candidate| probe(project, &candidate, referrer))
}

/// Returns the file with this name, with an extension added, or the index of a folder with this
/// name.
fn probe(project: &Project, candidate: &Url, referrer: &Url) -> Option<Url> {
    let mode = project.cjs.get_referrer_kind(referrer);
    let kind = NodeResolutionKind::Execution;
    let found = project.resolver.resolve(candidate.as_str(), referrer, mode, kind).ok()?.url;
    let path = found.to_file_path().ok()?;
    (project.roots.contain(&path) && path.is_file()).then_some(found)
}

/// Returns the folder that `baseUrl` names, in the last tsconfig.json that sets it.
fn base_url(options: &CompilerOptionsData) -> Option<Url> {
    options.sources.iter().rev().find_map(|source| {
        let base = source.compiler_options.as_ref()?.0.as_object()?.get("baseUrl")?.as_str()?;
        source.specifier.join(&format!("{base}/")).ok()
    })
}
