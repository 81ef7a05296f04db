//! The services that the main worker and its web workers share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use deno_core::{CompiledWasmModuleStore, SharedArrayBufferStore};
use deno_runtime::deno_fs::{FileSystem, RealFs};
use deno_runtime::deno_inspector_server::MainInspectorSessionChannel;
use deno_runtime::deno_tls::RootCertStoreProvider;
use deno_runtime::deno_web::{BlobStore, BlobStoreTrait, InMemoryBroadcastChannel};

use super::certificates::Certificates;
use crate::cache::store::Cache;
use crate::modules::project::ProjectSlot;

/// The link in a cell's own directory that leads to its `DATA_DIR`. The router makes it.
const DATA: &str = "data";

/// Services of one process. Clones share them.
#[derive(Clone)]
pub(super) struct Services {
    pub(super) project: ProjectSlot,
    pub(super) blobs: Arc<dyn BlobStoreTrait>,
    pub(super) broadcast: InMemoryBroadcastChannel,
    pub(super) buffers: SharedArrayBufferStore,
    pub(super) wasm_modules: CompiledWasmModuleStore,
    pub(super) certificates: Arc<dyn RootCertStoreProvider>,
    pub(super) fs: Arc<dyn FileSystem>,
    pub(super) workers: WorkerCount,
    /// The channel through which debuggers reach web workers, if they may attach.
    pub(super) debuggers: MainInspectorSessionChannel,
    /// The folder of localStorage, KV and caches.
    pub(super) data: PathBuf,
}

impl Services {
    /// Returns the services of a spare.
    pub(super) fn new() -> Self {
        Self {
            project: ProjectSlot::default(),
            blobs: Arc::new(BlobStore::default()),
            broadcast: InMemoryBroadcastChannel::default(),
            buffers: SharedArrayBufferStore::default(),
            wasm_modules: CompiledWasmModuleStore::default(),
            certificates: Arc::new(Certificates::default()),
            fs: Arc::new(RealFs),
            workers: WorkerCount::default(),
            debuggers: MainInspectorSessionChannel::default(),
            data: std::env::current_dir().unwrap_or_default().join(DATA),
        }
    }

    /// Returns a function that returns the project's cache once there is a project.
    pub(super) fn cache(project: &ProjectSlot) -> impl Fn() -> Option<Cache> + use<> {
        let project = Arc::clone(project);
        move || project.get().map(|project| project.cache.clone())
    }
}

/// The number of running web workers.
#[derive(Debug, Clone, Default)]
pub(super) struct WorkerCount(Arc<AtomicU32>);

/// A web worker that is counted until this is dropped.
pub(super) struct CountedWorker(WorkerCount);

impl WorkerCount {
    /// Counts one more web worker, or returns `None` if there are `limit` already.
    pub(super) fn enter(&self, limit: u32) -> Option<CountedWorker> {
        let enter = |count| (count < limit).then_some(count + 1);
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, enter).ok()?;
        Some(CountedWorker(self.clone()))
    }
}

impl Drop for CountedWorker {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}
