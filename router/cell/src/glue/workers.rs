//! Cloudflare Workers: their handlers, their interfaces and Cloudflare's own modules.

mod assets;
mod service_worker;

use deno_core::error::CoreError;
use deno_core::{JsRuntime, v8};
use serde_json::json;
use switchyard_detect::wrangler::Worker;
use switchyard_protocol::{PlatformApi, Start};

use crate::js;
use crate::modules::project::Project;

/// Variables that the router gives to every version: they are not secrets, and not in a Worker's
/// `env`.
const ROUTER_VARIABLES: [&str; 6] =
    ["DATA_DIR", "NODE_ENV", "PORT", "SWITCHYARD_PROJECT", "SWITCHYARD_VERSION", "TMPDIR"];

/// Modules of the glue, each after those that it imports; [`crate::glue::platform`] has loaded
/// `background.js`.
const PARTS: [(&str, &str); 2] = [
    ("ext:switchyard/workers/websocket.js", include_str!("workers/websocket.js")),
    ("ext:switchyard/workers/cache.js", include_str!("workers/cache.js")),
];

/// Cloudflare's modules, by their specifiers in `modules::wrangler`.
const CLOUDFLARE_MODULES: [(&str, &str); 3] = [
    ("node:_cloudflare_workers", include_str!("workers/cloudflare_workers.js")),
    ("node:_cloudflare_node", include_str!("workers/cloudflare_node.js")),
    ("node:_cloudflare_sockets", include_str!("workers/cloudflare_sockets.js")),
];

/// The function that turns a main module's exports into a handler.
pub(crate) struct Adapter(v8::Global<v8::Function>);

/// Installs the interfaces of Workers, if the version is a Worker. Must be called before the
/// project's code runs.
///
/// # Errors
/// The configuration has values that cannot be given to the code.
pub(crate) fn install(
    runtime: &mut JsRuntime,
    start: &Start,
    project: &Project,
) -> Result<Option<Adapter>, CoreError> {
    let PlatformApi::Workers(worker) = &start.api else { return Ok(None) };
    for (specifier, code) in PARTS {
        js::load_module(runtime, specifier, code);
    }
    assets::prepare(runtime);
    let main = js::load_function(runtime, "ext:switchyard/workers/main.js", include_str!("workers/main.js"));
    let web = js::load_function(runtime, "ext:switchyard/workers/web.js", include_str!("workers/web.js"));
    for (specifier, code) in CLOUDFLARE_MODULES {
        js::load_module(runtime, specifier, code);
    }
    let settings = settings(worker, start, project);
    invoke(runtime, &web, &settings)?;
    let adapt = invoke(runtime, &main, &settings)?;
    deno_core::scope!(scope, runtime);
    let adapt = v8::Local::new(scope, adapt);
    let adapt = v8::Local::<v8::Function>::try_from(adapt).expect("the glue returns a function");
    Ok(Some(Adapter(v8::Global::new(scope, adapt))))
}

impl Adapter {
    /// Returns the exports to serve with Deno's server.
    ///
    /// # Errors
    /// The project's code throws when its exports are read.
    pub(crate) fn adapt(
        &self,
        runtime: &mut JsRuntime,
        exports: &v8::Global<v8::Object>,
    ) -> Result<v8::Global<v8::Object>, CoreError> {
        deno_core::scope!(scope, runtime);
        v8::tc_scope!(let scope, scope);
        let adapt = v8::Local::new(scope, &self.0);
        let exports = v8::Local::new(scope, exports);
        let this = v8::undefined(scope).into();
        let adapted = adapt.call(scope, this, &[exports.into()]);
        let adapted = adapted.and_then(|adapted| v8::Local::<v8::Object>::try_from(adapted).ok());
        match (adapted, scope.exception()) {
            (Some(adapted), _) => Ok(v8::Global::new(scope, adapted)),
            (None, Some(exception)) => Err(deno_core::exception_to_err(scope, exception, false, true).into()),
            (None, None) => Ok(v8::Global::new(scope, exports)),
        }
    }
}

fn invoke(
    runtime: &mut JsRuntime,
    function: &v8::Global<v8::Function>,
    argument: &str,
) -> Result<v8::Global<v8::Value>, CoreError> {
    deno_core::scope!(scope, runtime);
    v8::tc_scope!(let scope, scope);
    let function = v8::Local::new(scope, function);
    let argument = v8::String::new(scope, argument).expect("V8's strings hold any configuration");
    let this = v8::undefined(scope).into();
    match (function.call(scope, this, &[argument.into()]), scope.exception()) {
        (Some(result), _) => Ok(v8::Global::new(scope, result)),
        (None, Some(exception)) => Err(deno_core::exception_to_err(scope, exception, false, true).into()),
        (None, None) => Ok(v8::Global::new(scope, v8::undefined(scope).cast::<v8::Value>())),
    }
}

/// Returns the settings that the glue reads, as JSON.
fn settings(worker: &Worker, start: &Start, project: &Project) -> String {
    let granted = start.env.iter().filter(|(name, _)| !ROUTER_VARIABLES.contains(&name.as_str()));
    let values: serde_json::Map<_, _> = granted.map(|(name, value)| (name.clone(), json!(value))).collect();
    json!({
        "file": worker.file,
        "vars": worker.vars,
        "values": values,
        "secrets": worker.secrets,
        "define": worker.define,
        "assets": worker.assets.as_ref().and_then(|assets| assets.binding.as_ref()),
        "crons": worker.crons,
        "version": start.version,
        "version_metadata": worker.version_metadata,
        "rate_limits": worker.rate_limits,
        "nodeCompat": worker.node_compat,
        "isServiceWorker": service_worker::is_service_worker(project),
    })
    .to_string()
}
