//! Projects of Cloudflare Pages: the output of a build, with or without a Worker.

use std::path::Path;

use super::Worker;
use super::assets::{Assets, HtmlHandling, NotFoundHandling, WorkerFirst};
use super::document::{self, Document};
use switchyard_contract::event::Diagnostic;

const OUTPUT: &str = "pages_build_output_dir";

/// The file or the folder with the code of a Pages project.
const CODE: [&str; 2] = ["_worker.js", "_worker.js/index.js"];

/// Fills in the conventions of Pages, if the project is one of Pages.
pub(super) fn fill(worker: &mut Worker, document: &Document<'_>, dir: &Path) -> Result<(), Diagnostic> {
    let Some(output) = document.text(OUTPUT)? else { return Ok(()) };
    let Some(output) = document::join(&worker.base, &output) else {
        return Err(document.wrong(OUTPUT, "must be a folder inside the project"));
    };
    if dir.join(format!("{}functions", worker.base)).is_dir() {
        let fix = "makes this a Pages project, whose \"functions\" folder does not run here: build it into one Worker \
                   (`npx wrangler pages functions build --outdir OUTPUT/_worker.js`), or write a Worker with \"main\"";
        return Err(document.wrong(OUTPUT, fix));
    }
    let folder = dir.join(&output);
    if !folder.is_dir() {
        let fix = format!("names {output:?}, which does not exist: run the build first");
        return Err(document.wrong(OUTPUT, &fix));
    }
    let code = CODE.iter().map(|name| format!("{output}/{name}")).find(|path| dir.join(path).is_file());
    let has_page = folder.join("404.html").is_file();
    worker.assets = Some(Assets {
        directory: output,
        binding: Some("ASSETS".to_owned()),
        html_handling: HtmlHandling::AutoTrailingSlash,
        not_found_handling: if has_page {
            NotFoundHandling::NotFoundPage
        } else {
            NotFoundHandling::SinglePageApplication
        },
        // The code decides which requests get an asset.
        run_worker_first: WorkerFirst::Always(code.is_some()),
        navigations: false,
        ignored: Vec::new(),
    });
    worker.main = code;
    Ok(())
}
