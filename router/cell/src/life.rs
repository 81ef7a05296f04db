//! The life of a cell: a spare that waits for its version, becomes it, and ends with it.

mod evaluation;
mod job;
mod version;

use std::io;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use deno_core::JsRuntime;
use switchyard_contract::event::Diagnostic;
use switchyard_protocol::{FromCell, Limit, Start};

use self::version::Version;
use crate::errors::diagnose::{configuration_diagnostic, diagnose};
use crate::errors::{log, refusals};
use crate::glue::crons::Crons;
use crate::glue::ending::EndingGlue;
use crate::glue::servers::Servers;
use crate::glue::{platform, requests, workers};
use crate::kernel::control::{Control, Reporter};
use crate::kernel::process::{self, trim_memory};
use crate::kernel::sandbox::{self, FileRules};
use crate::kernel::watchdog::Pulse;
use crate::kernel::{disk, limits};
use crate::modules::names::PathNames;
use crate::modules::project::Project;
use crate::modules::roots::Roots;
use crate::runtime::inspector::Inspector;
use crate::runtime::spare::{Spare, heap_limit};
use crate::runtime::{permissions, system_info};
use crate::telemetry::{self, SpanSocket};

/// Runs the cell from `Ready` to its end. Returns the exit status.
pub(crate) async fn live(control: Control, pulse: Pulse, spans: Option<SpanSocket>) -> i32 {
    let code = run(control, pulse, spans).await;
    telemetry::flush();
    code
}

async fn run(mut control: Control, pulse: Pulse, spans: Option<SpanSocket>) -> i32 {
    let mut spare = Spare::new();
    requests::mark_output(&mut spare.worker);
    let servers = Servers::prepare(&mut spare.worker.js_runtime);
    let crons = Crons::install(&mut spare.worker.js_runtime, control.reporter());
    let ending = EndingGlue::prepare(&mut spare.worker.js_runtime);
    let rules = FileRules::prepare();
    trim_memory();
    control.send(&FromCell::Ready);
    let start = control.start().await;
    let roots = Roots::new(&start);
    let names = PathNames::new(&roots);
    log::show_paths_as(names.clone());
    let reporter = control.reporter();
    disk::limit(&start, move || reporter.out_of_space());
    let (project, debugger_listener) =
        match assign(&mut spare, rules, &start, roots, names.clone(), spans).await {
            Ok(assigned) => assigned,
            Err(error) => return fail(&control, configuration_diagnostic(&names, &error)),
        };
    limit_heap(&mut spare.worker.js_runtime, heap_limit(start.limits.memory), control.reporter());
    let inspector = match enable_inspector(debugger_listener, &spare, &start, &control, &pulse) {
        Ok(inspector) => inspector,
        Err(error) => return fail(&control, configuration_diagnostic(&names, &error.into())),
    };
    match &start.job {
        None => crons.follow(control.messages()),
        // Its crons are those of the version's cells that serve.
        Some(_) => crons.close(),
    }
    let settle = servers.listen_at(&mut spare.worker.js_runtime, &project, true);
    let runtime = &mut spare.worker.js_runtime;
    let background = platform::install(runtime, &start.api);
    let adapter = match workers::install(runtime, &start, &project) {
        Ok(adapter) => adapter,
        Err(error) => return fail(&control, diagnose(&project, &error)),
    };
    let mut version = Version {
        worker: spare.worker,
        project,
        control,
        inspector,
        settle,
        ending,
        crons,
        background,
        adapter,
        evaluation: None,
    };
    let max_turn = Duration::from_millis(start.limits.event_loop_ms);
    let ended = match &start.job {
        Some(job) => version.work(job.clone(), &start, &pulse).await,
        None => match version.build().await {
            Ok(form) => Ok(version.serve(form, &pulse, max_turn).await),
            Err(diagnostic) => Err(diagnostic),
        },
    };
    match ended {
        Ok(code) => code,
        Err(diagnostic) if version.project.failures.is_fetchable(&diagnostic.message) => {
            version.control.send(&FromCell::Missing(diagnostic.bounded()));
            1
        }
        Err(diagnostic) => fail(&version.control, diagnostic),
    }
}

/// Ends the cell when V8's heap reaches `limit_bytes`, and reports that to the router before V8
/// aborts.
fn limit_heap(runtime: &mut JsRuntime, limit_bytes: usize, reporter: Reporter) {
    // A spare is made with the most common limit. To lower it, V8 wants a callback to be removed.
    runtime.add_near_heap_limit_callback(|limit, _| limit);
    runtime.remove_near_heap_limit_callback(limit_bytes);
    runtime.add_near_heap_limit_callback(move |reached, _| {
        if reached >= limit_bytes { reporter.exceed(Limit::Memory) } else { limit_bytes }
    });
}

/// Makes the process the version's: user, directory, environment, sockets, permissions and
/// configuration.
///
/// Also returns the listener for debuggers if they may attach: none can be made later.
async fn assign(
    spare: &mut Spare,
    rules: anyhow::Result<FileRules>,
    start: &Start,
    roots: Roots,
    names: PathNames,
    spans: Option<SpanSocket>,
) -> anyhow::Result<(Arc<Project>, Option<UnixListener>)> {
    // First, so that the sockets belong to the version's user.
    sandbox::become_user(start.identity.clone())?;
    std::env::set_current_dir(&start.checkout)?;
    set_environment(start);
    limits::set(&start.limits)?;
    system_info::remember(start);
    refusals::set_version(start);
    let debugger_listener = start.inspect.as_ref().map(UnixListener::bind).transpose()?;
    let rules = rules?;
    let has_file_rules = rules.are_supported();
    sandbox::confine(start, rules)?;
    if let Some(spans) = spans {
        telemetry::start(spans);
    }
    let project = Arc::new(Project::open(start, roots, names).await?);
    spare.assign(start, Arc::clone(&project), permissions::new(start, has_file_rules)?)?;
    Ok((project, debugger_listener))
}

fn enable_inspector(
    listener: Option<UnixListener>,
    spare: &Spare,
    start: &Start,
    control: &Control,
    pulse: &Pulse,
) -> io::Result<Option<Inspector>> {
    let Some(listener) = listener else { return Ok(None) };
    Inspector::listen(
        listener,
        &start.version,
        spare.enable_inspector(),
        pulse.clone(),
        control.draining().clone(),
    )
    .map(Some)
}

/// Replaces the environment. The other threads are V8's and the control reader, which do not look
/// at it.
fn set_environment(start: &Start) {
    let internal = [("DENO_TRUST_PROXY_HEADERS", "1".into())];
    let granted = start.env.iter().map(|(name, value)| (name.as_str(), value.as_str().into()));
    process::set_environment(granted.chain(internal));
}

fn fail(control: &Control, diagnostic: Diagnostic) -> i32 {
    // The router bounds it as well, and ends a cell whose line is too long.
    control.send(&FromCell::Failed(diagnostic.bounded()));
    1
}
