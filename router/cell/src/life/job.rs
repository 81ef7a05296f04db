//! The job of a cell that serves nothing: modules linked, a handler called, or a registry read.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use deno_core::error::{CoreError, CoreErrorKind, JsError};
use deno_core::futures::FutureExt as _;
use deno_core::url::Url;
use deno_core::v8;
use serde_json::Value;
use switchyard_contract::bounds::cut;
use switchyard_contract::event::Diagnostic;
use switchyard_contract::run::RunError;
use switchyard_protocol::{Call, FromCell, Handler, Job, Limit, Start};

use super::evaluation::{Evaluation, run_to_end};
use super::version::Version;
use crate::errors::diagnose::{diagnose, plain};
use crate::glue::job::{self, Called, JobGlue};
use crate::glue::requests;
use crate::kernel::control::JobMessage;
use crate::kernel::watchdog::Pulse;

const NO_HANDLER: &str = "No handler: a task has to `export default async function (ctx) {…}`, or \
     `export async function main(ctx) {…}`, or stage functions (`export const ingestion = …`)";

const NO_SCHEDULED: &str =
    "No handler: the entry has to `export default { scheduled(controller, env, ctx) {…} }`";

const ENDLESS: &str =
    "the module's evaluation does not end: a task's module returns, and its handler does the work";

const NEVER_SETTLES: &str = "the handler never settles: it awaits a promise that nothing is left to resolve \
     (no timer, connection, file or step is pending)";

/// Bytes of a [`RunError`]'s message. Its diagnostic has more.
const MESSAGE: usize = 2 << 10;

impl Version {
    /// Does a job. Returns the exit status; the router has been told of the outcome.
    ///
    /// # Errors
    /// The job has not begun: the diagnostic of the reason.
    pub(super) async fn work(&mut self, job: Job, start: &Start, pulse: &Pulse) -> Result<i32, Diagnostic> {
        match job {
            Job::Link { modules } => {
                self.link(&modules).await?;
                self.control.send(&FromCell::Linked);
                Ok(0)
            }
            Job::Call(call) => self.call(*call, start, pulse).await,
            Job::Registry { max_result } => self.registry(start, max_result).await,
        }
    }

    /// Loads and links modules.
    async fn link(&mut self, modules: &[String]) -> Result<(), Diagnostic> {
        for module in modules {
            let path = self.project.roots.checkout.join(module);
            let url = Url::from_file_path(&path).map_err(|()| plain(format!("{module} is not a path")))?;
            let linked = self.worker.preload_side_module(&url).await;
            linked.map_err(|error| diagnose(&self.project, &error))?;
        }
        Ok(())
    }

    async fn call(&mut self, call: Call, start: &Start, pulse: &Pulse) -> Result<i32, Diagnostic> {
        let reporter = self.control.reporter();
        let glue = JobGlue::prepare(&mut self.worker.js_runtime, &call, start, &reporter);
        let exports = match call.handler {
            Handler::Task => self.evaluate_module().await?,
            Handler::Scheduled { .. } => self.evaluate_entry().await?,
        };
        let selected = glue.select(&mut self.worker.js_runtime, exports);
        if !selected.map_err(|error| diagnose(&self.project, &error))? {
            let message = if call.handler == Handler::Task { NO_HANDLER } else { NO_SCHEDULED };
            return Err(Diagnostic { file: Some(start.entry.clone()), ..plain(message) });
        }
        self.watch(pulse, start)?;
        self.control.send(&FromCell::Running);
        let outcome = pulse.run(self.attend(&glue)).await;
        glue.end();
        let status = i32::from(outcome.is_err());
        self.control.send(&match outcome {
            Ok(result) => FromCell::Returned { result },
            Err(error) => FromCell::Threw(error),
        });
        Ok(status)
    }

    /// Evaluates the entry and returns its default export with each path relative to the checkout.
    async fn registry(&mut self, start: &Start, max_result: u64) -> Result<i32, Diagnostic> {
        let exports = self.evaluate_module().await?;
        let paths = job::registry(&mut self.worker.js_runtime, exports);
        let in_registry = |message: String| Diagnostic { file: Some(start.entry.clone()), ..plain(message) };
        let mut paths = paths.map_err(|error| {
            let diagnostic = diagnose(&self.project, &error);
            if diagnostic.file.is_none() { in_registry(diagnostic.message) } else { diagnostic }
        })?;
        for (name, path) in &mut paths {
            let given = path.as_str().unwrap_or_default();
            let resolved = beside(&start.entry, given).ok_or_else(|| {
                in_registry(format!(
                    "the registry's \"{name}\" is \"{given}\": it has to be a path relative to {}, inside \
                     the project",
                    start.entry
                ))
            })?;
            *path = Value::String(resolved);
        }
        let result = Value::Object(paths);
        job::check(&result, max_result).map_err(in_registry)?;
        self.control.send(&FromCell::Running);
        self.control.send(&FromCell::Returned { result });
        Ok(0)
    }

    /// Evaluates the entry as a module that others import: it is not `import.meta.main`.
    async fn evaluate_module(&mut self) -> Result<v8::Global<v8::Object>, Diagnostic> {
        let exports = self.exports_of_module().await;
        let exports = exports.map_err(|error| diagnose(&self.project, &error))?.ok_or_else(|| plain(ENDLESS));
        self.settle_evaluation().await?;
        exports
    }

    async fn exports_of_module(&mut self) -> Result<Option<v8::Global<v8::Object>>, CoreError> {
        self.project.entry.preload(&mut self.worker).await?;
        let module = self.worker.preload_side_module(&self.project.entry.main_module).await?;
        let mut evaluation: Evaluation = Box::pin(self.worker.js_runtime.mod_evaluate(module));
        if !run_to_end(&mut self.worker, &mut evaluation).await? {
            return Ok(None);
        }
        self.worker.js_runtime.get_module_namespace(module).map(Some)
    }

    /// Evaluates the entry as the program that it is.
    async fn evaluate_entry(&mut self) -> Result<v8::Global<v8::Object>, Diagnostic> {
        let exports = self.evaluate().await.map_err(|error| diagnose(&self.project, &error))?;
        let exports = exports.ok_or_else(|| plain(ENDLESS))?;
        self.settle_evaluation().await?;
        match &self.adapter {
            Some(adapter) => adapter
                .adapt(&mut self.worker.js_runtime, &exports)
                .map_err(|error| diagnose(&self.project, &error)),
            None => Ok(exports),
        }
    }

    /// Ends the wait for servers, and runs one turn: failures left over from loading fail the start.
    async fn settle_evaluation(&mut self) -> Result<(), Diagnostic> {
        let settled = match self.settle.select(&mut self.worker.js_runtime, None) {
            Ok(()) => self.worker.run_up_to_duration(Duration::ZERO).await,
            Err(error) => Err(error),
        };
        settled.map_err(|error| diagnose(&self.project, &error))
    }

    fn watch(&self, pulse: &Pulse, start: &Start) -> Result<(), Diagnostic> {
        let reporter = self.control.reporter();
        let max_turn = Duration::from_millis(start.limits.event_loop_ms);
        let watched = pulse.watch(max_turn, move || reporter.exceed(Limit::EventLoop));
        watched.map_err(|error| plain(format!("the router's machine cannot start a thread: {error}")))
    }

    /// Calls the handler and runs the event loop until it has returned.
    async fn attend(&mut self, glue: &JobGlue) -> Result<Value, RunError> {
        let mut messages = self.control.messages();
        let draining = self.control.draining().clone();
        let mut cancelled = None;
        let mut called = glue.invoke(&mut self.worker.js_runtime);
        // Nothing is pending but steps, or the signal.
        let mut is_idle = false;
        let outcome = loop {
            let turn = tokio::select! {
                biased;
                outcome = &mut called => Turn::Settled(outcome.map_err(thrown)),
                _ = draining.started(), if cancelled.is_none() => {
                    Turn::Told(JobMessage::Cancel { reason: "router".to_owned() })
                }
                Some(message) = messages.recv() => Turn::Told(message),
                ended = self.worker.run_event_loop(false), if !is_idle => match ended {
                    Ok(()) => settled(&mut called).map_or(Turn::Idle, Turn::Settled),
                    Err(error) => Turn::Settled(Err(error)),
                },
            };
            match turn {
                Turn::Settled(outcome) => break outcome,
                Turn::Told(message) => {
                    is_idle = false;
                    if let Err(error) = self.tell(glue, message, &mut cancelled) {
                        break Err(error);
                    }
                }
                Turn::Idle if glue.is_waiting(&mut self.worker.js_runtime) => is_idle = true,
                Turn::Idle => return Err(never_settles(cancelled)),
            }
        };
        self.conclude(glue, outcome).await.map_err(|error| match error {
            Failure::Threw(error) => self.threw(&error, cancelled.as_deref()),
            Failure::Result(error) => {
                requests::print(&format!("error: {}", error.message));
                *error
            }
        })
    }

    /// Finishes the work that the handler has left to the platform, and reads its result.
    async fn conclude(
        &mut self,
        glue: &JobGlue,
        outcome: Result<v8::Global<v8::Value>, CoreError>,
    ) -> Result<Value, Failure> {
        let outcome = outcome?;
        let runtime = &mut self.worker.js_runtime;
        if let Some(background) = &self.background {
            background.finish(runtime).await?;
        }
        let result = glue.result(runtime, &outcome).map_err(Failure::Result)?;
        // A promise that was rejected, and that nothing awaits, fails the run.
        self.worker.run_up_to_duration(Duration::ZERO).await?;
        let unloaded = self.worker.dispatch_unload_event();
        let exited = unloaded.and_then(|()| self.worker.dispatch_process_exit_event());
        exited.map_err(thrown)?;
        Ok(result)
    }

    /// Passes a message of the router on to the handler. The first reason to cancel it counts.
    fn tell(
        &mut self,
        glue: &JobGlue,
        message: JobMessage,
        cancelled: &mut Option<String>,
    ) -> Result<(), CoreError> {
        let runtime = &mut self.worker.js_runtime;
        match message {
            JobMessage::Cancel { reason } if cancelled.is_none() => {
                let aborted = glue.cancel(runtime, &reason);
                *cancelled = Some(reason);
                aborted
            }
            JobMessage::StepReply(reply) => glue.reply(runtime, &reply),
            JobMessage::Cancel { .. } | JobMessage::RunCron { .. } => Ok(()),
        }
    }

    /// The error of a run whose code has thrown. It is printed too, with its stack.
    fn threw(&self, error: &CoreError, cancelled: Option<&str>) -> RunError {
        self.report(error);
        let mut diagnostic = diagnose(&self.project, error).bounded();
        if diagnostic.file.is_none() && cancelled.is_none() {
            diagnostic.file = self.project.names.file(self.project.entry.main_module.as_str());
        }
        RunError {
            reason: cancelled.unwrap_or("threw").to_owned(),
            message: cut(diagnostic.message.clone(), MESSAGE),
            diagnostic: Some(diagnostic),
        }
    }
}

/// The reason why a run has no result.
enum Failure {
    Threw(CoreError),
    Result(Box<RunError>),
}

impl From<CoreError> for Failure {
    fn from(error: CoreError) -> Self {
        Self::Threw(error)
    }
}

/// The end of a wait for the handler.
enum Turn {
    Settled(Result<v8::Global<v8::Value>, CoreError>),
    Told(JobMessage),
    Idle,
}

fn never_settles(cancelled: Option<String>) -> RunError {
    requests::print(&format!("error: {NEVER_SETTLES}"));
    let reason = cancelled.unwrap_or_else(|| "threw".to_owned());
    RunError::new(&reason, NEVER_SETTLES)
}

/// Returns the outcome if the last turn of the event loop has settled it.
fn settled(called: &mut Called) -> Option<Result<v8::Global<v8::Value>, CoreError>> {
    let outcome = called.as_mut().now_or_never()?;
    Some(outcome.map_err(thrown))
}

fn thrown(error: Box<JsError>) -> CoreError {
    CoreErrorKind::Js(error).into_box()
}

/// Resolves a path that is relative to a file of the project. Returns `None` if it is no relative
/// path, or leads out of the project.
fn beside(file: &str, path: &str) -> Option<String> {
    let folder = Path::new(file).parent()?;
    let mut resolved = PathBuf::new();
    let is_path =
        !path.starts_with('/') && !path.ends_with('/') && !path.contains(['\\', '\0', '?', '#', ':']);
    if path.is_empty() || !is_path {
        return None;
    }
    for part in folder.join(path).components() {
        match part {
            Component::Normal(name) => resolved.push(name),
            Component::CurDir => {}
            Component::ParentDir if resolved.pop() => {}
            _ => return None,
        }
    }
    Some(resolved.to_str().filter(|path| !path.is_empty())?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_registry_are_relative_to_its_file() {
        for (file, path, resolved) in [
            ("tasks/index.js", "./research.js", "tasks/research.js"),
            ("tasks/index.js", "research.js", "tasks/research.js"),
            ("tasks/index.js", "../lib/a.ts", "lib/a.ts"),
            ("index.js", "./a.ts", "a.ts"),
        ] {
            assert_eq!(beside(file, path).as_deref(), Some(resolved), "{path}");
        }
        for path in ["", "../../a.ts", "/etc/passwd", "https://x/a.ts", "./", "a\\b", "./a.ts?v=1"] {
            assert_eq!(beside("tasks/index.js", path), None, "{path}");
        }
    }
}
