//! Messages about imports that do not resolve. Deno's own advice does not apply here.

use deno_core::url::Url;
use deno_error::JsErrorBox;
use deno_resolver::{DenoResolveError, DenoResolveErrorKind};

use crate::modules::bun::INSTEAD;
use crate::modules::project::Project;
use crate::modules::wrangler;

/// Returns the message for a specifier that Deno's resolver did not find.
pub(super) fn unresolved(project: &Project, raw: &str, error: &DenoResolveError) -> String {
    match error.as_kind() {
        DenoResolveErrorKind::MappedResolution(error)
            if error.is_unmapped_bare_specifier() && raw == "bun" =>
        {
            format!("\"bun\" cannot be imported: {INSTEAD}")
        }
        DenoResolveErrorKind::MappedResolution(error) if error.is_unmapped_bare_specifier() => {
            format!(
                "The package \"{raw}\" was not found: install it into the project's node_modules \
                 (npm install {raw}), or map it to a module in the \"imports\" of deno.json"
            )
        }
        _ => {
            let text = error.to_string();
            if text.starts_with("Blocked by null entry") {
                return format!(
                    "\"{raw}\" leads nowhere: its entry in the \"imports\" of deno.json has to begin with \
                     \"./\", \"../\", \"npm:\" or the like"
                );
            }
            let advice = [" Ensure you have ", " Deno expects "];
            match advice.iter().find_map(|advice| text.split_once(advice)) {
                Some((problem, _)) => format!("{problem} {}", missing_reason(project, problem)),
                None => text,
            }
        }
    }
}

/// Returns the reason why a package is not in `node_modules`: it could not be fetched, or nothing
/// named it when packages were fetched.
fn missing_reason(project: &Project, text: &str) -> String {
    const INSTALL: &str = "Install it into the project's node_modules (npm install)";
    match project.remote.as_ref().map(|remote| remote.failure(text)) {
        Some(Some(reason)) => format!("It was not fetched: {reason}"),
        Some(None) => format!(
            "{INSTALL}, or name it in \"dependencies\" of package.json or \"imports\" of deno.json: a \
             computed name is not known before it is imported"
        ),
        None => INSTALL.to_owned(),
    }
}

/// Returns the error for a module that would have to be loaded over the network.
pub(in crate::modules) fn not_fetched(project: &Project, specifier: &Url) -> JsErrorBox {
    if wrangler::is_internal(specifier.as_str()) {
        return JsErrorBox::type_error("Cloudflare's modules are not available in web workers");
    }
    if let Some(reason) = project.remote.as_ref().and_then(|remote| remote.failure(specifier.as_str())) {
        return JsErrorBox::type_error(format!("\"{specifier}\" was not fetched: {reason}"));
    }
    if specifier.scheme() == "bun" {
        return JsErrorBox::type_error(format!("\"{specifier}\" cannot be imported: {INSTEAD}"));
    }
    let fix = match specifier.scheme() {
        "jsr" | "http" | "https" if project.vendor.is_some() => {
            "it is not in vendor/: run `deno install --entrypoint` with the project's entry, and bring the \
             folder along"
        }
        "npm" => "install the package into the project's node_modules",
        "jsr" => "install it into the project's node_modules (npx jsr add), or copy it into the project",
        _ => "copy the file into the project, or install a package into its node_modules",
    };
    // The router fetches what is known when the version is built.
    let unknown = match project.remote {
        Some(_) => {
            ", or name it in \"imports\" of deno.json: a computed name is not known before it is imported"
        }
        None => "",
    };
    JsErrorBox::type_error(format!("\"{specifier}\" is not loaded over the network: {fix}{unknown}"))
}
