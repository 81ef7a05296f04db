//! The main worker, assembled before the version is known: everything that does not depend on the
//! version is done in a spare, so that little is left between `Start` and `Serving`.

use std::rc::Rc;
use std::sync::Arc;

use deno_core::futures::channel::mpsc::UnboundedSender;
use deno_core::url::Url;
use deno_core::{InspectorSessionProxy, v8};
use deno_runtime::WorkerExecutionMode;
use deno_runtime::deno_inspector_server::MainInspectorSessionChannel;
use deno_runtime::deno_node::{NodeRequireLoaderRc, NodeResolverRc};
use deno_runtime::deno_permissions::{Permissions, PermissionsContainer, RuntimePermissionDescriptorParser};
use deno_runtime::fmt_errors::format_js_error;
use deno_runtime::worker::{MainWorker, WorkerOptions, WorkerServiceOptions};
use node_resolver::PackageJsonResolverRc;
use switchyard_protocol::Start;
use sys_traits::impls::RealSys;

pub(crate) use super::options::heap_limit;
use super::options::{bootstrap_options, create_params, extensions};
use super::services::Services;
use super::{certificates, locale, web_worker};
use crate::cache::code;
use crate::deno::{Checker, Npm, Sys};
use crate::errors::refusals;
use crate::glue::begin::BeginGlue;
use crate::glue::scripts::LAZY_JS;
use crate::glue::servers::LAZY_ESM;
use crate::kernel::descriptors;
use crate::modules::features::Features;
use crate::modules::loader::Loader;
use crate::modules::project::{Project, ProjectSlot};
use crate::telemetry;

/// The memory limit (in bytes) that a spare is made with: the most common one.
const USUAL_MEMORY: u64 = 256 << 20;

/// A runtime that waits for its version.
pub(crate) struct Spare {
    pub(crate) worker: MainWorker,
    loader: Rc<Loader>,
    begin: Option<BeginGlue>,
    project: ProjectSlot,
    debuggers: MainInspectorSessionChannel,
}

impl Spare {
    /// Assembles a runtime without a version.
    pub(crate) fn new() -> Self {
        let services = Services::new();
        let loader = Rc::new(Loader {
            project: Arc::clone(&services.project),
            blobs: Arc::clone(&services.blobs),
            main_blob: None,
            code_cache: Rc::default(),
        });
        let mut worker = main_worker(&services, &loader);
        descriptors::guard(&mut worker.js_runtime);
        refusals::install(&mut worker.js_runtime);
        telemetry::follow_traces(&mut worker.js_runtime);
        let begin = Some(BeginGlue::prepare(&mut worker.js_runtime));
        Self { worker, loader, begin, project: services.project, debuggers: services.debuggers }
    }

    /// Makes the runtime the version's. The environment must be the version's already.
    ///
    /// # Errors
    /// Deno's resolver cannot be created.
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
        // V8 read TZ before the version's environment was set.
        self.worker
            .js_runtime
            .v8_isolate()
            .date_time_configuration_change_notification(v8::TimeZoneDetection::Redetect);
        locale::follow_environment(self.worker.js_runtime.v8_isolate());
        let options = bootstrap_options(WorkerExecutionMode::Deploy, &project.features);
        if let Some(begin) = self.begin.take() {
            begin.begin(&mut self.worker.js_runtime, options, &project.features);
        }
        project.entry.add_args(&mut self.worker);
        _ = self.project.set(project);
        code::use_for_scripts(&self.worker.js_runtime, Services::cache(&self.project));
        Ok(())
    }

    /// Lets debuggers find the version's web workers too. Returns the sender for their sessions.
    /// V8's inspector exists already: Deno makes each isolate with it.
    pub(crate) fn enable_inspector(&self) -> UnboundedSender<InspectorSessionProxy> {
        let sessions = self.worker.js_runtime.inspector().get_session_sender();
        self.debuggers.set(sessions.clone());
        sessions
    }
}

fn main_worker(services: &Services, loader: &Rc<Loader>) -> MainWorker {
    let nothing = Permissions::none_without_prompt();
    // The features of every project: `assign` adds those of the version.
    let features = Features::new(&[]);
    let parser = Arc::new(RuntimePermissionDescriptorParser::new(RealSys));
    MainWorker::bootstrap_from_options(
        &Url::parse("file:///").expect("a constant URL is valid"),
        WorkerServiceOptions::<Checker, Npm, Sys> {
            blob_store: Arc::clone(&services.blobs),
            broadcast_channel: services.broadcast.clone(),
            deno_rt_native_addon_loader: None,
            feature_checker: features.checker(),
            fs: Arc::clone(&services.fs),
            module_loader: Rc::clone(loader) as _,
            // Set by `assign`.
            node_services: None,
            npm_process_state_provider: None,
            permissions: PermissionsContainer::new(parser, nothing),
            root_cert_store_provider: Some(Arc::clone(&services.certificates)),
            fetch_dns_resolver: Default::default(),
            shared_array_buffer_store: Some(services.buffers.clone()),
            compiled_wasm_module_store: Some(services.wasm_modules.clone()),
            // Set by `assign` too, keyed by the whole source and not by a hash of it.
            v8_code_cache: None,
            bundle_provider: None,
        },
        WorkerOptions {
            // Not `Run`: Deno would warn of a default export that it does not serve, and we do.
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
