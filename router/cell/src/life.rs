//! The life of a version in its cell: load, evaluate, serve, drain.

use std::io::{self, Write as _};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use deno_core::error::{CoreError, CoreErrorKind, JsError};
use deno_core::{JsRuntime, v8};
use deno_runtime::deno_http::{SERVE_NOTIFIER, serving_server_kind};
use deno_runtime::fmt_errors::format_js_error;
use deno_runtime::worker::MainWorker;
use switchyard_bridge::event::Diagnostic;
use switchyard_protocol::{FromCell, Limit, Start};

use crate::bounds;
use crate::control::{Control, Voice};
use crate::diagnose::{diagnose, misconfigured, plain};
use crate::disk;
use crate::inspector::Inspector;
use crate::log;
use crate::paths::Names;
use crate::permissions;
use crate::platform::{self, Background};
use crate::process::{self, trim_memory};
use crate::project::Project;
use crate::requests;
use crate::roots::Roots;
use crate::runtime::{Spare, heap};
use crate::sandbox::{self, Rules};
use crate::servers::{DefaultExport, Servers};
use crate::trace::explain;
use crate::watchdog::Pulse;
use crate::workers;

const NO_HANDLER: &str = "No handler: the entry has to `export default { fetch(request, info) {…} }`, \
     `export default function (request, info) {…}`, call `Deno.serve(…)`, or make a node:http server that listens";

/// How long after it began to serve a version gives back the memory that only its start has needed.
const SETTLED: Duration = Duration::from_secs(2);

/// From `Ready` to the exit status.
pub(crate) async fn live(mut control: Control, pulse: Pulse) -> i32 {
    let mut spare = Spare::new();
    requests::mark(&mut spare.worker);
    let servers = Servers::prepare(&mut spare.worker.js_runtime);
    let rules = Rules::prepare();
    trim_memory();
    control.send(&FromCell::Ready);
    let start = control.start().await;
    let roots = Roots::of(&start);
    let names = Names::new(&roots);
    log::show_paths_as(names.clone());
    let voice = control.voice();
    disk::limit(&start, move || voice.out_of_room());
    let (project, debuggers) = match assign(&mut spare, rules, &start, roots, names.clone()).await {
        Ok(assigned) => assigned,
        Err(error) => return fail(&control, misconfigured(&names, &error)),
    };
    limit_heap(&mut spare.worker.js_runtime, heap(start.limits.memory), control.voice());
    let inspector = match let_debuggers_in(debuggers, &spare, &start, &control, &pulse) {
        Ok(inspector) => inspector,
        Err(error) => return fail(&control, misconfigured(&names, &error.into())),
    };
    let default_export = servers.listen_at(&mut spare.worker.js_runtime, &start.socket, &start.probe);
    let runtime = &mut spare.worker.js_runtime;
    let background = platform::install(runtime, &start.api);
    let adapter = match workers::install(runtime, &start, &project) {
        Ok(adapter) => adapter,
        Err(error) => return fail(&control, diagnose(&project, &error)),
    };
    let mut version =
        Version { worker: spare.worker, project, control, inspector, default_export, background, adapter };
    match version.build().await {
        Ok(()) => version.serve(&pulse, Duration::from_millis(start.limits.event_loop)).await,
        Err(diagnostic) if version.project.failures.is_lack(&diagnostic.message) => {
            version.control.send(&FromCell::Missing(diagnostic.bounded()));
            1
        }
        Err(diagnostic) => fail(&version.control, diagnostic),
    }
}

/// More than V8's heap may have ends the cell, and the router hears why before V8 gives up with an abort.
fn limit_heap(runtime: &mut JsRuntime, limit: usize, voice: Voice) {
    // A spare is made with the limit that most have: to lower it, V8 wants a callback to be taken away again.
    runtime.add_near_heap_limit_callback(|limit, _| limit);
    runtime.remove_near_heap_limit_callback(limit);
    runtime.add_near_heap_limit_callback(
        move |reached, _| {
            if reached >= limit { voice.exceed(Limit::Memory) } else { limit }
        },
    );
}

/// Makes the process the version's: user, directory, environment, sockets, permissions,
/// configuration. Returns the listener for debuggers too, if they are let in: none can be made later.
async fn assign(
    spare: &mut Spare,
    rules: anyhow::Result<Rules>,
    start: &Start,
    roots: Roots,
    names: Names,
) -> anyhow::Result<(Arc<Project>, Option<UnixListener>)> {
    // First: the sockets are to be its user's.
    sandbox::become_user(start.identity.clone())?;
    std::env::set_current_dir(&start.checkout)?;
    set_environment(start);
    bounds::set(&start.limits)?;
    let debuggers = start.inspect.as_ref().map(UnixListener::bind).transpose()?;
    sandbox::confine(start, rules?)?;
    let project = Arc::new(Project::open(start, roots, names).await?);
    spare.assign(Arc::clone(&project), permissions::of(start)?)?;
    Ok((project, debuggers))
}

fn let_debuggers_in(
    listener: Option<UnixListener>,
    spare: &Spare,
    start: &Start,
    control: &Control,
    pulse: &Pulse,
) -> io::Result<Option<Inspector>> {
    let Some(listener) = listener else { return Ok(None) };
    Inspector::listen(
        listener,
        &start.version,
        spare.let_debuggers_in(),
        pulse.clone(),
        control.draining().clone(),
    )
    .map(Some)
}

/// The other threads are V8's and the control reader, which do not look at the environment.
fn set_environment(start: &Start) {
    let ours = [("DENO_TRUST_PROXY_HEADERS", "1".into())];
    let given = start.env.iter().map(|(name, value)| (name.as_str(), value.as_str().into()));
    process::set_environment(given.chain(ours));
}

fn fail(control: &Control, diagnostic: Diagnostic) -> i32 {
    // The router does the same, and ends a cell whose line is too long.
    control.send(&FromCell::Failed(diagnostic.bounded()));
    1
}

struct Version {
    worker: MainWorker,
    project: Arc<Project>,
    control: Control,
    inspector: Option<Inspector>,
    default_export: DefaultExport,
    background: Option<Background>,
    adapter: Option<workers::Adapter>,
}

impl Version {
    /// Until the handler serves.
    async fn build(&mut self) -> Result<(), Diagnostic> {
        let project = Arc::clone(&self.project);
        let exports = self.evaluate().await.map_err(|error| diagnose(&project, &error))?;
        let exports = match &self.adapter {
            Some(adapter) => adapter.adapt(&mut self.worker.js_runtime, &exports),
            None => Ok(exports),
        };
        let exports = exports.map_err(|error| diagnose(&project, &error))?;
        if serving_server_kind().is_none() {
            let served = self.default_export.serve(&mut self.worker.js_runtime, exports);
            served.map_err(|error| diagnose(&project, &error))?;
        }
        // One turn: what the load has left to fail, such as a promise that nobody waits for, fails the build.
        let turn = self.worker.run_up_to_duration(Duration::ZERO).await;
        turn.map_err(|error| diagnose(&project, &error))?;
        tokio::select! {
            biased;
            () = SERVE_NOTIFIER.notified() => Ok(()),
            ended = self.worker.run_event_loop(false) => match ended {
                Ok(()) => Err(plain(NO_HANDLER)),
                Err(error) => Err(diagnose(&project, &error)),
            },
        }
    }

    async fn evaluate(&mut self) -> Result<v8::Global<v8::Object>, CoreError> {
        let main = self.worker.preload_main_module(&self.project.main_module).await?;
        self.worker.evaluate_module(main).await?;
        // What a module throws is to Deno the rejection of a promise, reported when the event loop runs next. A handler
        // may serve by then, so the module itself is asked: it has no exports when it threw.
        let exports = self.worker.js_runtime.get_module_namespace(main)?;
        self.worker.dispatch_load_event()?;
        Ok(exports)
    }

    /// Until the version is drained, or ends by itself.
    async fn serve(&mut self, pulse: &Pulse, longest_turn: Duration) -> i32 {
        let voice = self.control.voice();
        if let Err(error) = pulse.watch(longest_turn, move || voice.exceed(Limit::EventLoop)) {
            let _ = writeln!(std::io::stderr(), "switchyard-cell: no thread: {error}");
            return 70;
        }
        self.control.send(&FromCell::Serving);
        pulse.beside(self.run()).await
    }

    async fn run(&mut self) -> i32 {
        let settled = tokio::time::sleep(SETTLED);
        tokio::pin!(settled);
        let mut trimmed = false;
        loop {
            tokio::select! {
                biased;
                () = self.control.draining().begun() => {
                    if let Some(inspector) = &mut self.inspector {
                        inspector.ended().await;
                    }
                    if let Some(background) = &self.background
                        && let Err(error) = background.finish(&mut self.worker.js_runtime).await
                    {
                        return self.report(&error);
                    }
                    return self.say_goodbye(0);
                }
                () = &mut settled, if !trimmed => {
                    trimmed = true;
                    let isolate = self.worker.js_runtime.v8_isolate();
                    // Collects in steps between other work: a full collection would hold up requests.
                    isolate.memory_pressure_notification(v8::MemoryPressureLevel::Moderate);
                    trim_memory();
                }
                ended = self.worker.run_event_loop(false) => match ended.and_then(|()| self.goes_on()) {
                    Ok(true) => {}
                    Ok(false) => return self.say_goodbye(self.worker.exit_code()),
                    Err(error) => return self.report(&error),
                },
            }
        }
    }

    /// Asks the project, which has nothing left to do, whether it wants to go on.
    fn goes_on(&mut self) -> Result<bool, CoreError> {
        Ok(self.worker.dispatch_beforeunload_event()? || self.worker.dispatch_process_beforeexit_event()?)
    }

    /// The control thread ends the process if this takes long.
    fn say_goodbye(&mut self, code: i32) -> i32 {
        let said = self
            .worker
            .dispatch_beforeunload_event()
            .and_then(|_| self.worker.dispatch_unload_event())
            .and_then(|()| self.worker.dispatch_process_exit_event());
        match said {
            Ok(()) => code,
            Err(error) => self.report(&CoreErrorKind::Js(error).into_box()),
        }
    }

    /// An error that nobody caught ends a version, as it ends a program.
    fn report(&self, error: &CoreError) -> i32 {
        let text = match error.as_kind() {
            // The line that it would show is the one of the innermost place, whoever's that is.
            CoreErrorKind::Js(error) => {
                let error = JsError { source_line: None, ..(**error).clone() };
                format_js_error(&error, None)
            }
            other => other.to_string(),
        };
        requests::print(&format!("error: {}", explain(&self.project, &text)));
        1
    }
}
