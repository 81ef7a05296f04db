//! A version in its cell: evaluated, served, drained.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use deno_core::error::{CoreError, CoreErrorKind, JsError};
use deno_core::v8;
use deno_runtime::fmt_errors::format_js_error;
use deno_runtime::worker::MainWorker;
use switchyard_contract::event::Diagnostic;
use switchyard_protocol::{FromCell, Limit};
use tokio::time::{sleep, timeout};

use super::evaluation::{Evaluation, end_of, run_to_end, run_until_quiet};
use crate::errors::diagnose::{diagnose, plain};
use crate::errors::trace::explain;
use crate::glue::crons::Crons;
use crate::glue::ending::EndingGlue;
use crate::glue::platform::BackgroundGlue;
use crate::glue::servers::{self, ServerForm, SettleGlue};
use crate::glue::{requests, workers};
use crate::kernel::control::{Control, UNFINISHED};
use crate::kernel::process::trim_memory;
use crate::kernel::watchdog::Pulse;
use crate::modules::project::Project;
use crate::runtime::inspector::Inspector;

const NO_HANDLER: &str = "No handler: the entry has to `export default { fetch(request, info) {…} }`, \
     `export default function (request, info) {…}`, call `Deno.serve(…)`, or make a node:http server \
     that listens; TCP servers (node:net, node:tls) are not served";

/// The time from the first serving to the return of memory that only the start has needed.
const TRIM_AFTER: Duration = Duration::from_secs(2);

/// A version that has been assigned to this cell.
pub(super) struct Version {
    pub(super) worker: MainWorker,
    pub(super) project: Arc<Project>,
    pub(super) control: Control,
    pub(super) inspector: Option<Inspector>,
    pub(super) settle: SettleGlue,
    pub(super) ending: EndingGlue,
    pub(super) crons: Crons,
    pub(super) background: Option<BackgroundGlue>,
    pub(super) adapter: Option<workers::Adapter>,
    /// The entry's evaluation, if it continues while the version serves.
    pub(super) evaluation: Option<Evaluation>,
}

impl Version {
    /// Evaluates the entry and waits until a handler serves.
    ///
    /// # Errors
    /// The diagnostic of the failure.
    pub(super) async fn build(&mut self) -> Result<ServerForm, Diagnostic> {
        let project = Arc::clone(&self.project);
        if let Some(missing) = &project.entry.missing {
            project.failures.note_fetchable(missing);
            return Err(plain(missing));
        }
        let exports = self.evaluate().await.map_err(|error| diagnose(&project, &error))?;
        let exports = match (&self.adapter, exports) {
            (Some(adapter), Some(exports)) => adapter.adapt(&mut self.worker.js_runtime, &exports).map(Some),
            (_, exports) => Ok(exports),
        };
        let exports = exports.map_err(|error| diagnose(&project, &error))?;
        let settled = self.settle.select(&mut self.worker.js_runtime, exports);
        settled.map_err(|error| diagnose(&project, &error))?;
        // One turn, so that failures left over from loading, such as a promise that nothing awaits,
        // fail the build.
        let turn = self.worker.run_up_to_duration(Duration::ZERO).await;
        turn.map_err(|error| diagnose(&project, &error))?;
        if !self.crons.is_empty() && self.evaluation.is_none() {
            self.serve_for_crons().await.map_err(|error| diagnose(&project, &error))?;
        }
        tokio::select! {
            biased;
            form = servers::served_form(None) => Ok(form),
            ended = self.worker.run_event_loop(false) => match ended {
                Ok(()) => Err(plain(NO_HANDLER)),
                Err(error) => Err(diagnose(&project, &error)),
            },
        }
    }

    /// Serves an entry that registers crons and serves nothing: its requests are answered with 404.
    ///
    /// # Errors
    /// The project's code throws.
    async fn serve_for_crons(&mut self) -> Result<(), CoreError> {
        let is_served = servers::served_form(None);
        if run_until_quiet(&mut self.worker, is_served).await? {
            let stub = self.crons.stub(&mut self.worker.js_runtime);
            self.settle.select(&mut self.worker.js_runtime, stub)?;
        }
        Ok(())
    }

    /// Returns the exports of the entry, or `None` if it awaits something that may be the end of
    /// its server, and continues.
    pub(super) async fn evaluate(&mut self) -> Result<Option<v8::Global<v8::Object>>, CoreError> {
        self.project.entry.preload(&mut self.worker).await?;
        let main = self.worker.preload_main_module(&self.project.entry.main_module).await?;
        let mut evaluation: Evaluation = Box::pin(self.worker.js_runtime.mod_evaluate(main));
        if !run_to_end(&mut self.worker, &mut evaluation).await? {
            self.evaluation = Some(evaluation);
            return Ok(None);
        }
        // Deno reports a module's exception as the rejection of a promise when the event loop runs
        // next. A handler may serve by then, so the module itself is checked: it has no exports if
        // it threw.
        let exports = self.worker.js_runtime.get_module_namespace(main)?;
        self.worker.dispatch_load_event()?;
        Ok(Some(exports))
    }

    /// Serves until the version is drained or ends on its own. Returns the exit status.
    pub(super) async fn serve(&mut self, form: ServerForm, pulse: &Pulse, max_turn: Duration) -> i32 {
        let reporter = self.control.reporter();
        if let Err(error) = pulse.watch(max_turn, move || reporter.exceed(Limit::EventLoop)) {
            let _ = writeln!(std::io::stderr(), "switchyard-cell: cannot start a thread: {error}");
            return 70;
        }
        // First, so that they are known when the version is published.
        self.crons.report();
        self.announce(form);
        pulse.run(self.run(form)).await
    }

    fn announce(&self, form: ServerForm) {
        let ServerForm { kind, is_framed } = form;
        self.control.send(&FromCell::Serving { by: kind, framed: is_framed });
    }

    async fn run(&mut self, mut form: ServerForm) -> i32 {
        let trim_time = sleep(TRIM_AFTER);
        tokio::pin!(trim_time);
        let mut is_trimmed = false;
        loop {
            tokio::select! {
                biased;
                within = self.control.draining().started() => {
                    if let Some(inspector) = &mut self.inspector {
                        inspector.ended().await;
                    }
                    return self.terminate(within).await;
                }
                () = &mut trim_time, if !is_trimmed => {
                    is_trimmed = true;
                    let isolate = self.worker.js_runtime.v8_isolate();
                    // Collects in steps between other work: a full collection would delay requests.
                    isolate.memory_pressure_notification(v8::MemoryPressureLevel::Moderate);
                    trim_memory();
                }
                other = servers::served_form(Some(form)) => {
                    form = other;
                    self.announce(form);
                }
                evaluated = end_of(&mut self.evaluation) => {
                    self.evaluation = None;
                    match evaluated.and_then(|()| Ok(self.worker.dispatch_load_event()?)) {
                        Ok(()) => {}
                        Err(error) => return self.report(&error),
                    }
                }
                ended = self.worker.run_event_loop(false) => {
                    match ended.and_then(|()| self.wants_to_go_on()) {
                        Ok(true) => {}
                        Ok(false) => return self.run_exit_handlers(self.worker.exit_code()),
                        Err(error) => return self.report(&error),
                    }
                }
            }
        }
    }

    /// Ends the project as SIGTERM ends a program: through its handlers, whose work is awaited, or
    /// at once if it has none.
    async fn terminate(&mut self, within: Duration) -> i32 {
        self.crons.close();
        match timeout(within, self.finish()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return self.report(&error),
            Err(_) => requests::print(UNFINISHED),
        }
        self.run_exit_handlers(0)
    }

    /// Runs the handlers of SIGTERM, then those of a program that ends on its own, until nothing is
    /// left to do but to serve.
    async fn finish(&mut self) -> Result<(), CoreError> {
        if let Some(background) = &self.background {
            background.finish(&mut self.worker.js_runtime).await?;
        }
        let is_handled = deno_signals::raise(deno_signals::SIGTERM);
        if is_handled {
            // Handlers run in this turn. The server keeps it alive, so it is not taken for the
            // last.
            self.worker.run_up_to_duration(Duration::ZERO).await?;
        }
        let listens = self.ending.release_servers(&mut self.worker.js_runtime);
        if !is_handled && !listens && !self.worker.dispatch_beforeunload_event()? {
            return Ok(());
        }
        loop {
            self.worker.run_event_loop(false).await?;
            if !self.wants_to_go_on()? {
                return Ok(());
            }
            // Nothing else here waits if the project always wants to go on.
            tokio::task::yield_now().await;
        }
    }

    /// Dispatches `beforeunload` and `beforeExit` to a project that has nothing left to do. Returns
    /// `true` if a listener wants it to go on.
    fn wants_to_go_on(&mut self) -> Result<bool, CoreError> {
        Ok(self.worker.dispatch_beforeunload_event()? || self.worker.dispatch_process_beforeexit_event()?)
    }

    /// Runs the listeners of `unload` and `exit`. The control thread ends the process if that takes
    /// long.
    fn run_exit_handlers(&mut self, code: i32) -> i32 {
        let unloaded =
            self.worker.dispatch_unload_event().and_then(|()| self.worker.dispatch_process_exit_event());
        match unloaded {
            Ok(()) => code,
            Err(error) => self.report(&CoreErrorKind::Js(error).into_box()),
        }
    }

    /// Prints an uncaught error, which ends a version as it ends a program.
    pub(super) fn report(&self, error: &CoreError) -> i32 {
        let text = match error.as_kind() {
            // V8's source line is that of the innermost location, also outside of the project.
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
