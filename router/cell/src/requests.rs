//! Which request it is that something is printed about: JavaScript knows, and marks its lines. Errors that end up in the
//! runtime's own log are printed here.

use std::cell::RefCell;
use std::io::Write as _;
use std::sync::Arc;

use deno_core::{JsRuntime, v8};
use deno_runtime::worker::MainWorker;
use switchyard_protocol::Mark;

use crate::glue;
use crate::project::Project;
use crate::trace::explain;

thread_local! {
    /// The request that the error is about which is told of next; empty: none.
    static BLAMED: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Has `worker` mark what it prints. To be called before there is a handler.
pub(crate) fn mark(worker: &mut MainWorker) {
    let runtime = &mut worker.js_runtime;
    let glue = glue::load(runtime, "ext:switchyard/requests.js", include_str!("requests.js"));
    deno_core::scope!(scope, runtime);
    let glue = v8::Local::new(scope, glue);
    let natives = [v8::Function::new(scope, tell), v8::Function::new(scope, blame)];
    let natives = natives.map(|native| native.expect("V8 has memory at its start").into());
    let this = v8::undefined(scope).into();
    glue.call(scope, this, &natives).expect("the glue is ours");
}

/// Prints an error as the project's, about the request that is blamed.
pub(crate) fn print(text: &str) {
    let lines = BLAMED.with_borrow(|id| match Mark::parse(id) {
        Some(mark) => text.lines().map(|line| format!("{mark}{line}\n")).collect(),
        None => format!("{text}\n"),
    });
    // In one piece: workers print too.
    _ = std::io::stderr().write_all(lines.as_bytes());
}

fn tell(scope: &mut v8::PinScope<'_, '_>, args: v8::FunctionCallbackArguments<'_>, _: v8::ReturnValue<'_>) {
    let text = args.get(0).to_rust_string_lossy(scope);
    let state = JsRuntime::op_state_from(scope);
    let project = state.borrow().try_borrow::<Arc<Project>>().cloned();
    print(&project.map_or(text.clone(), |project| explain(&project, &text)));
}

fn blame(scope: &mut v8::PinScope<'_, '_>, args: v8::FunctionCallbackArguments<'_>, _: v8::ReturnValue<'_>) {
    let id = args.get(0).to_rust_string_lossy(scope);
    BLAMED.set(id);
}
