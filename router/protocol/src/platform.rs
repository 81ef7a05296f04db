//! The interfaces that a platform offers besides Deno's and Node's.

use serde::{Deserialize, Serialize};
use switchyard_contract::platform::Platform;
use switchyard_detect::site::Fallback;
use switchyard_detect::wrangler::{self, NotFoundHandling, Worker, WorkerFirst};

use crate::assets::{Assets, HtmlHandling, INDEX, Patterns};

/// The interfaces that a version gets.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum PlatformApi {
    /// Only Deno's and Node's interfaces.
    #[default]
    Plain,
    /// The interfaces of Supabase's edge runtime: `EdgeRuntime`.
    Supabase,
    /// The interfaces of Cloudflare Workers.
    Workers(Box<Worker>),
}

impl From<Platform> for PlatformApi {
    fn from(platform: Platform) -> Self {
        match platform {
            Platform::Plain | Platform::Static => Self::Plain,
            Platform::Supabase => Self::Supabase,
            Platform::Workers => Self::Workers(Box::default()),
        }
    }
}

/// Cloudflare's name for the page that answers 404.
const NOT_FOUND: &str = "404.html";

impl From<&wrangler::Assets> for Assets {
    fn from(assets: &wrangler::Assets) -> Self {
        let handling = assets.not_found_handling;
        let fallback = match handling {
            NotFoundHandling::SinglePageApplication => Fallback::Page(INDEX.to_owned()),
            NotFoundHandling::NotFoundPage | NotFoundHandling::None => Fallback::Off,
        };
        Self {
            root: assets.directory.clone(),
            html: assets.html_handling.into(),
            fallback,
            not_found: (handling == NotFoundHandling::NotFoundPage).then(|| NOT_FOUND.to_owned()),
            code_first: (&assets.run_worker_first).into(),
            navigations: assets.navigations,
            ignored: assets.ignored.clone(),
            ..Self::default()
        }
    }
}

impl From<wrangler::HtmlHandling> for HtmlHandling {
    fn from(handling: wrangler::HtmlHandling) -> Self {
        match handling {
            wrangler::HtmlHandling::AutoTrailingSlash => Self::AutoTrailingSlash,
            wrangler::HtmlHandling::ForceTrailingSlash => Self::ForceTrailingSlash,
            wrangler::HtmlHandling::DropTrailingSlash => Self::DropTrailingSlash,
            wrangler::HtmlHandling::None => Self::None,
        }
    }
}

impl From<&WorkerFirst> for Patterns {
    fn from(first: &WorkerFirst) -> Self {
        match first {
            WorkerFirst::Always(true) => Self::all(),
            WorkerFirst::Always(false) => Self::default(),
            WorkerFirst::Paths(paths) => {
                let excluded = |path: &&String| path.starts_with('!');
                let exclude = paths.iter().filter(excluded).map(|path| path[1..].to_owned()).collect();
                let include = paths.iter().filter(|path| !excluded(path)).cloned().collect();
                Self { include, exclude }
            }
        }
    }
}
