//! The entry that the configuration of a Cloudflare Worker names.

use std::path::Path;

use crate::wrangler::{self, FILES};

/// The file that names a Worker's entry, and the name. `None` where there is none, or it does not parse: to
/// say that is for whatever reads the rest of the configuration.
pub(super) fn main(dir: &Path) -> Option<(&'static str, String)> {
    let worker = wrangler::read(dir, None).ok()??;
    let file = FILES.into_iter().find(|file| worker.file == *file)?;
    worker.main.map(|main| (file, main))
}
