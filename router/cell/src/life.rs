//! The life of a version in its cell: load, evaluate, serve, drain.

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::io::{self, Write as _};
use std::os::unix::net::UnixListener;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use deno_core::error::{CoreError, CoreErrorKind, JsError};
use deno_core::stats::{RuntimeActivity, RuntimeActivityStatsFactory, RuntimeActivityStatsFilter};
use deno_core::{JsRuntime, v8};
use deno_runtime::fmt_errors::format_js_error;
use deno_runtime::worker::MainWorker;
use switchyard_contract::event::Diagnostic;
use switchyard_protocol::{FromCell, Limit, ServerKind, Start};
use tokio::time::{sleep, timeout};

use crate::bounds;
use crate::control::{Control, UNFINISHED, Voice};
use crate::diagnose::{diagnose, misconfigured, plain};
use crate::disk;
use crate::ending::Ending;
use crate::inspector::Inspector;
use crate::log;
use crate::machine;
use crate::paths::Names;
use crate::permissions;
use crate::platform::{self, Background};
use crate::process::{self, trim_memory};
use crate::project::Project;
use crate::refusals;
use crate::requests;
use crate::roots::Roots;
use crate::runtime::{Spare, heap};
use crate::sandbox::{self, Rules};
use crate::servers::{self, Servers, Settle};
use crate::trace::explain;
use crate::watchdog::Pulse;
use crate::workers;

const NO_HANDLER: &str = "No handler: the entry has to `export default { fetch(request, info) {…} }`, \
     `export default function (request, info) {…}`, call `Deno.serve(…)`, or make a node:http server that listens; \
     TCP servers (node:net, node:tls) are not served";

/// How long after it began to serve a version gives back the memory that only its start has needed.
const SETTLED: Duration = Duration::from_secs(2);

/// How long the entry's evaluation may go on when a server listens: it may still fail, or make the server on the
/// project's port. A few seconds, as connections to databases and the like may take.
const EVALUATION: Duration = Duration::from_secs(5);

/// An evaluation that for so long has had nothing to wait for but requests awaits the end of its server, as with
/// `await Deno.serve(…).finished`.
const QUIET: Duration = Duration::from_millis(10);

/// Operations that wait for requests and signals.
const IDLE: [&str; 2] = ["op_http_wait", "op_signal_poll"];

/// From `Ready` to the exit status.
pub(crate) async fn live(mut control: Control, pulse: Pulse) -> i32 {
    let mut spare = Spare::new();
    requests::mark(&mut spare.worker);
    let servers = Servers::prepare(&mut spare.worker.js_runtime);
    let ending = Ending::prepare(&mut spare.worker.js_runtime);
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
    let settle = servers.listen_at(&mut spare.worker.js_runtime, &project, true);
    let runtime = &mut spare.worker.js_runtime;
    let background = platform::install(runtime, &start.api);
    let adapter = match workers::install(runtime, &start, &project) {
        Ok(adapter) => adapter,
        Err(error) => return fail(&control, diagnose(&project, &error)),
    };
    let mut version = Version {
        worker: spare.worker,
        project,
        control,
        inspector,
        settle,
        ending,
        background,
        adapter,
        evaluation: None,
    };
    match version.build().await {
        Ok(by) => version.serve(by, &pulse, Duration::from_millis(start.limits.event_loop)).await,
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
    machine::remember(start);
    refusals::of(start);
    let debuggers = start.inspect.as_ref().map(UnixListener::bind).transpose()?;
    let rules = rules?;
    let keeps_files = rules.keep_files();
    sandbox::confine(start, rules)?;
    let project = Arc::new(Project::open(start, roots, names).await?);
    spare.assign(start, Arc::clone(&project), permissions::of(start, keeps_files)?)?;
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

/// Runs an evaluation to its end. Returns `false` when a server listens and the evaluation is not waited for any longer.
async fn run_to_end(worker: &mut MainWorker, evaluation: &mut Evaluation) -> Result<bool, CoreError> {
    let polls = Cell::new(0_u64);
    let activity = worker.js_runtime.runtime_activity_stats_factory();
    let mut running = pin!(worker.run_event_loop(false));
    let running = poll_fn(|cx| {
        polls.set(polls.get() + 1);
        running.as_mut().poll(cx)
    });
    let patience = async {
        let awaits_requests = async {
            // What Node's sockets wait for is not known.
            if servers::listen().await == ServerKind::Node {
                pending::<()>().await;
            }
            awaits_requests(&polls, &activity).await;
        };
        servers::listen().await;
        _ = timeout(EVALUATION, awaits_requests).await;
    };
    tokio::select! {
        biased;
        evaluated = &mut *evaluation => evaluated?,
        () = patience => return Ok(false),
        ended = running => {
            ended?;
            evaluation.await?;
        }
    }
    Ok(true)
}

/// Returns when the event loop has had nothing to do for a while, and nothing is under way but servers and intervals.
async fn awaits_requests(polls: &Cell<u64>, activity: &RuntimeActivityStatsFactory) {
    let all = RuntimeActivityStatsFilter::default().with_ops().with_timers();
    let goes_on = |activity: &RuntimeActivity| match activity {
        RuntimeActivity::AsyncOp(_, _, name) => !IDLE.contains(name),
        RuntimeActivity::Timer(..) => true,
        RuntimeActivity::Interval(..) | RuntimeActivity::Resource(..) => false,
    };
    loop {
        let before = polls.get();
        sleep(QUIET).await;
        // The timer's own end has it polled once.
        if polls.get() <= before + 1 && !activity.clone().capture(&all).dump().active.iter().any(goes_on) {
            return;
        }
    }
}

/// Waits for the end of an evaluation that goes on.
async fn end_of(evaluation: &mut Option<Evaluation>) -> Result<(), CoreError> {
    match evaluation {
        Some(evaluation) => evaluation.await,
        None => pending().await,
    }
}

struct Version {
    worker: MainWorker,
    project: Arc<Project>,
    control: Control,
    inspector: Option<Inspector>,
    settle: Settle,
    ending: Ending,
    background: Option<Background>,
    adapter: Option<workers::Adapter>,
    /// The entry's evaluation, while it goes on though the version serves.
    evaluation: Option<Evaluation>,
}

type Evaluation = Pin<Box<dyn Future<Output = Result<(), CoreError>>>>;

impl Version {
    /// Until the handler serves.
    async fn build(&mut self) -> Result<ServerKind, Diagnostic> {
        let project = Arc::clone(&self.project);
        if let Some(lack) = &project.entry.lack {
            project.failures.note_lack(lack);
            return Err(plain(lack));
        }
        let exports = self.evaluate().await.map_err(|error| diagnose(&project, &error))?;
        let exports = match (&self.adapter, exports) {
            (Some(adapter), Some(exports)) => adapter.adapt(&mut self.worker.js_runtime, &exports).map(Some),
            (_, exports) => Ok(exports),
        };
        let exports = exports.map_err(|error| diagnose(&project, &error))?;
        let settled = self.settle.settle(&mut self.worker.js_runtime, exports);
        settled.map_err(|error| diagnose(&project, &error))?;
        // One turn: what the load has left to fail, such as a promise that nobody waits for, fails the build.
        let turn = self.worker.run_up_to_duration(Duration::ZERO).await;
        turn.map_err(|error| diagnose(&project, &error))?;
        tokio::select! {
            biased;
            kind = servers::serve(None) => Ok(kind),
            ended = self.worker.run_event_loop(false) => match ended {
                Ok(()) => Err(plain(NO_HANDLER)),
                Err(error) => Err(diagnose(&project, &error)),
            },
        }
    }

    /// Returns the exports of the entry. `None`: it awaits something that may be the end of its server, and goes on.
    async fn evaluate(&mut self) -> Result<Option<v8::Global<v8::Object>>, CoreError> {
        self.project.entry.preload(&mut self.worker).await?;
        let main = self.worker.preload_main_module(&self.project.entry.main_module).await?;
        let mut evaluation: Evaluation = Box::pin(self.worker.js_runtime.mod_evaluate(main));
        if !run_to_end(&mut self.worker, &mut evaluation).await? {
            self.evaluation = Some(evaluation);
            return Ok(None);
        }
        // What a module throws is to Deno the rejection of a promise, reported when the event loop runs next. A handler
        // may serve by then, so the module itself is asked: it has no exports when it threw.
        let exports = self.worker.js_runtime.get_module_namespace(main)?;
        self.worker.dispatch_load_event()?;
        Ok(Some(exports))
    }

    /// Until the version is drained, or ends by itself.
    async fn serve(&mut self, by: ServerKind, pulse: &Pulse, longest_turn: Duration) -> i32 {
        let voice = self.control.voice();
        if let Err(error) = pulse.watch(longest_turn, move || voice.exceed(Limit::EventLoop)) {
            let _ = writeln!(std::io::stderr(), "switchyard-cell: no thread: {error}");
            return 70;
        }
        self.control.send(&FromCell::Serving { by });
        pulse.beside(self.run(by)).await
    }

    async fn run(&mut self, mut by: ServerKind) -> i32 {
        let settled = sleep(SETTLED);
        tokio::pin!(settled);
        let mut trimmed = false;
        loop {
            tokio::select! {
                biased;
                within = self.control.draining().begun() => {
                    if let Some(inspector) = &mut self.inspector {
                        inspector.ended().await;
                    }
                    return self.terminate(within).await;
                }
                () = &mut settled, if !trimmed => {
                    trimmed = true;
                    let isolate = self.worker.js_runtime.v8_isolate();
                    // Collects in steps between other work: a full collection would hold up requests.
                    isolate.memory_pressure_notification(v8::MemoryPressureLevel::Moderate);
                    trim_memory();
                }
                other = servers::serve(Some(by)) => {
                    by = other;
                    self.control.send(&FromCell::Serving { by });
                }
                evaluated = end_of(&mut self.evaluation) => {
                    self.evaluation = None;
                    match evaluated.and_then(|()| Ok(self.worker.dispatch_load_event()?)) {
                        Ok(()) => {}
                        Err(error) => return self.report(&error),
                    }
                }
                ended = self.worker.run_event_loop(false) => match ended.and_then(|()| self.goes_on()) {
                    Ok(true) => {}
                    Ok(false) => return self.leave(self.worker.exit_code()),
                    Err(error) => return self.report(&error),
                },
            }
        }
    }

    /// Ends the project as SIGTERM ends a program: by its handlers, whose work is waited for, or at once
    /// where it has none.
    async fn terminate(&mut self, within: Duration) -> i32 {
        match tokio::time::timeout(within, self.finish()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return self.report(&error),
            Err(_) => requests::print(UNFINISHED),
        }
        self.leave(0)
    }

    /// Runs handlers of SIGTERM, then what any program has that ends by itself, until nothing is left to
    /// do but to serve.
    async fn finish(&mut self) -> Result<(), CoreError> {
        if let Some(background) = &self.background {
            background.finish(&mut self.worker.js_runtime).await?;
        }
        let is_handled = deno_signals::raise(deno_signals::SIGTERM);
        if is_handled {
            // Handlers run in this turn. The server keeps it alive, so that it is not taken for the last.
            self.worker.run_up_to_duration(Duration::ZERO).await?;
        }
        let has_more = self.ending.let_go_of_servers(&mut self.worker.js_runtime);
        if !is_handled && !has_more && !self.worker.dispatch_beforeunload_event()? {
            return Ok(());
        }
        loop {
            self.worker.run_event_loop(false).await?;
            if !self.goes_on()? {
                return Ok(());
            }
            // Nothing else here waits when the project always wants to go on.
            tokio::task::yield_now().await;
        }
    }

    /// Asks the project, which has nothing left to do, whether it wants to go on.
    fn goes_on(&mut self) -> Result<bool, CoreError> {
        Ok(self.worker.dispatch_beforeunload_event()? || self.worker.dispatch_process_beforeexit_event()?)
    }

    /// Has the project hear that this is the end. The control thread ends the process if that takes long.
    fn leave(&mut self, code: i32) -> i32 {
        let left =
            self.worker.dispatch_unload_event().and_then(|()| self.worker.dispatch_process_exit_event());
        match left {
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
