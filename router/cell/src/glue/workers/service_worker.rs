//! The service-worker syntax of Workers, whose entry exports nothing.

use deno_ast::{ModuleItemRef, swc::ast::ModuleDecl};
use deno_media_type::MediaType;

use crate::modules::code::decode;
use crate::modules::project::Project;
use crate::modules::source;

/// Returns `true` if the entry uses the service-worker syntax.
pub(super) fn is_service_worker(project: &Project) -> bool {
    let specifier = &project.entry.main_module;
    let Ok(bytes) = source::read(project, specifier) else { return false };
    let text = decode(bytes);
    if !text.contains("export") {
        return true;
    }
    let media_type = MediaType::from_specifier(specifier);
    let parsed =
        project.factory.parsed_source_cache().get_matching_parsed_source(specifier, media_type, text.into());
    // An entry that does not parse fails later, with the location of the error.
    parsed.is_ok_and(|parsed| !parsed.program_ref().body().any(|item| is_export(&item)))
}

fn is_export(item: &ModuleItemRef<'_>) -> bool {
    matches!(
        item,
        ModuleItemRef::ModuleDecl(decl)
            if !matches!(decl, ModuleDecl::Import(_) | ModuleDecl::TsImportEquals(_))
    )
}
