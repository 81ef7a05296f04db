//! Remote modules that were fetched before the version was started. They are read from its folder,
//! never over the network.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use deno_cache_dir::file_fetcher::{
    AuthTokens, CacheSetting, File, FileFetcher, FileFetcherOptions, HttpClient, NullBlobStore, SendError,
    SendResponse,
};
use deno_cache_dir::{GlobalHttpCache, HttpCacheRc};
use deno_core::url::Url;
use deno_error::JsErrorBox;
use deno_resolver::loader::MemoryFiles;
use http::HeaderMap;
use switchyard_protocol::fetched;
use sys_traits::impls::RealSys;

use crate::deno::Sys;

/// Redirects in the cache that are followed for one module.
pub(super) const MAX_REDIRECTS: i64 = 10;

/// A reader of cached modules that never uses the network.
pub(super) type CachedFiles = FileFetcher<NullBlobStore, Sys, NoNetwork>;

/// The remote modules of one version.
pub(crate) struct RemoteModules {
    files: CachedFiles,
    /// The URL of each `jsr:` specifier.
    jsr: HashMap<Url, Url>,
    /// The reasons why lazy imports were not fetched, by specifier.
    failed: HashMap<String, String>,
}

impl RemoteModules {
    /// # Errors
    /// The folder is incomplete or damaged.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        let jsr = fs::read(folder.join(fetched::JSR)).context("read the fetched modules")?;
        let cache: HttpCacheRc = Arc::new(GlobalHttpCache::new(RealSys, folder.join(fetched::REMOTE)));
        let failed = fs::read(folder.join(fetched::FAILED)).ok();
        let failed = failed.and_then(|failed| serde_json::from_slice(&failed).ok()).unwrap_or_default();
        let jsr = serde_json::from_slice(&jsr).context("read the fetched modules")?;
        Ok(Self { files: files(cache), jsr, failed })
    }

    /// Returns the reason why the specifier in a text was not fetched.
    pub(super) fn failure(&self, text: &str) -> Option<&str> {
        let found = self.failed.iter().filter(|(specifier, _)| text.contains(specifier.as_str()));
        found.max_by_key(|(specifier, _)| specifier.len()).map(|(_, reason)| reason.as_str())
    }

    /// Returns a module with its URL behind redirects, or `None` if it was not fetched.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn load(&self, specifier: &Url) -> Result<Option<File>, JsErrorBox> {
        let url = self.jsr.get(specifier).unwrap_or(specifier);
        self.files.fetch_cached(url, MAX_REDIRECTS).map_err(JsErrorBox::from_err)
    }
}

/// Returns a reader of the modules in a cache.
pub(super) fn files(cache: HttpCacheRc) -> CachedFiles {
    let options = FileFetcherOptions {
        allow_remote: false,
        cache_setting: CacheSetting::Only,
        auth_tokens: AuthTokens::new(None),
    };
    FileFetcher::new(NullBlobStore, RealSys, cache, NoNetwork, Arc::new(MemoryFiles::default()), options)
}

/// The HTTP client of a cell, which finds nothing.
#[derive(Debug)]
pub(super) struct NoNetwork;

#[async_trait::async_trait(?Send)]
impl HttpClient for NoNetwork {
    async fn send_no_follow(&self, _url: &Url, _headers: HeaderMap) -> Result<SendResponse, SendError> {
        Err(SendError::NotFound)
    }
}
