//! The fields of deno.json and package.json that name a module.

use serde_json::{Map, Value};

/// The depth of conditions in `exports`.
const MAX_CONDITIONS: usize = 8;

/// The conditions of `exports` that apply, in order of precedence.
const CONDITIONS: [&str; 5] = ["deno", "node", "import", "require", "default"];

/// Arguments of an entry, and bytes in all of them together.
const MAX_ARGS: usize = 100;
const MAX_ARGS_BYTES: usize = 16 << 10;

/// Returns the module of `exports`: a string, or its `"."`, by conditions.
pub(super) fn exported(configuration: &Value) -> Option<&str> {
    let exports = configuration.get("exports")?;
    let mut found = exports.get(".").unwrap_or(exports);
    for _ in 0..MAX_CONDITIONS {
        match found {
            Value::String(path) => return Some(path),
            Value::Object(conditions) => found = first(conditions)?,
            _ => return None,
        }
    }
    None
}

fn first(conditions: &Map<String, Value>) -> Option<&Value> {
    CONDITIONS.into_iter().find_map(|condition| conditions.get(condition))
}

/// The path and the arguments that Deno Deploy runs: `deploy.entrypoint`, or that of `deploy.runtime`.
pub(super) fn deployed(configuration: &Value) -> Option<(&'static str, &str, Vec<String>)> {
    let deploy = configuration.get("deploy")?;
    if let Some(path) = deploy.get("entrypoint").and_then(Value::as_str) {
        return Some(("deploy.entrypoint", path, Vec::new()));
    }
    let runtime = deploy.get("runtime")?;
    let args = runtime.get("args").and_then(arguments).unwrap_or_default();
    Some(("deploy.runtime.entrypoint", runtime.get("entrypoint")?.as_str()?, args))
}

/// Parses a list of arguments. `None`: not a list, or longer than a command line allows.
pub(super) fn arguments(value: &Value) -> Option<Vec<String>> {
    let args = value.as_array().filter(|args| args.len() <= MAX_ARGS)?;
    let args: Vec<_> = args.iter().map(|arg| arg.as_str().map(str::to_owned)).collect::<Option<_>>()?;
    let is_plain = args.iter().all(|arg| !arg.contains('\0'));
    (is_plain && args.iter().map(String::len).sum::<usize>() <= MAX_ARGS_BYTES).then_some(args)
}
