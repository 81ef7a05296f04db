//! Web workers of a version: threads of the same process, with the same loader and services.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use deno_runtime::deno_node::NodeExtInitServices;
use deno_runtime::fmt_errors::format_js_error;
use deno_runtime::ops::worker_host::{CreateWebWorkerArgs, CreateWebWorkerCb};
use deno_runtime::web_worker::{WebWorker, WebWorkerOptions, WebWorkerServiceOptions};
use deno_runtime::{BootstrapOptions, WorkerExecutionMode};
use sys_traits::impls::RealSys;

use super::options::{bootstrap_options, create_params, extensions};
use super::services::{CountedWorker, Services};
use crate::cache::code;
use crate::deno::{Checker, Npm, Sys};
use crate::errors::refusals;
use crate::glue::crons;
use crate::glue::scripts::LAZY_JS;
use crate::glue::servers::{LAZY_ESM, Servers};
use crate::kernel::descriptors;
use crate::kernel::limits::{self, Reservation};
use crate::modules::loader::Loader;
use crate::telemetry;

thread_local! {
    /// Dropped with the worker's thread, after V8 has released all of the worker's memory.
    static THIS: Cell<Option<(CountedWorker, Reservation)>> = const { Cell::new(None) };
}

/// Returns the function with which Deno makes web workers.
pub(super) fn factory(services: Services) -> Arc<CreateWebWorkerCb> {
    Arc::new(move |args| {
        let project = services.project.get().expect("only a version makes workers");
        let limit = project.limits.workers;
        let Some(counted) = services.workers.enter(limit) else {
            log::warn!("no worker is started: {limit} are running, the most that limits.workers allows");
            // Ends this thread, which was started for the worker; the code that made it gets an
            // error.
            std::panic::resume_unwind(Box::new(limit));
        };
        let ((mut worker, handle, bootstrap), reservation) = limits::reserve(|| {
            WebWorker::from_options(worker_services(&services, &args), worker_options(&services, args))
        });
        THIS.set(Some((counted, reservation)));
        code::use_for_scripts(&worker.js_runtime, Services::cache(&services.project));
        worker.bootstrap(&bootstrap);
        let runtime = &mut worker.js_runtime;
        descriptors::guard(runtime);
        refusals::install(runtime);
        telemetry::follow_traces(runtime);
        crons::refuse(runtime);
        Servers::prepare(runtime).listen_at(runtime, project, false);
        (worker, handle)
    })
}

fn worker_services(
    services: &Services,
    args: &CreateWebWorkerArgs,
) -> WebWorkerServiceOptions<Checker, Npm, Sys> {
    let project = services.project.get().expect("only a version makes workers");
    let main_blob = args.maybe_main_module_blob.clone();
    let loader = Rc::new(Loader {
        project: Arc::clone(&services.project),
        blobs: Arc::clone(&services.blobs),
        main_blob: main_blob.map(|blob| (args.main_module.clone(), blob)),
        code_cache: Rc::default(),
    });
    let node_resolver = project.factory.node_resolver();
    WebWorkerServiceOptions {
        blob_store: Arc::clone(&services.blobs),
        broadcast_channel: services.broadcast.clone(),
        deno_rt_native_addon_loader: None,
        compiled_wasm_module_store: Some(services.wasm_modules.clone()),
        feature_checker: project.features.checker(),
        fs: Arc::clone(&services.fs),
        main_inspector_session_tx: services.debuggers.clone(),
        module_loader: Rc::clone(&loader) as _,
        node_services: Some(NodeExtInitServices {
            node_require_loader: loader,
            node_resolver: node_resolver.expect("the main thread has made it").clone(),
            pkg_json_resolver: project.factory.pkg_json_resolver().clone(),
            sys: RealSys,
        }),
        npm_process_state_provider: None,
        permissions: args.permissions.clone(),
        root_cert_store_provider: Some(Arc::clone(&services.certificates)),
        shared_array_buffer_store: Some(services.buffers.clone()),
        bundle_provider: None,
    }
}

fn worker_options(services: &Services, args: CreateWebWorkerArgs) -> WebWorkerOptions {
    let project = services.project.get().expect("only a version makes workers");
    WebWorkerOptions {
        name: args.name,
        main_module: args.main_module.clone(),
        worker_id: args.worker_id,
        bootstrap: BootstrapOptions {
            location: Some(args.main_module),
            close_on_idle: args.close_on_idle,
            args: project.entry.args.clone(),
            ..bootstrap_options(WorkerExecutionMode::Worker, &project.features)
        },
        extensions: extensions(),
        startup_snapshot: deno_snapshots::CLI_SNAPSHOT,
        residual_lazy_js_sources: &LAZY_JS,
        residual_lazy_esm_sources: &LAZY_ESM,
        unsafely_ignore_certificate_errors: None,
        create_params: Some(create_params(project.limits.memory)),
        seed: None,
        create_web_worker_cb: factory(services.clone()),
        format_js_error_fn: Some(Arc::new(|error| format_js_error(error, None))),
        worker_type: args.worker_type,
        cache_storage_dir: Some(services.data.join("caches")),
        stdio: Default::default(),
        trace_ops: None,
        close_on_idle: args.close_on_idle,
        maybe_worker_metadata: args.maybe_worker_metadata,
        maybe_main_module_blob: args.maybe_main_module_blob,
        maybe_coverage_dir: None,
        maybe_cpu_prof_config: None,
        enable_raw_imports: true,
        enable_stack_trace_arg_in_ops: false,
        wait_for_debugger_on_start: false,
        wait_for_page_wait_for_debugger: false,
    }
}
