//! Marks in a project's output that name the request a line belongs to. JavaScript marks its own
//! lines; errors in the runtime's log are marked and printed here.

use std::cell::RefCell;
use std::io::Write as _;
use std::sync::Arc;

use deno_core::{JsRuntime, v8};
use deno_runtime::worker::MainWorker;
use switchyard_protocol::Mark;

use crate::errors::trace::explain;
use crate::js;
use crate::modules::project::Project;

thread_local! {
    /// The id of the request that the next reported error belongs to. Empty if unknown.
    static REQUEST_ID: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Makes `worker` mark its output. Must be called before a handler exists.
pub(crate) fn mark_output(worker: &mut MainWorker) {
    let runtime = &mut worker.js_runtime;
    let glue = js::load_function(runtime, "ext:switchyard/requests.js", include_str!("requests.js"));
    deno_core::scope!(scope, runtime);
    let glue = v8::Local::new(scope, glue);
    let natives = [v8::Function::new(scope, report_error), v8::Function::new(scope, set_request)];
    let natives = natives.map(|native| native.expect("V8 has memory at its start").into());
    let this = v8::undefined(scope).into();
    glue.call(scope, this, &natives).expect("the cell's own code does not throw");
}

/// Prints an error to the project's log, with the mark of the request that it belongs to.
pub(crate) fn print(text: &str) {
    let lines = REQUEST_ID.with_borrow(|id| match Mark::parse(id) {
        Some(mark) => text.lines().map(|line| format!("{mark}{line}\n")).collect(),
        None => format!("{text}\n"),
    });
    // One write for all lines, as workers print too.
    _ = std::io::stderr().write_all(lines.as_bytes());
}

/// Ends the output of a run in both streams: whoever reads them knows that no line of it is missing.
pub(crate) fn end_output(run: &str) {
    let Some(line) = Mark::parse(run).map(Mark::last_line) else { return };
    _ = std::io::stdout().write_all(line.as_bytes());
    _ = std::io::stderr().write_all(line.as_bytes());
}

/// Called by the glue with the text of an error.
fn report_error(
    scope: &mut v8::PinScope<'_, '_>,
    args: v8::FunctionCallbackArguments<'_>,
    _: v8::ReturnValue<'_>,
) {
    let text = args.get(0).to_rust_string_lossy(scope);
    let state = JsRuntime::op_state_from(scope);
    let project = state.borrow().try_borrow::<Arc<Project>>().cloned();
    print(&project.map_or(text.clone(), |project| explain(&project, &text)));
}

/// Called by the glue with the id of the request that the next error belongs to.
fn set_request(
    scope: &mut v8::PinScope<'_, '_>,
    args: v8::FunctionCallbackArguments<'_>,
    _: v8::ReturnValue<'_>,
) {
    let id = args.get(0).to_rust_string_lossy(scope);
    REQUEST_ID.set(id);
}
