//! Interfaces of the platforms that projects were written for, besides Deno's.

use deno_core::error::CoreError;
use deno_core::{JsRuntime, PollEventLoopOptions, v8};
use switchyard_protocol::PlatformApi;

use crate::js;

/// Work that continues after its request was answered: promises that `waitUntil` was given.
pub(crate) struct BackgroundGlue(v8::Global<v8::Function>);

/// Installs the interfaces that platforms share, and those of Supabase. Returns `None` for a
/// version of no platform.
pub(crate) fn install(runtime: &mut JsRuntime, api: &PlatformApi) -> Option<BackgroundGlue> {
    if *api == PlatformApi::Plain {
        return None;
    }
    let background =
        js::load_function(runtime, "ext:switchyard/background.js", include_str!("background.js"));
    if *api == PlatformApi::Supabase {
        let glue = js::load_function(runtime, "ext:switchyard/supabase.js", include_str!("supabase.js"));
        js::call(runtime, &glue);
    }
    Some(BackgroundGlue(background))
}

impl BackgroundGlue {
    /// Runs the event loop until nothing is left to wait for.
    ///
    /// # Errors
    /// An uncaught error of the project's code.
    pub(crate) async fn finish(&self, runtime: &mut JsRuntime) -> Result<(), CoreError> {
        let idle = js::call(runtime, &self.0);
        let idle = runtime.resolve(idle);
        runtime.with_event_loop_promise(idle, PollEventLoopOptions::default()).await.map(|_| ())
    }
}
