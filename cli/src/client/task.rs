//! `task` and `pipeline`: what the projects declare, checks of a folder, and starts.

use super::Console;
use super::args::{ExplainTaskArgs, PipelineCommand, TaskCommand};
use super::bridge::Bridge;
use super::ending::read;
use super::failure::{DONE, Failure};
use super::report;
use http::Method;
use jiff::Timestamp;
use switchyard_contract::task_overview::TaskExplanation;
use switchyard_contract::visible;

pub(super) use self::lint::lint;

mod lint;
mod list;
mod show;
mod start;

/// Runs a verb of `task` that needs a bridge. Returns the exit status.
///
/// # Errors
/// There is no answer, or it is not understood.
pub(super) async fn run(
    bridge: &Bridge,
    command: TaskCommand,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    match command {
        TaskCommand::List(args) => list::list(bridge, &args, json, console).await,
        TaskCommand::Show(args) => show::show(bridge, "tasks", &args.task, json, console).await,
        TaskCommand::Run(args) => start::start(bridge, "tasks", args, json, console).await,
        TaskCommand::Next(args) => list::next(bridge, &args, json, console).await,
        TaskCommand::Lint(args) => lint(args, json, console).await,
        TaskCommand::Explain(args) => explain(bridge, &args, json, console).await,
    }
}

/// Runs a verb of `pipeline`. Returns the exit status.
///
/// # Errors
/// There is no answer, or it is not understood.
pub(super) async fn pipeline(
    bridge: &Bridge,
    command: PipelineCommand,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    match command {
        PipelineCommand::Run(args) => start::start(bridge, "pipelines", args, json, console).await,
        PipelineCommand::Show(args) => show::show(bridge, "pipelines", &args.task, json, console).await,
    }
}

async fn explain(
    bridge: &Bridge,
    args: &ExplainTaskArgs,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let (task, at) = (args.task.to_string(), args.at.map(|at: Timestamp| at.to_string()));
    let query: Vec<_> = at.as_deref().map(|at| ("at", at)).into_iter().collect();
    let answer = bridge.call(bridge.request(Method::GET, &["tasks", &task, "explain"], &query)).await?;
    if json || !answer.status.is_success() {
        return report::print_answer(console, json, &answer);
    }
    let explanation: TaskExplanation = read(&answer.body)?;
    console.print(&explained(&explanation))?;
    Ok(DONE)
}

fn explained(explanation: &TaskExplanation) -> String {
    let mut text = explanation.task.to_string();
    if let Some(at) = explanation.due_at {
        text.push_str(&format!(" at {at}"));
    }
    if let Some(outcome) = explanation.outcome {
        text.push_str(&format!(": {}", outcome.as_str()));
    }
    text.push_str(&format!("\n  {}", visible::line(&explanation.reason)));
    if let Some(run) = explanation.run {
        text.push_str(&format!("\n  switchyard run show {run}"));
    }
    if let Some(next) = explanation.next {
        text.push_str(&format!("\n  next: {next}"));
    }
    text
}
