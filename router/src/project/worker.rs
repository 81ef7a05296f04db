//! Cloudflare Workers: configuration, entry and files.

use std::path::Path;

use switchyard_contract::event::Diagnostic;
use switchyard_contract::platform::Platform;
use switchyard_detect::entry::Entry;
use switchyard_detect::wrangler::{self, Worker};
use switchyard_protocol::assets::{Assets, INDEX};

use super::ServedContent;
use super::document::Document;
use crate::policy::InvalidField;

/// The key that selects an environment of wrangler's configuration.
const ENVIRONMENT: &str = "switchyard.environment";

/// Reads the Worker in `dir`, in the environment that the project's configuration selects. `None`: not a Worker.
///
/// # Errors
/// One of the files is invalid.
pub(super) fn read(dir: &Path, config: Option<&Document>) -> Result<Option<Worker>, Diagnostic> {
    let environment = config.map_or(Ok(None), environment)?;
    wrangler::read(dir, environment)
}

fn environment(config: &Document) -> Result<Option<&str>, Diagnostic> {
    let Some(value) = config.own("environment") else { return Ok(None) };
    let fix = "must be the name of an environment in wrangler.toml (\"production\")";
    let name = value.as_str().filter(|name| !name.is_empty());
    name.map(Some).ok_or_else(|| config.field_diagnostic(&InvalidField::new(ENVIRONMENT, fix)))
}

/// Returns the entry, the platform and the files of a Worker. `None`: its configuration names neither code nor files, or
/// the project names its entry itself (`own`).
///
/// # Errors
/// The entry does not exist.
pub(super) fn served(worker: &Worker, dir: &Path, own: bool) -> Result<Option<ServedContent>, Diagnostic> {
    if own {
        return Ok(None);
    }
    let assets = worker.assets.as_ref().map(Assets::from);
    let reason = |field: &str| format!("{field} in {}", worker.file);
    if let Some(main) = worker.entry(dir)? {
        let entry = Entry { path: main.to_owned(), reason: reason("main"), ..Entry::default() };
        return Ok(Some(ServedContent { entry: Some(entry), platform: Platform::Workers, assets }));
    }
    let Some(assets) = assets else { return Ok(None) };
    let entry = Entry { path: assets.file(INDEX), reason: reason("assets"), ..Entry::default() };
    Ok(Some(ServedContent { entry: Some(entry), platform: Platform::Static, assets: Some(assets) }))
}

/// Adds to an error about a missing entry that the Worker's configuration can name one.
pub(super) fn without_main(worker: Option<&Worker>, error: Diagnostic) -> Diagnostic {
    match worker {
        Some(worker) if error.file.is_none() => {
            let message = format!("{} names neither \"main\" nor \"assets\": {}", worker.file, error.message);
            Diagnostic { file: Some(worker.file.clone()), message, ..error }
        }
        _ => error,
    }
}
