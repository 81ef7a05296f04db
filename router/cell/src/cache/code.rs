//! V8's caches of compiled code: of modules, of required scripts, and of the parts of the runtime
//! that are compiled when they are first needed. V8 itself rejects code that it cannot use.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use deno_core::url::Url;
use deno_core::{JsRuntime, SourceCodeCacheInfo};
use deno_error::JsErrorBox;

use super::store::{Cache, Producer, StoreEntry};

/// The cache entries of sources that V8 was asked to compile, by the number that V8 gives back.
#[derive(Default)]
pub(crate) struct CodeCache(RefCell<HashMap<u64, StoreEntry>>);

impl CodeCache {
    /// Looks up the compiled code of a source. Returns `None` if the cache is off.
    pub(crate) fn find(
        &self,
        cache: &Cache,
        producer: Producer,
        source: &[u8],
    ) -> Option<SourceCodeCacheInfo> {
        let entry = cache.entry(producer, &[source])?;
        let (hash, data) = (entry.number(), entry.read().map(Cow::Owned));
        self.0.borrow_mut().insert(hash, entry);
        Some(SourceCodeCacheInfo { hash, data })
    }

    /// Stores the compiled code of the source with this number.
    pub(crate) fn keep(&self, hash: u64, code: &[u8]) {
        if let Some(entry) = self.0.borrow_mut().remove(&hash) {
            entry.write(code);
        }
    }
}

/// Makes an isolate use the cache for required scripts. `cache` returns `None` until a version is
/// assigned.
pub(crate) fn use_for_scripts(runtime: &JsRuntime, cache: impl Fn() -> Option<Cache> + 'static) {
    let code_cache = Rc::new(CodeCache::default());
    let compiled = Rc::clone(&code_cache);
    let find = move |_: &Url, source: &[u16]| {
        let cache = cache().ok_or_else(|| JsErrorBox::generic("no version yet"))?;
        let source: Vec<u8> = source.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let found = code_cache.find(&cache, Producer::Script, &source);
        found.ok_or_else(|| JsErrorBox::generic("no cache"))
    };
    let keep = move |_: Url, hash: u64, code: &[u8]| compiled.keep(hash, code);
    runtime.set_eval_context_code_cache_cbs(Some((Box::new(find), Box::new(keep))));
}
