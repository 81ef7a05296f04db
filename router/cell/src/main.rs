//! The process of one version of a project: V8 and Deno's runtime around its code. Started by the router as a spare,
//! with the control socket as its standard input; given a version once; ends with it. With `--walls` it only tells what
//! this kernel can confine it with, with `--probe` whether it can become a user, with `--install` it only fetches what a
//! version needs.

mod begin;
mod bounds;
mod cache;
mod certificates;
mod code_cache;
mod control;
mod descriptors;
mod diagnose;
mod disk;
mod ending;
mod entry;
mod env_file;
mod exists;
mod exports;
mod failures;
mod features;
mod frame;
mod glue;
mod hints;
mod imports;
mod inspector;
mod install;
mod life;
mod loader;
mod locale;
mod log;
mod machine;
mod native_packages;
mod package_files;
mod paths;
mod permissions;
mod phantoms;
mod platform;
mod pnpm;
mod probe;
mod process;
mod project;
mod project_paths;
mod refusals;
mod remote;
mod requests;
mod roots;
mod runtime;
mod sandbox;
mod scripts;
mod servers;
mod source;
mod trace;
mod vendor;
mod watchdog;
mod web_worker;
mod workers;
mod written;

use control::Control;
use watchdog::Pulse;

/// For files, names and what else blocks: more would only wait for the same disk, and each has a stack.
const BLOCKING_THREADS: usize = 32;

fn main() -> anyhow::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("--walls") => return Ok(serde_json::to_writer(std::io::stdout(), &sandbox::walls())?),
        Some("--probe") => return probe::run(),
        Some("--install") => return install::run(),
        _ => {}
    }
    let socket = process::prepare()?;
    log::start();
    runtime::init_v8();
    let control = Control::listen(socket)?;
    let pulse = Pulse::new();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    pulse.told_by(builder.enable_all().max_blocking_threads(BLOCKING_THREADS));
    let runtime = builder.build()?;
    let code = runtime.block_on(life::live(control, pulse));
    // Nothing that is left is worth the time to take it down.
    process::exit_now(code)
}
