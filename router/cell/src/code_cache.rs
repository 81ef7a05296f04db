//! V8's own caches of compiled code: of modules, of what is required, and of the parts of the runtime that are compiled
//! when they are first needed. V8 looks for itself whether it can use what it is given, and says so when it cannot.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use deno_core::url::Url;
use deno_core::{JsRuntime, SourceCodeCacheInfo};
use deno_error::JsErrorBox;

use crate::cache::{Cache, Entry, Maker};
use crate::project::ProjectSlot;

/// Where what V8 was asked to compile belongs, by the number that V8 gives back.
#[derive(Default)]
pub(crate) struct CodeCache(RefCell<HashMap<u64, Entry>>);

impl CodeCache {
    pub(crate) fn find(&self, cache: &Cache, maker: Maker, source: &[u8]) -> Option<SourceCodeCacheInfo> {
        let entry = cache.entry(maker, &[source])?;
        let (hash, data) = (entry.number(), entry.read().map(Cow::Owned));
        self.0.borrow_mut().insert(hash, entry);
        Some(SourceCodeCacheInfo { hash, data })
    }

    pub(crate) fn keep(&self, hash: u64, code: &[u8]) {
        if let Some(entry) = self.0.borrow_mut().remove(&hash) {
            entry.write(code);
        }
    }
}

/// Has `runtime` look there for what is required.
pub(crate) fn use_for_scripts(runtime: &JsRuntime, project: &ProjectSlot) {
    let found = Rc::new(CodeCache::default());
    let (made, project) = (Rc::clone(&found), ProjectSlot::clone(project));
    let find = move |_: &Url, source: &[u16]| {
        let project = project.get().ok_or_else(|| JsErrorBox::generic("no version yet"))?;
        let source: Vec<u8> = source.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let found = found.find(&project.cache, Maker::Script, &source);
        found.ok_or_else(|| JsErrorBox::generic("no cache"))
    };
    let keep = move |_: Url, hash: u64, code: &[u8]| made.keep(hash, code);
    runtime.set_eval_context_code_cache_cbs(Some((Box::new(find), Box::new(keep))));
}
