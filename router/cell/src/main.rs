//! The process of one version of a project: V8 and Deno's runtime around its code.
//!
//! The router starts it as a spare, with the control socket as its standard input, and assigns a
//! version to it once. `--low-priority` makes a spare for runs. The flags `--probe-sandbox`, `--probe`
//! and `--install` run one of the other jobs of this binary instead.

mod cache;
mod deno;
mod errors;
mod glue;
mod install;
mod js;
mod kernel;
mod life;
mod modules;
mod probe;
mod runtime;
mod telemetry;

use std::panic::resume_unwind;

use deno_core::unsync;
use kernel::control::Control;
use kernel::watchdog::Pulse;
use kernel::{process, sandbox};
use switchyard_protocol::LOW_PRIORITY;

/// Threads for files, names and other blocking calls. More would only wait for the same disk, and
/// each has a stack.
const BLOCKING_THREADS: usize = 32;

/// Tasks that run before sockets and other threads are looked at again: a connection that reads
/// requests and the event loop that answers them, and few turns of an event loop that never waits.
const TURN_TASKS: u32 = 4;

fn main() -> anyhow::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("--probe-sandbox") => {
            return Ok(serde_json::to_writer(std::io::stdout(), &sandbox::support())?);
        }
        Some("--probe") => return probe::run(),
        Some("--install") => return install::run(),
        _ => {}
    }
    let has_low_priority = std::env::args().any(|argument| argument == LOW_PRIORITY);
    let socket = process::prepare(has_low_priority)?;
    let spans = telemetry::connect()?;
    errors::log::start();
    runtime::init_v8();
    let control = Control::listen(socket)?;
    let pulse = Pulse::new();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    pulse.observe(builder.enable_all().max_blocking_threads(BLOCKING_THREADS));
    builder.event_interval(TURN_TASKS).global_queue_interval(TURN_TASKS);
    let runtime = builder.build()?;
    // A task is woken without a look at the sockets in between; the future that a runtime blocks on
    // is not.
    let life = async { unsync::spawn(life::live(control, pulse, spans)).await };
    let code = runtime.block_on(life).unwrap_or_else(|error| resume_unwind(error.into_panic()));
    // Nothing that is left is worth the time to take it down.
    process::exit_now(code)
}
