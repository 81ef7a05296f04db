//! The program of a version: its file, its arguments, and the modules that are evaluated before it.

use deno_core::url::Url;
use deno_core::{ModuleId, error::CoreError};
use deno_runtime::worker::MainWorker;
use switchyard_detect::entry;
use switchyard_protocol::Start;

use super::roots::Roots;

/// The file that errors name as the importer of preloaded modules.
const IMPORTER: &str = "package.json";

/// The program of a version.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) main_module: Url,
    pub(crate) args: Vec<String>,
    /// Modules that are evaluated before the main module.
    preload: Vec<String>,
    /// The error for a program whose package is not installed.
    pub(crate) missing: Option<String>,
    /// The referrer of the preloaded modules.
    importer: Url,
}

impl Program {
    /// Finds the program of a version.
    ///
    /// # Errors
    /// The checkout's path is not absolute.
    pub(super) fn new(start: &Start, roots: &Roots) -> anyhow::Result<Self> {
        let url = |path: &std::path::Path| {
            Url::from_file_path(path).map_err(|()| anyhow::anyhow!("the checkout's path is not absolute"))
        };
        let named = roots.checkout.join(&start.entry);
        let (main, missing) = if entry::is_in_package(&start.entry) {
            let found = entry::program(&roots.checkout, &start.entry);
            let path = found.map_or_else(|| named.clone(), |found| roots.checkout.join(found));
            // A package resolves its dependencies from its real path.
            match roots.admit(&path) {
                Ok(real) => (real, None),
                Err(_) => (named, Some(missing_program(&start.entry))),
            }
        } else {
            (named, None)
        };
        Ok(Self {
            main_module: url(&main)?,
            args: start.args.clone(),
            preload: start.preload.clone(),
            missing,
            importer: url(&roots.checkout.join(IMPORTER))?,
        })
    }

    /// Adds the arguments to `Deno.args`, which node:process copies when it is loaded, and to
    /// `process.argv` if it is loaded already.
    pub(crate) fn add_args(&self, worker: &mut MainWorker) {
        if self.args.is_empty() {
            return;
        }
        let args = serde_json::json!(self.args);
        let code = format!(
            "{{ const args = {args}; Deno.args.push(...args); \
             if (process.argv.length < args.length + 2) process.argv.push(...args); }}"
        );
        let added = worker.js_runtime.execute_script("ext:switchyard/args", code);
        debug_assert!(added.is_ok(), "the cell's own code does not throw: {added:?}");
    }

    /// Evaluates the preloaded modules in their order.
    ///
    /// # Errors
    /// A module cannot be loaded or throws.
    pub(crate) async fn preload(&self, worker: &mut MainWorker) -> Result<(), CoreError> {
        for module in &self.preload {
            let id = self.load(module, worker).await?;
            worker.evaluate_module(id).await?;
        }
        Ok(())
    }

    async fn load(&self, module: &str, worker: &mut MainWorker) -> Result<ModuleId, CoreError> {
        let code = format!("import {};", serde_json::json!(module));
        let mut specifier = self.importer.clone();
        // Makes the URL unique among modules.
        specifier.set_fragment(Some(module));
        worker.js_runtime.load_side_es_module_from_code(&specifier, code).await
    }
}

fn missing_program(entry: &str) -> String {
    let name = entry.rsplit('/').next().unwrap_or(entry);
    format!(
        "the program \"{name}\" is not installed: install the package that brings it into the project's node_modules \
         (npm install); a router with --allow-install fetches it"
    )
}
