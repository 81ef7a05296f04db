//! The context of a task's handler: JavaScript calls it, and this module passes the questions of its
//! steps on to the router.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;

use deno_core::error::{CoreError, JsError};
use deno_core::futures::FutureExt as _;
use deno_core::{JsRuntime, v8};
use deno_runtime::deno_os::{ExitCode, OpExitCallbacks};
use serde::Deserialize;
use serde_json::{Value, json};
use switchyard_contract::run::RunError;
use switchyard_protocol::{Call, FromCell, JobStep, JobStepReply, Start};

use crate::js;
use crate::kernel::control::Reporter;

/// Modules of the glue, each after those that it imports.
const PARTS: [(&str, &str); 6] = [
    ("ext:switchyard/job/json.js", include_str!("job/json.js")),
    ("ext:switchyard/job/steps.js", include_str!("job/steps.js")),
    ("ext:switchyard/job/kv.js", include_str!("job/kv.js")),
    ("ext:switchyard/job/interfaces.js", include_str!("job/interfaces.js")),
    ("ext:switchyard/job/files.js", include_str!("job/files.js")),
    ("ext:switchyard/job/stages.js", include_str!("job/stages.js")),
];

/// Levels of nested arrays and objects in a result. The readers of its JSON take 128, and it is
/// wrapped on its way.
const MAX_DEPTH: usize = 100;

/// The functions of `job.js`, around one call.
pub(crate) struct JobGlue {
    select: v8::Global<v8::Function>,
    invoke: v8::Global<v8::Function>,
    cancel: v8::Global<v8::Function>,
    reply: v8::Global<v8::Function>,
    is_waiting: v8::Global<v8::Function>,
    max_result: u64,
    ended: Rc<Cell<bool>>,
}

/// The native part of `ctx.step`, in the state of the runtime.
struct Steps {
    reporter: Reporter,
    max_result: u64,
}

/// The outcome of a handler that has returned, as `job.js` tells it.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Result(Value),
    Invalid(String),
}

/// The promise of a handler's outcome.
pub(crate) type Called = Pin<Box<dyn Future<Output = Result<v8::Global<v8::Value>, Box<JsError>>>>>;

impl JobGlue {
    /// Loads the glue. Must be called before any of the project's code runs.
    pub(crate) fn prepare(runtime: &mut JsRuntime, call: &Call, start: &Start, reporter: &Reporter) -> Self {
        for (specifier, code) in PARTS {
            js::load_module(runtime, specifier, code);
        }
        let glue = js::load_function(runtime, "ext:switchyard/job.js", include_str!("job.js"));
        let ended = Rc::new(Cell::new(false));
        report_exit(runtime, reporter.clone(), Rc::clone(&ended));
        let steps = Steps { reporter: reporter.clone(), max_result: call.max_result };
        runtime.op_state().borrow_mut().put(steps);
        let settings = json!({ "call": call, "project": start.project, "data": start.data }).to_string();
        deno_core::scope!(scope, runtime);
        let glue = v8::Local::new(scope, glue);
        let settings = v8::String::new(scope, &settings).expect("a start message is shorter than V8's limit");
        let send = v8::Function::new(scope, send_step).expect("V8 has memory at its start");
        let this = v8::undefined(scope).into();
        let functions = glue.call(scope, this, &[settings.into(), send.into()]);
        let functions = functions.expect("the cell's own code does not throw");
        let functions = v8::Local::<v8::Array>::try_from(functions).expect("the glue returns an array");
        let function = |index| {
            let function = functions.get_index(scope, index).expect("the glue returns an array");
            let function = v8::Local::<v8::Function>::try_from(function);
            v8::Global::new(scope, function.expect("the glue returns functions"))
        };
        Self {
            select: function(0),
            invoke: function(1),
            cancel: function(2),
            reply: function(3),
            is_waiting: function(4),
            max_result: call.max_result,
            ended,
        }
    }

    /// Selects the handler among the exports of the entry. Returns `false` if it has none.
    ///
    /// # Errors
    /// The project's code throws when its exports are read.
    pub(crate) fn select(
        &self,
        runtime: &mut JsRuntime,
        exports: v8::Global<v8::Object>,
    ) -> Result<bool, CoreError> {
        let exports = to_value(runtime, exports);
        let selected = run(runtime, &self.select, &[exports])?;
        Ok(is_true(runtime, &selected))
    }

    /// Calls the handler. The event loop has to be run beside the promise.
    pub(crate) fn invoke(&self, runtime: &mut JsRuntime) -> Called {
        Box::pin(runtime.call_with_args(&self.invoke, &[]))
    }

    /// Returns the result from the outcome of [`JobGlue::invoke`].
    ///
    /// # Errors
    /// The result is not JSON, or too large.
    pub(crate) fn result(
        &self,
        runtime: &mut JsRuntime,
        outcome: &v8::Global<v8::Value>,
    ) -> Result<Value, Box<RunError>> {
        let text = {
            deno_core::scope!(scope, runtime);
            v8::Local::new(scope, outcome).to_rust_string_lossy(scope)
        };
        let invalid = |message: String| Box::new(RunError::new("result", message));
        match serde_json::from_str(&text) {
            Ok(Outcome::Result(result)) => check(&result, self.max_result).map(|()| result).map_err(invalid),
            Ok(Outcome::Invalid(message)) => Err(invalid(message)),
            Err(error) if error.to_string().starts_with("recursion") => Err(invalid(nested())),
            Err(error) => Err(invalid(format!("the result is not valid JSON: {}", cause(&error)))),
        }
    }

    /// Aborts the signal of the handler, and its steps.
    ///
    /// # Errors
    /// The project's code throws.
    pub(crate) fn cancel(&self, runtime: &mut JsRuntime, reason: &str) -> Result<(), CoreError> {
        let reason = text(runtime, reason);
        run(runtime, &self.cancel, &[reason]).map(|_| ())
    }

    /// Passes the answer to a step on.
    ///
    /// # Errors
    /// The project's code throws.
    pub(crate) fn reply(&self, runtime: &mut JsRuntime, reply: &JobStepReply) -> Result<(), CoreError> {
        let reply = text(runtime, &json!(reply).to_string());
        run(runtime, &self.reply, &[reply]).map(|_| ())
    }

    /// Returns `true` if the handler waits for a step, or for its signal.
    pub(crate) fn is_waiting(&self, runtime: &mut JsRuntime) -> bool {
        let waits = run(runtime, &self.is_waiting, &[]);
        waits.is_ok_and(|waits| is_true(runtime, &waits))
    }

    /// Notes that the outcome is known: an exit from now on is none of the handler's.
    pub(crate) fn end(&self) {
        self.ended.set(true);
    }
}

/// Returns the default export of a registry: names and paths.
///
/// # Errors
/// The registry is invalid, or its code throws.
pub(crate) fn registry(
    runtime: &mut JsRuntime,
    exports: v8::Global<v8::Object>,
) -> Result<serde_json::Map<String, Value>, CoreError> {
    let read = js::load_function(runtime, "ext:switchyard/job/registry.js", include_str!("job/registry.js"));
    let exports = to_value(runtime, exports);
    let paths = run(runtime, &read, &[exports])?;
    deno_core::scope!(scope, runtime);
    let paths = v8::Local::new(scope, paths).to_rust_string_lossy(scope);
    Ok(serde_json::from_str(&paths).unwrap_or_default())
}

/// The reason why JSON of a project cannot be read, without the position, which is that in the glue's own
/// text.
fn cause(error: &serde_json::Error) -> String {
    let message = error.to_string();
    // JSON.stringify() writes half of a character as an escape, which other readers refuse.
    if message.contains("surrogate") || message.contains("hex escape") {
        return "a text has half of a character in it (a lone surrogate such as \"\\ud83d\"), as when a text is \
                cut within an emoji: use text.toWellFormed()"
            .to_owned();
    }
    message.split(" at line ").next().unwrap_or_default().to_owned()
}

/// Checks the size of a result.
///
/// # Errors
/// The reason, for people: it is too large, or nested too deep.
pub(crate) fn check(result: &Value, max_result: u64) -> Result<(), String> {
    if depth(result) > MAX_DEPTH {
        return Err(nested());
    }
    let length = result.to_string().len() as u64;
    if length > max_result {
        return Err(format!(
            "the result has {length} bytes as JSON, and may have {max_result} (the policy's \"run_result\"): \
             write it to a file below DATA_DIR, and return its name"
        ));
    }
    Ok(())
}

fn nested() -> String {
    format!("the result is nested more than {MAX_DEPTH} levels deep")
}

/// The levels of arrays and objects. The parser bounds them.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or_default(),
        Value::Object(values) => 1 + values.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

/// Reports an exit of the process that the project's code asks for before the outcome is known.
fn report_exit(runtime: &mut JsRuntime, reporter: Reporter, ended: Rc<Cell<bool>>) {
    let state = runtime.op_state();
    let mut state = state.borrow_mut();
    let code = state.try_borrow::<ExitCode>().cloned();
    let mut callbacks = OpExitCallbacks::default();
    callbacks.push(Box::new(move || {
        if !ended.replace(true) {
            let code = code.as_ref().map_or(0, ExitCode::get);
            let message = format!(
                "the code has ended its process with Deno.exit({code}) or process.exit({code}) before the \
                 handler returned: return from the handler, or throw an error"
            );
            reporter.send(&FromCell::Threw(RunError::new("exit", message)));
        }
    }));
    state.put(callbacks);
}

/// Called by the glue with a [`JobStep`] as JSON. Returns the reason if it is refused.
fn send_step(
    scope: &mut v8::PinScope<'_, '_>,
    args: v8::FunctionCallbackArguments<'_>,
    mut value: v8::ReturnValue<'_>,
) {
    let text = args.get(0).to_rust_string_lossy(scope);
    let state = JsRuntime::op_state_from(scope);
    let state = state.borrow();
    let Some(steps) = state.try_borrow::<Steps>() else { return };
    let refused = match serde_json::from_str::<JobStep>(&text) {
        Err(error) => Some(cause(&error)),
        Ok(step) => match check(&json!(step.ask), steps.max_result.saturating_add(1024)) {
            Err(message) => Some(message),
            Ok(()) => {
                steps.reporter.send(&FromCell::Step(step));
                None
            }
        },
    };
    if let Some(message) = refused.and_then(|message| v8::String::new(scope, &message)) {
        value.set(message.into());
    }
}

/// Calls a function that returns no promise.
fn run(
    runtime: &mut JsRuntime,
    function: &v8::Global<v8::Function>,
    args: &[v8::Global<v8::Value>],
) -> Result<v8::Global<v8::Value>, CoreError> {
    let called = runtime.call_with_args(function, args).now_or_never();
    Ok(called.expect("the function returns no promise")?)
}

fn text(runtime: &mut JsRuntime, text: &str) -> v8::Global<v8::Value> {
    deno_core::scope!(scope, runtime);
    let text = v8::String::new(scope, text).expect("a message is shorter than V8's limit");
    v8::Global::new(scope, v8::Local::<v8::Value>::from(text))
}

fn to_value(runtime: &mut JsRuntime, object: v8::Global<v8::Object>) -> v8::Global<v8::Value> {
    deno_core::scope!(scope, runtime);
    let object = v8::Local::new(scope, object);
    v8::Global::new(scope, v8::Local::<v8::Value>::from(object))
}

fn is_true(runtime: &mut JsRuntime, value: &v8::Global<v8::Value>) -> bool {
    deno_core::scope!(scope, runtime);
    v8::Local::new(scope, value).is_true()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_a_character_is_named_as_the_cause() {
        for text in [r#"{"result": "\ud83d"}"#, r#"{"result": "\ud83dx"}"#, r#"["\ude00"]"#] {
            let error = serde_json::from_str::<Value>(text).unwrap_err();
            assert!(cause(&error).contains("lone surrogate"), "{text}: {error}");
        }
        let error = serde_json::from_str::<Value>("{").unwrap_err();
        assert!(!cause(&error).contains("line"), "{error}");
    }

    #[test]
    fn a_result_has_bounds_in_bytes_and_in_depth() {
        assert_eq!(check(&json!({ "a": [1, "ä"] }), 14), Ok(()));
        assert!(check(&json!({ "a": [1, "ä"] }), 13).unwrap_err().contains("run_result"));
        let nested = |levels: usize| (0..levels).fold(json!(1), |value, _| json!([value]));
        assert_eq!(check(&nested(MAX_DEPTH), 1 << 20), Ok(()));
        assert!(check(&nested(MAX_DEPTH + 1), 1 << 20).unwrap_err().contains("100 levels"));
    }
}
