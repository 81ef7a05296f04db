//! What the platform that a project was written for has beside Deno's interfaces.

use deno_core::error::CoreError;
use deno_core::{JsRuntime, PollEventLoopOptions, v8};
use switchyard_protocol::PlatformApi;

use crate::glue;

/// Work that requests have left behind: what `waitUntil` was given.
pub(crate) struct Background(v8::Global<v8::Function>);

/// Gives the isolate what the platforms have in common, and the interfaces of Supabase. `None`: the version is of no
/// platform.
pub(crate) fn install(runtime: &mut JsRuntime, api: &PlatformApi) -> Option<Background> {
    if *api == PlatformApi::Plain {
        return None;
    }
    let background = glue::load(runtime, "ext:switchyard/background.js", include_str!("background.js"));
    if *api == PlatformApi::Supabase {
        let glue = glue::load(runtime, "ext:switchyard/supabase.js", include_str!("supabase.js"));
        glue::call(runtime, &glue);
    }
    Some(Background(background))
}

impl Background {
    /// Runs the event loop until nothing is left to wait for.
    ///
    /// # Errors
    /// The project's code throws what nobody catches.
    pub(crate) async fn finish(&self, runtime: &mut JsRuntime) -> Result<(), CoreError> {
        let idle = glue::call(runtime, &self.0);
        let idle = runtime.resolve(idle);
        runtime.with_event_loop_promise(idle, PollEventLoopOptions::default()).await.map(|_| ())
    }
}
