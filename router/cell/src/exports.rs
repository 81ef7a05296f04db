//! The names that CommonJS modules export, as far as they are known from an earlier version: to find them Deno parses
//! the module and all that it re-exports.

use std::sync::OnceLock;

use deno_core::url::Url;
use deno_media_type::MediaType;
use deno_resolver::cjs::CjsTrackerRc;
use deno_resolver::cjs::analyzer::{DenoCjsAnalysis, NodeAnalysisCache, NodeAnalysisCacheSourceHash};

use crate::cache::{Cache, Entry, Maker};
use crate::project::{Checker, Sys};

pub(crate) struct Exports {
    cache: Cache,
    /// Set when it is made, which is after this.
    cjs: OnceLock<CjsTrackerRc<Checker, Sys>>,
}

impl Exports {
    pub(crate) fn new(cache: Cache) -> Self {
        Self { cache, cjs: OnceLock::new() }
    }

    pub(crate) fn told_by(&self, cjs: &CjsTrackerRc<Checker, Sys>) {
        _ = self.cjs.set(cjs.clone());
    }

    /// What is CommonJS is said by the package.json around it, too.
    fn entry(&self, specifier: &Url, source: NodeAnalysisCacheSourceHash) -> Option<Entry> {
        let media_type = MediaType::from_specifier(specifier);
        let is_maybe_cjs = self.cjs.get()?.is_maybe_cjs(specifier, media_type).ok()?;
        let kind = format!("{media_type:?} {is_maybe_cjs}");
        self.cache.entry(Maker::Analyzer, &[kind.as_bytes(), &source.0.to_le_bytes()])
    }
}

impl NodeAnalysisCache for Exports {
    fn compute_source_hash(&self, source: &str) -> NodeAnalysisCacheSourceHash {
        let entry = self.cache.entry(Maker::Analyzer, &[source.as_bytes()]);
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

    /// Of what is no CommonJS it does not say how much was looked at.
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
