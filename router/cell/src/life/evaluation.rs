//! The evaluation of the entry: until it ends, or until it waits for nothing but requests.

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::pin::{Pin, pin};
use std::time::Duration;

use deno_core::error::CoreError;
use deno_core::stats::{RuntimeActivity, RuntimeActivityStatsFactory, RuntimeActivityStatsFilter};
use deno_runtime::worker::MainWorker;
use switchyard_protocol::ServerKind;
use tokio::time::{sleep, timeout};

use crate::glue::servers::{self, ServerForm};

/// The longest evaluation of the entry once a server listens: it may still fail, or make the
/// server on the project's port. A few seconds, as connections to databases may take.
const MAX_EVALUATION: Duration = Duration::from_secs(5);

/// An evaluation that has waited for nothing but requests for this long awaits the end of its
/// server, as `await Deno.serve(…).finished` does.
const QUIET: Duration = Duration::from_millis(10);

/// Operations that wait for requests, signals and the due times of crons.
const IDLE_OPS: [&str; 3] = ["op_http_wait", "op_signal_poll", "op_cron_next"];

/// The promise of a module's evaluation.
pub(super) type Evaluation = Pin<Box<dyn Future<Output = Result<(), CoreError>>>>;

/// Runs an evaluation to its end. Returns `false` if a server listens and the evaluation is no
/// longer waited for.
///
/// # Errors
/// The entry throws.
pub(super) async fn run_to_end(
    worker: &mut MainWorker,
    evaluation: &mut Evaluation,
) -> Result<bool, CoreError> {
    let polls = Cell::new(0_u64);
    let activity = worker.js_runtime.runtime_activity_stats_factory();
    let mut running = pin!(worker.run_event_loop(false));
    let running = poll_fn(|cx| {
        polls.set(polls.get() + 1);
        running.as_mut().poll(cx)
    });
    let waits_for_server = async {
        let awaits_requests = async {
            // Deno's statistics do not say what Node's sockets wait for.
            if servers::first_kind().await == ServerKind::Node {
                pending::<()>().await;
            }
            awaits_requests(&polls, &activity).await;
        };
        servers::first_kind().await;
        _ = timeout(MAX_EVALUATION, awaits_requests).await;
    };
    tokio::select! {
        biased;
        evaluated = &mut *evaluation => evaluated?,
        () = waits_for_server => return Ok(false),
        ended = running => {
            ended?;
            evaluation.await?;
        }
    }
    Ok(true)
}

/// Runs the event loop until only requests and due times of crons are waited for: returns `true`
/// then, and `false` if `is_served` ends before.
///
/// # Errors
/// The project's code throws.
pub(super) async fn run_until_quiet(
    worker: &mut MainWorker,
    is_served: impl Future<Output = ServerForm>,
) -> Result<bool, CoreError> {
    let polls = Cell::new(0_u64);
    let activity = worker.js_runtime.runtime_activity_stats_factory();
    let mut running = pin!(worker.run_event_loop(false));
    let running = poll_fn(|cx| {
        polls.set(polls.get() + 1);
        running.as_mut().poll(cx)
    });
    tokio::select! {
        biased;
        _ = is_served => Ok(false),
        () = awaits_requests(&polls, &activity) => Ok(true),
        ended = running => ended.map(|()| true),
    }
}

/// Returns once the event loop has been quiet for [`QUIET`] and only servers and intervals are
/// pending.
async fn awaits_requests(polls: &Cell<u64>, activity: &RuntimeActivityStatsFactory) {
    let filter = RuntimeActivityStatsFilter::default().with_ops().with_timers();
    let is_work = |activity: &RuntimeActivity| match activity {
        RuntimeActivity::AsyncOp(_, _, name) => !IDLE_OPS.contains(name),
        RuntimeActivity::Timer(..) => true,
        RuntimeActivity::Interval(..) | RuntimeActivity::Resource(..) => false,
    };
    loop {
        let before = polls.get();
        sleep(QUIET).await;
        // The end of this timer polls the event loop once.
        let is_quiet = polls.get() <= before + 1;
        if is_quiet && !activity.clone().capture(&filter).dump().active.iter().any(is_work) {
            return;
        }
    }
}

/// Waits for the end of an evaluation that is under way; never returns if there is none.
///
/// # Errors
/// The entry throws.
pub(super) async fn end_of(evaluation: &mut Option<Evaluation>) -> Result<(), CoreError> {
    match evaluation {
        Some(evaluation) => evaluation.await,
        None => pending().await,
    }
}
