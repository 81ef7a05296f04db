//! `run`: the history of runs, single runs, and what is done with them.

use http::Method;
use reqwest::header::CONTENT_TYPE;
use serde::Serialize;
use switchyard_contract::run::{ResumeRun, RetryRun, Run, RunLog};

use super::Console;
use super::args::{CancelArgs, RunCommand, RunLogsArgs};
use super::bridge::{Answer, Bridge};
use super::ending::{self, print_line, read};
use super::failure::{DONE, Failure};
use super::report;

mod list;
mod show;

/// Runs a verb. Returns the exit status.
///
/// # Errors
/// There is no answer, or it is not understood.
pub(super) async fn run(
    bridge: &Bridge,
    command: RunCommand,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    match command {
        RunCommand::List(args) => list::list(bridge, &args, json, console).await,
        RunCommand::Show(args) => show::show(bridge, args.run, json, console).await,
        RunCommand::Logs(args) => logs(bridge, &args, json, console).await,
        RunCommand::Cancel(args) => cancel(bridge, &args, json, console).await,
        RunCommand::Retry(args) => {
            let body = RetryRun { version: args.version };
            let answer = post(bridge, &args.run.to_string(), "retry", &body).await?;
            ending::started(bridge, &answer, &args.until, json, console).await
        }
        RunCommand::Resume(args) => {
            let body = ResumeRun { from_step: args.from_step, latest: args.latest };
            let answer = post(bridge, &args.run.to_string(), "resume", &body).await?;
            ending::started(bridge, &answer, &args.until, json, console).await
        }
        RunCommand::Delete(args) => {
            let id = args.run.to_string();
            let answer = bridge.call(bridge.request(Method::DELETE, &["runs", &id], &[])).await?;
            if !answer.status.is_success() {
                return report::print_answer(console, json, &answer);
            }
            if !json {
                console.print(&format!("run {id} is deleted"))?;
            }
            Ok(DONE)
        }
    }
}

async fn post(
    bridge: &Bridge,
    id: &str,
    verb: &str,
    body: &(impl Serialize + Sync),
) -> Result<Answer, Failure> {
    let body = serde_json::to_string(body).map_err(|error| Failure::new(super::USAGE, error.to_string()))?;
    let request = bridge.request(Method::POST, &["runs", id, verb], &[]);
    Ok(bridge.call(request.header(CONTENT_TYPE, "application/json").body(body)).await?)
}

async fn cancel(
    bridge: &Bridge,
    args: &CancelArgs,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let id = args.run.to_string();
    let query: &[_] = if args.no_wait { &[] } else { &[("wait", "25")] };
    let answer = bridge.call(bridge.request(Method::POST, &["runs", &id, "cancel"], query)).await?;
    if json || !answer.status.is_success() {
        return report::print_answer(console, json, &answer);
    }
    let run: Run = read(&answer.body)?;
    let state = if run.state.is_end() { run.state.as_str() } else { "asked to end" };
    console.print(&format!("run {id} is {state}"))?;
    Ok(DONE)
}

async fn logs(
    bridge: &Bridge,
    args: &RunLogsArgs,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let mut from = args.from.unwrap_or_default();
    if args.follow {
        return ending::follow(bridge, args.run, from, json, console).await;
    }
    let id = args.run.to_string();
    loop {
        let begin = from.to_string();
        let request = bridge.request(Method::GET, &["runs", &id, "logs"], &[("from", &begin)]);
        let answer = bridge.call(request).await?;
        if !answer.status.is_success() {
            return report::print_answer(console, json, &answer);
        }
        let log: RunLog = read(&answer.body)?;
        for line in &log.lines {
            if json {
                let text = serde_json::to_string(line).unwrap_or_default();
                console.print_json(&text)?;
            } else {
                print_line(line, console)?;
            }
        }
        if log.is_end || log.next <= from || log.lines.is_empty() {
            return Ok(DONE);
        }
        from = log.next;
    }
}
