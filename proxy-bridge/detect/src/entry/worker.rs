//! The entry that the configuration of a Cloudflare Worker names.

use std::path::Path;

use crate::wrangler::{self, FILES};

/// Returns the file that names a Worker's entry, and the name. `None` if no file names one or it
/// does not parse, which is reported by the reader of the rest of the configuration.
pub(super) fn main(dir: &Path) -> Option<(&'static str, String)> {
    let worker = wrangler::read(dir, None).ok()??;
    let file = FILES.into_iter().find(|file| worker.file == *file)?;
    worker.main.map(|main| (file, main))
}
