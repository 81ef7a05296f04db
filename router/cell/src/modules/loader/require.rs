//! Files for Node's `require`.

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::sync::PoisonError;

use deno_ast::ModuleKind;
use deno_core::FastString;
use deno_core::url::Url;
use deno_error::JsErrorBox;
use deno_media_type::MediaType;
use deno_runtime::deno_node::{NodeRequireLoader, default_resolve_require_node_module_paths};
use deno_runtime::deno_permissions::PermissionsContainer;
use node_resolver::errors::PackageJsonLoadError;

use super::Loader;
use crate::modules::code::decode;
use crate::modules::source;

/// A path that never exists, for package.json files outside of the version.
const NO_PACKAGE_FILE: &str = "/dev/null/package.json";

impl NodeRequireLoader for Loader {
    fn ensure_read_permission<'a>(
        &self,
        _permissions: &mut PermissionsContainer,
        path: Cow<'a, Path>,
    ) -> Result<Cow<'a, Path>, JsErrorBox> {
        let project = self.project();
        project.phantoms.note_lookup(&path);
        match project.admit(&path) {
            Ok(file) if project.has_written(&file) => Ok(Cow::Owned(file)),
            Ok(real) => source::check_package(project, &real).map(|()| path),
            Err(error) => {
                let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
                let real = path.canonicalize().ok().filter(|_| is_denied);
                if let Some(own) = real.and_then(|real| project.roots.in_checkout(&real)) {
                    return Ok(Cow::Owned(own));
                }
                // The search for a module's package.json goes upwards until it finds one. Outside
                // of the version it never does, even if a file exists.
                let is_package_file = path.file_name().is_some_and(|name| name == "package.json");
                if is_denied && is_package_file || !project.roots.name(&path) {
                    Ok(Cow::Borrowed(Path::new(NO_PACKAGE_FILE)))
                } else if is_denied {
                    Err(source::unreadable(project, &path, &error))
                } else {
                    // The caller finds out that there is no such file.
                    Ok(path)
                }
            }
        }
    }

    fn load_text_file_lossy(&self, path: &Path) -> Result<FastString, JsErrorBox> {
        let project = self.project();
        let specifier = deno_path_util::url_from_file_path(path).map_err(JsErrorBox::from_err)?;
        let text = decode(source::read(project, &specifier)?);
        let media_type = MediaType::from_path(path);
        if !project.in_package(&specifier) {
            let mut last = project.last_required.lock().unwrap_or_else(PoisonError::into_inner);
            *last = Some(specifier.clone());
        }
        Ok(source::emit(project, &specifier, media_type, ModuleKind::Cjs, text)?.into())
    }

    fn is_maybe_cjs(&self, specifier: &Url) -> Result<bool, PackageJsonLoadError> {
        self.project().cjs.is_maybe_cjs(specifier, MediaType::from_specifier(specifier))
    }

    fn is_maybe_cjs_from_require(&self, specifier: &Url) -> Result<bool, PackageJsonLoadError> {
        self.project().cjs.is_maybe_cjs_from_require(specifier, MediaType::from_specifier(specifier))
    }

    fn resolve_require_node_module_paths(&self, from: &Path) -> Vec<String> {
        let mut paths = default_resolve_require_node_module_paths(from);
        let project = self.project();
        paths.retain(|path| project.roots.contain(Path::new(path)));
        let is_package =
            project.roots.node_modules.as_ref().is_some_and(|packages| from.starts_with(packages));
        let hoisted = project.phantoms.folder().filter(|_| !is_package);
        paths.extend(hoisted.map(|folder| folder.to_string_lossy().into_owned()));
        paths
    }
}
