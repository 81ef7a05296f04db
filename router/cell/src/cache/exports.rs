//! The cache of the names that CommonJS modules export. To find them, Deno parses the module and
//! all modules that it re-exports.

use std::sync::OnceLock;

use deno_core::url::Url;
use deno_media_type::MediaType;
use deno_resolver::cjs::CjsTrackerRc;
use deno_resolver::cjs::analyzer::{DenoCjsAnalysis, NodeAnalysisCache, NodeAnalysisCacheSourceHash};

use super::store::{Cache, Producer, StoreEntry};
use crate::deno::{Checker, Sys};

/// The exports of one project's CommonJS modules.
pub(crate) struct ExportsCache {
    cache: Cache,
    /// Set after the tracker is made, which needs this cache.
    cjs: OnceLock<CjsTrackerRc<Checker, Sys>>,
}

impl ExportsCache {
    /// Returns the cache of exports in this store.
    pub(crate) fn new(cache: Cache) -> Self {
        Self { cache, cjs: OnceLock::new() }
    }

    /// Sets the tracker that knows which modules are CommonJS.
    pub(crate) fn set_tracker(&self, cjs: &CjsTrackerRc<Checker, Sys>) {
        _ = self.cjs.set(cjs.clone());
    }

    /// Returns the entry for a module. Its key includes whether the module is CommonJS, which also
    /// depends on the package.json around it.
    fn entry(&self, specifier: &Url, source: NodeAnalysisCacheSourceHash) -> Option<StoreEntry> {
        let media_type = MediaType::from_specifier(specifier);
        let is_maybe_cjs = self.cjs.get()?.is_maybe_cjs(specifier, media_type).ok()?;
        let kind = format!("{media_type:?} {is_maybe_cjs}");
        self.cache.entry(Producer::Analyzer, &[kind.as_bytes(), &source.0.to_le_bytes()])
    }
}

impl NodeAnalysisCache for ExportsCache {
    fn compute_source_hash(&self, source: &str) -> NodeAnalysisCacheSourceHash {
        let entry = self.cache.entry(Producer::Analyzer, &[source.as_bytes()]);
        NodeAnalysisCacheSourceHash(entry.map_or(0, |entry| entry.number()))
    }

    fn get_cjs_analysis(
        &self,
        specifier: &Url,
        source_hash: NodeAnalysisCacheSourceHash,
    ) -> Option<DenoCjsAnalysis> {
        let exports = self.entry(specifier, source_hash)?.read()?;
        serde_json::from_slice(&exports).ok().map(DenoCjsAnalysis::Cjs)
    }

    /// Stores the exports of a CommonJS module. An analysis of any other module does not record the
    /// files that it depends on, so it is not stored.
    fn set_cjs_analysis(
        &self,
        specifier: &Url,
        source_hash: NodeAnalysisCacheSourceHash,
        analysis: &DenoCjsAnalysis,
    ) {
        if let DenoCjsAnalysis::Cjs(exports) = analysis
            && let Some(entry) = self.entry(specifier, source_hash)
            && let Ok(exports) = serde_json::to_vec(exports)
        {
            entry.write(&exports);
        }
    }
}
