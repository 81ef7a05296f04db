//! The cell's own JavaScript: modules that are loaded before the project's code, and can import
//! what Deno's own modules can.

use deno_core::{JsRuntime, v8};

/// Loads a module. Returns the function that it exports by default.
pub(crate) fn load(
    runtime: &mut JsRuntime,
    specifier: &'static str,
    code: &'static str,
) -> v8::Global<v8::Function> {
    let module = add(runtime, specifier, code);
    deno_core::scope!(scope, runtime);
    let module = v8::Local::new(scope, module).to_object(scope).expect("a module is an object");
    let name = v8::String::new_external_onebyte_static(scope, b"default").expect("the name is short");
    let exported = module.get(scope, name.into()).expect("the glue exports a function");
    let exported = v8::Local::<v8::Function>::try_from(exported).expect("the glue exports a function");
    v8::Global::new(scope, exported)
}

/// Loads a module that others import. Returns its namespace.
pub(crate) fn add(
    runtime: &mut JsRuntime,
    specifier: &'static str,
    code: &'static str,
) -> v8::Global<v8::Value> {
    runtime.lazy_load_es_module_with_code(specifier, code).expect("the glue is ours")
}

/// Calls a function of the glue without arguments.
pub(crate) fn call(runtime: &mut JsRuntime, function: &v8::Global<v8::Function>) -> v8::Global<v8::Value> {
    deno_core::scope!(scope, runtime);
    let function = v8::Local::new(scope, function);
    let this = v8::undefined(scope).into();
    let result = function.call(scope, this, &[]).expect("the glue is ours");
    v8::Global::new(scope, result)
}
