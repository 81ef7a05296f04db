//! Remote modules that were fetched before the version was started: read from its folder, never over the network.

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

use crate::project::Sys;

pub(crate) const MAX_REDIRECTS: i64 = 10;

/// Reads modules from a cache, and asks nobody for what is not there.
pub(crate) type Files = FileFetcher<NullBlobStore, Sys, Nobody>;

pub(crate) struct Remote {
    files: Files,
    /// What each `jsr:` specifier stands for.
    jsr: HashMap<Url, Url>,
    /// The reasons why lazy imports were not fetched, by specifier.
    failed: HashMap<String, String>,
}

impl Remote {
    /// # Errors
    /// The folder is not as it was made.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        let jsr = fs::read(folder.join(fetched::JSR)).context("read what was fetched")?;
        let cache: HttpCacheRc = Arc::new(GlobalHttpCache::new(RealSys, folder.join(fetched::REMOTE)));
        let failed = fs::read(folder.join(fetched::FAILED)).ok();
        let failed = failed.and_then(|failed| serde_json::from_slice(&failed).ok()).unwrap_or_default();
        let jsr = serde_json::from_slice(&jsr).context("read what was fetched")?;
        Ok(Self { files: files(cache), jsr, failed })
    }

    /// Returns why the specifier that is part of this text was not fetched.
    pub(crate) fn reason(&self, text: &str) -> Option<&str> {
        let found = self.failed.iter().filter(|(specifier, _)| text.contains(specifier.as_str()));
        found.max_by_key(|(specifier, _)| specifier.len()).map(|(_, reason)| reason.as_str())
    }

    /// The module, under the URL that it was found at; none if it was not fetched.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn load(&self, specifier: &Url) -> Result<Option<File>, JsErrorBox> {
        let url = self.jsr.get(specifier).unwrap_or(specifier);
        self.files.fetch_cached(url, MAX_REDIRECTS).map_err(JsErrorBox::from_err)
    }
}

pub(crate) fn files(cache: HttpCacheRc) -> Files {
    let options = FileFetcherOptions {
        allow_remote: false,
        cache_setting: CacheSetting::Only,
        auth_tokens: AuthTokens::new(None),
    };
    FileFetcher::new(NullBlobStore, RealSys, cache, Nobody, Arc::new(MemoryFiles::default()), options)
}

/// A cell asks nobody for a module.
#[derive(Debug)]
pub(crate) struct Nobody;

#[async_trait::async_trait(?Send)]
impl HttpClient for Nobody {
    async fn send_no_follow(&self, _url: &Url, _headers: HeaderMap) -> Result<SendResponse, SendError> {
        Err(SendError::NotFound)
    }
}
