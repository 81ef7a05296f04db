//! The static files of a Worker's binding (`env.ASSETS`), found as the router finds them.

use std::sync::Arc;

use deno_core::{JsRuntime, v8};
use serde_json::{Value, json};
use switchyard_detect::site::Fallback;
use switchyard_protocol::assets::{AssetMatch, Assets, content_type};

use crate::js;
use crate::modules::project::Project;

/// Loads the glue and passes it the function that finds files.
pub(super) fn prepare(runtime: &mut JsRuntime) {
    let set_finder =
        js::load_function(runtime, "ext:switchyard/workers/assets.js", include_str!("assets.js"));
    deno_core::scope!(scope, runtime);
    let set_finder = v8::Local::new(scope, set_finder);
    let find = v8::Function::new(scope, find).expect("V8 has memory at its start").into();
    let this = v8::undefined(scope).into();
    set_finder.call(scope, this, &[find]).expect("the cell's own code does not throw");
}

/// Called by the glue with the path of a URL. Returns the answer as JSON: `file` (absolute), `type`
/// and `status`, or `to`; `undefined` if no file answers.
fn find(
    scope: &mut v8::PinScope<'_, '_>,
    args: v8::FunctionCallbackArguments<'_>,
    mut result: v8::ReturnValue<'_>,
) {
    let path = args.get(0).to_rust_string_lossy(scope);
    let state = JsRuntime::op_state_from(scope);
    let project = state.borrow().try_borrow::<Arc<Project>>().cloned();
    let answer = project.and_then(|project| answer(&project, project.assets.as_ref()?, &path));
    if let Some(text) = answer.and_then(|answer| v8::String::new(scope, &answer.to_string())) {
        result.set(text.into());
    }
}

/// Finds the answer to a path. As on Cloudflare, the fallback page answers any path without a file.
fn answer(project: &Project, assets: &Assets, path: &str) -> Option<Value> {
    let checkout = &project.roots.checkout;
    let has = |file: &str| checkout.join(file).is_file();
    let of_file = |file: &str, status: u16| {
        let kind = content_type(file);
        json!({ "file": checkout.join(file), "type": kind, "status": status })
    };
    match assets.find(path, has) {
        AssetMatch::File(file) => Some(of_file(&file, 200)),
        AssetMatch::Redirect { to, .. } => Some(json!({ "to": to })),
        AssetMatch::Nothing => match &assets.fallback {
            Fallback::Page(page) if has(&assets.file(page)) => Some(of_file(&assets.file(page), 200)),
            _ => assets.not_found(path, has).map(|file| of_file(&file, 404)),
        },
    }
}
