//! Loading and calling of the cell's own JavaScript. Its modules are loaded before the project's
//! code and can import what Deno's internal modules can.

use deno_core::{JsRuntime, v8};

/// Loads a module and returns the function that it exports by default.
pub(crate) fn load_function(
    runtime: &mut JsRuntime,
    specifier: &'static str,
    code: &'static str,
) -> v8::Global<v8::Function> {
    let module = load_module(runtime, specifier, code);
    deno_core::scope!(scope, runtime);
    let module = v8::Local::new(scope, module).to_object(scope).expect("a module is an object");
    let name = v8::String::new_external_onebyte_static(scope, b"default").expect("the name is short");
    let exported = module.get(scope, name.into()).expect("the glue exports a function");
    let exported = v8::Local::<v8::Function>::try_from(exported).expect("the glue exports a function");
    v8::Global::new(scope, exported)
}

/// Loads a module that others import and returns its namespace.
pub(crate) fn load_module(
    runtime: &mut JsRuntime,
    specifier: &'static str,
    code: &'static str,
) -> v8::Global<v8::Value> {
    runtime.lazy_load_es_module_with_code(specifier, code).expect("the cell's own code does not throw")
}

/// Calls a function of the cell's own without arguments.
pub(crate) fn call(runtime: &mut JsRuntime, function: &v8::Global<v8::Function>) -> v8::Global<v8::Value> {
    deno_core::scope!(scope, runtime);
    let function = v8::Local::new(scope, function);
    let this = v8::undefined(scope).into();
    let result = function.call(scope, this, &[]).expect("the cell's own code does not throw");
    v8::Global::new(scope, result)
}
