//! V8 and Deno's runtime, assembled before the version is known: all that does not depend on it is done in a spare, so
//! that little is left between `Start` and `Serving`.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use deno_core::futures::channel::mpsc::UnboundedSender;
use deno_core::url::Url;
use deno_core::{
    CompiledWasmModuleStore, Extension, InspectorSessionProxy, JsRuntime, SharedArrayBufferStore, v8,
};
use deno_runtime::colors::ColorLevel;
use deno_runtime::deno_fs::{FileSystem, RealFs};
use deno_runtime::deno_inspector_server::MainInspectorSessionChannel;
use deno_runtime::deno_node::{NodeRequireLoaderRc, NodeResolverRc};
use deno_runtime::deno_permissions::{Permissions, PermissionsContainer, RuntimePermissionDescriptorParser};
use deno_runtime::deno_tls::RootCertStoreProvider;
use deno_runtime::deno_web::{BlobStore, BlobStoreTrait, InMemoryBroadcastChannel};
use deno_runtime::fmt_errors::format_js_error;
use deno_runtime::worker::{MainWorker, WorkerOptions, WorkerServiceOptions};
use deno_runtime::{BootstrapOptions, WorkerExecutionMode, WorkerLogLevel};
use node_resolver::PackageJsonResolverRc;
use switchyard_protocol::Start;
use sys_traits::impls::RealSys;

use crate::begin::Begin;
use crate::certificates::{self, Certificates};
use crate::code_cache;
use crate::descriptors;
use crate::env_file;
use crate::exists;
use crate::features::Features;
use crate::loader::Loader;
use crate::locale;
use crate::machine;
use crate::project::{Checker, Npm, Project, ProjectSlot, Sys};
use crate::refusals;
use crate::scripts::LAZY_JS;
use crate::servers::LAZY_ESM;
use crate::web_worker::{self, Workers};

/// The Deno release that the pinned crates are of.
pub(crate) const DENO_VERSION: &str = "2.9.8";

pub(crate) const USER_AGENT: &str = "Deno/2.9.8";

/// The heap that most versions may have: what a spare is made with.
const USUAL_MEMORY: u64 = 256 << 20;

/// Of a cell's memory, what is left to all that is not V8's heap.
const BESIDE_HEAP: u64 = 32 << 20;

/// The folder in a cell's own directory through which it gets at its `DATA_DIR`: a link that the router makes.
const DATA: &str = "data";

/// What the main thread and its web workers share.
#[derive(Clone)]
pub(crate) struct Services {
    pub(crate) project: ProjectSlot,
    pub(crate) blobs: Arc<dyn BlobStoreTrait>,
    pub(crate) broadcast: InMemoryBroadcastChannel,
    pub(crate) buffers: SharedArrayBufferStore,
    pub(crate) wasm_modules: CompiledWasmModuleStore,
    pub(crate) certificates: Arc<dyn RootCertStoreProvider>,
    pub(crate) fs: Arc<dyn FileSystem>,
    /// Web workers that there are.
    pub(crate) workers: Workers,
    /// Through which debuggers get at web workers, if they may.
    pub(crate) debuggers: MainInspectorSessionChannel,
    /// Where localStorage, KV and caches are.
    pub(crate) data: PathBuf,
}

/// A runtime that waits for its version.
pub(crate) struct Spare {
    pub(crate) worker: MainWorker,
    loader: Rc<Loader>,
    begin: Option<Begin>,
    project: ProjectSlot,
    debuggers: MainInspectorSessionChannel,
}

/// To be called before any other thread exists: V8 may protect its memory by thread.
///
/// No flag is set: of those that promise to save memory and keep the compilers, none has saved any here.
pub(crate) fn init_v8() {
    JsRuntime::init_platform(None);
}

impl Spare {
    pub(crate) fn new() -> Self {
        let services = Services {
            project: ProjectSlot::default(),
            blobs: Arc::new(BlobStore::default()),
            broadcast: InMemoryBroadcastChannel::default(),
            buffers: SharedArrayBufferStore::default(),
            wasm_modules: CompiledWasmModuleStore::default(),
            certificates: Arc::new(Certificates::default()),
            fs: Arc::new(RealFs),
            workers: Workers::default(),
            debuggers: MainInspectorSessionChannel::default(),
            data: std::env::current_dir().unwrap_or_default().join(DATA),
        };
        let loader = Rc::new(Loader {
            project: Arc::clone(&services.project),
            blobs: Arc::clone(&services.blobs),
            main_blob: None,
            compiled: Rc::default(),
        });
        let mut worker = main_worker(&services, &loader);
        descriptors::guard(&mut worker.js_runtime);
        refusals::explain_in(&mut worker.js_runtime);
        let begin = Some(Begin::prepare(&mut worker.js_runtime));
        Self { worker, loader, begin, project: services.project, debuggers: services.debuggers }
    }

    /// Makes the runtime the version's. Its environment is already.
    pub(crate) fn assign(
        &mut self,
        start: &Start,
        project: Arc<Project>,
        permissions: PermissionsContainer,
    ) -> anyhow::Result<()> {
        certificates::accept_named(start, &project.roots);
        let op_state = self.worker.js_runtime.op_state();
        let mut state = op_state.borrow_mut();
        state.put(Arc::clone(&project));
        state.put::<Url>(project.entry.main_module.clone());
        state.put::<PermissionsContainer>(permissions);
        state.put::<Sys>(RealSys);
        state.put::<NodeRequireLoaderRc>(Rc::clone(&self.loader) as NodeRequireLoaderRc);
        state.put::<NodeResolverRc<Checker, Npm, Sys>>(project.factory.node_resolver()?.clone());
        state.put::<PackageJsonResolverRc<Sys>>(project.factory.pkg_json_resolver().clone());
        drop(state);
        // V8 has looked at TZ before the version's environment was set.
        self.worker
            .js_runtime
            .v8_isolate()
            .date_time_configuration_change_notification(v8::TimeZoneDetection::Redetect);
        locale::follow_environment(self.worker.js_runtime.v8_isolate());
        let options = bootstrap_options(WorkerExecutionMode::Deploy, &project.features);
        if let Some(begin) = self.begin.take() {
            begin.begin(&mut self.worker.js_runtime, options, &project.features);
        }
        project.entry.give_args(&mut self.worker);
        _ = self.project.set(project);
        code_cache::use_for_scripts(&self.worker.js_runtime, &self.project);
        Ok(())
    }

    /// Has debuggers, whose sessions go where this returns, find the version's web workers too. V8's inspector is there
    /// already: an isolate of Deno is made with it.
    pub(crate) fn let_debuggers_in(&self) -> UnboundedSender<InspectorSessionProxy> {
        let sessions = self.worker.js_runtime.inspector().get_session_sender();
        self.debuggers.set(sessions.clone());
        sessions
    }
}

fn main_worker(services: &Services, loader: &Rc<Loader>) -> MainWorker {
    let nothing = Permissions::none_without_prompt();
    // Those of every project: what a version has besides is given by `assign`.
    let features = Features::of(&[]);
    let parser = Arc::new(RuntimePermissionDescriptorParser::new(RealSys));
    MainWorker::bootstrap_from_options(
        &Url::parse("file:///").expect("it is a URL"),
        WorkerServiceOptions::<Checker, Npm, Sys> {
            blob_store: Arc::clone(&services.blobs),
            broadcast_channel: services.broadcast.clone(),
            deno_rt_native_addon_loader: None,
            feature_checker: features.checker(),
            fs: Arc::clone(&services.fs),
            module_loader: Rc::clone(loader) as _,
            // Given by `assign`.
            node_services: None,
            npm_process_state_provider: None,
            permissions: PermissionsContainer::new(parser, nothing),
            root_cert_store_provider: Some(Arc::clone(&services.certificates)),
            fetch_dns_resolver: Default::default(),
            shared_array_buffer_store: Some(services.buffers.clone()),
            compiled_wasm_module_store: Some(services.wasm_modules.clone()),
            // Given by `assign`, too, by the whole source and not by a hash of it.
            v8_code_cache: None,
            bundle_provider: None,
        },
        WorkerOptions {
            // Not `Run`, which would have Deno warn of a default export that it does not serve: we do.
            bootstrap: bootstrap_options(WorkerExecutionMode::Deploy, &features),
            skip_op_registration: true,
            startup_snapshot: deno_snapshots::CLI_SNAPSHOT,
            residual_lazy_js_sources: &LAZY_JS,
            residual_lazy_esm_sources: &LAZY_ESM,
            extensions: extensions(),
            create_web_worker_cb: web_worker::factory(services.clone()),
            format_js_error_fn: Some(Arc::new(|error| format_js_error(error, None))),
            enable_raw_imports: true,
            create_params: Some(create_params(USUAL_MEMORY)),
            cache_storage_dir: Some(services.data.join("caches")),
            origin_storage_dir: Some(services.data.clone()),
            ..WorkerOptions::default()
        },
    )
}

/// The ops of Deno's that are others in each isolate.
pub(crate) fn extensions() -> Vec<Extension> {
    vec![descriptors::extension(), machine::extension(), exists::extension(), env_file::extension()]
}

/// How much of a cell's memory (in bytes) V8's heap may have.
pub(crate) fn heap(memory: u64) -> usize {
    let heap = memory.saturating_sub(BESIDE_HEAP).max(memory / 2);
    usize::try_from(heap).unwrap_or(usize::MAX)
}

pub(crate) fn create_params(memory: u64) -> v8::CreateParams {
    v8::CreateParams::default().heap_limits(0, heap(memory))
}

/// To be asked again when the environment is the version's.
pub(crate) fn bootstrap_options(mode: WorkerExecutionMode, features: &Features) -> BootstrapOptions {
    BootstrapOptions {
        deno_version: DENO_VERSION.into(),
        user_agent: USER_AGENT.into(),
        log_level: WorkerLogLevel::Warn,
        color_level: ColorLevel::None,
        locale: v8::icu::get_language_tag(),
        has_node_modules_dir: true,
        mode,
        unstable_features: features.ids().to_vec(),
        no_legacy_abort: features.no_legacy_abort,
        node_debug: std::env::var("NODE_DEBUG").ok(),
        ..BootstrapOptions::default()
    }
}
