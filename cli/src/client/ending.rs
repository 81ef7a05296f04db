//! The end of a run: waiting for it, following its log, and the report of its outcome.

use std::time::Duration;

use http::Method;
use reqwest::header::ACCEPT;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::Console;
use super::args::UntilArgs;
use super::bridge::{Answer, Bridge, CallError};
use super::failure::{DONE, FAILED, Failure};
use super::pack::Flow;
use super::report;
use super::times::length;
use switchyard_contract::run::{Run, RunId, RunLine, RunState, StartedRun};
use switchyard_contract::visible;
use switchyard_edge::sse::SseEvent;

/// Seconds that one request waits for the end: less than the silence after which a bridge counts as
/// gone.
const WAIT: &str = "25";

/// Requests in a row without an answer, after which the command gives up, and the pause between.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_secs(1);

/// Reads the body of an answer.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, CallError> {
    serde_json::from_str(text).map_err(|error| CallError::Strange(error.to_string()))
}

/// Reports a run that was started, and waits for its end if that is asked for. Returns the exit status.
///
/// # Errors
/// There is no answer, or it is not understood.
pub(super) async fn started(
    bridge: &Bridge,
    answer: &Answer,
    until: &UntilArgs,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let is_waiting = until.wait || until.follow;
    if !answer.status.is_success() || (json && !is_waiting) {
        return report::print_answer(console, json, answer);
    }
    let StartedRun { run, is_new } = read(&answer.body)?;
    let id = run.id;
    if !is_waiting {
        let task = visible::word(&run.task.to_string()).into_owned();
        let known = if is_new { "" } else { ", as an earlier request has asked" };
        let state = run.state.as_str();
        console.print(&format!("{task} is {state}{known}: run {id}\nswitchyard run logs {id} --follow"))?;
        return Ok(DONE);
    }
    if !json {
        console.complain(&format!("run {id} is {}", run.state.as_str()))?;
    }
    if until.follow {
        follow(bridge, id, 0, json, console).await
    } else {
        wait(bridge, id, json, console).await
    }
}

/// Waits for the end of a run, and reports its outcome. Returns the exit status.
///
/// # Errors
/// There is no answer several times in a row, or it is not understood.
pub(super) async fn wait(
    bridge: &Bridge,
    id: RunId,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let text = id.to_string();
    let mut failed = 0;
    loop {
        let request = bridge.request(Method::GET, &["runs", &text], &[("wait", WAIT)]);
        match bridge.call(request).await {
            Ok(answer) if !answer.status.is_success() && !answer.status.is_server_error() => {
                return report::print_answer(console, json, &answer);
            }
            Ok(answer) if answer.status.is_success() => {
                failed = 0;
                let run: Run = read(&answer.body)?;
                if run.state.is_end() {
                    return outcome(&run, &answer.body, json, console);
                }
            }
            other => lost(&mut failed, other.err(), id).await?,
        }
    }
}

/// Prints the log of a run from line `from` on until its end, and reports its outcome. Returns the exit
/// status.
///
/// # Errors
/// There is no answer several times in a row, or it is not understood.
pub(super) async fn follow(
    bridge: &Bridge,
    id: RunId,
    mut from: u64,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let mut failed = 0;
    loop {
        let before = from;
        match stream(bridge, id, &mut from, json, console).await {
            Ok(Streamed::Ended(exit)) => return Ok(exit),
            Ok(Streamed::CutOff) => {
                failed = if from > before { 0 } else { failed };
                lost(&mut failed, None, id).await?;
            }
            Err(Broken::Call(error)) => {
                failed = if from > before { 0 } else { failed };
                lost(&mut failed, Some(error), id).await?;
            }
            Err(Broken::Failure(failure)) => return Err(failure),
        }
    }
}

/// The end of a stream of lines.
enum Streamed {
    /// The run has ended, or there is none: the exit status.
    Ended(u8),
    /// The run goes on.
    CutOff,
}

enum Broken {
    Call(CallError),
    Failure(Failure),
}

impl From<CallError> for Broken {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Strange(_) => Self::Failure(error.into()),
            other => Self::Call(other),
        }
    }
}

impl From<std::io::Error> for Broken {
    fn from(error: std::io::Error) -> Self {
        Self::Failure(error.into())
    }
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// Prints lines as they come. `from` counts those that were printed.
async fn stream(
    bridge: &Bridge,
    id: RunId,
    from: &mut u64,
    json: bool,
    console: &mut Console<'_>,
) -> Result<Streamed, Broken> {
    let (text, begin) = (id.to_string(), from.to_string());
    let query = [("from", begin.as_str()), ("follow", "1")];
    let request = bridge.request(Method::GET, &["runs", &text, "logs"], &query);
    let (_, no_body) = watch::channel(Flow::default());
    let response = bridge.send(request.header(ACCEPT, "text/event-stream"), no_body, |_| {}).await?;
    let mut events = match bridge.events(response) {
        Ok(events) => events,
        Err(response) => {
            let answer = bridge.whole(*response).await?;
            if answer.status.is_server_error() {
                return Ok(Streamed::CutOff);
            }
            return Ok(Streamed::Ended(report::print_answer(console, json, &answer)?));
        }
    };
    while let Some(event) = events.next().await? {
        match event.kind.as_str() {
            "line" => {
                print_event(&event, json, console)?;
                *from += 1;
            }
            "end" => return Ok(Streamed::Ended(outcome(&read(&event.data)?, &event.data, json, console)?)),
            _ => {}
        }
    }
    Ok(Streamed::CutOff)
}

fn print_event(event: &SseEvent, json: bool, console: &mut Console<'_>) -> Result<(), Broken> {
    let line: RunLine = read(&event.data)?;
    if json {
        console.print_json(&event.data)?
    } else {
        print_line(&line, console)?
    }
    Ok(console.out.flush()?)
}

/// Prints a line of a log.
pub(super) fn print_line(line: &RunLine, console: &mut Console<'_>) -> std::io::Result<()> {
    let (at, stream) = (line.at.to_string(), visible::word(&line.stream));
    writeln!(console.out, "{at} {stream} {}", visible::line(&line.line))
}

/// Counts a request without an answer, and pauses before the next one.
///
/// # Errors
/// It was the last one.
async fn lost(failed: &mut u32, error: Option<CallError>, id: RunId) -> Result<(), Failure> {
    *failed += 1;
    if *failed < ATTEMPTS && !matches!(error, Some(CallError::Strange(_))) {
        tokio::time::sleep(PAUSE).await;
        return Ok(());
    }
    let why = error.map_or_else(|| "the bridge is stopping, or busy".to_owned(), |error| error.to_string());
    let text = format!("{why}; the run may go on: switchyard run show {id}");
    Err(Failure::new(super::NO_ANSWER, text))
}

/// Prints the outcome of a run that has ended: its JSON, or a sentence and the result. Returns the exit
/// status.
fn outcome(run: &Run, body: &str, json: bool, console: &mut Console<'_>) -> Result<u8, Failure> {
    let is_good = run.state == RunState::Succeeded;
    if json {
        console.print_json(body)?;
    } else {
        console.complain(&sentence(run))?;
        if let Some(result) = run.result.as_ref().filter(|result| !result.is_null()) {
            console.print_json(&result.to_string())?;
        }
    }
    Ok(if is_good { DONE } else { FAILED })
}

/// `blog:digest succeeded after 1.20 s (blog@3f9a1c2b7d4e)`, and the error.
fn sentence(run: &Run) -> String {
    let mut text = format!("{} {}", run.task, state(run.state));
    if let (Some(started), Some(ended)) =
        (run.started_at.filter(|_| run.state != RunState::Lost), run.ended_at)
    {
        text.push_str(&format!(" after {}", length(ended.duration_since(started))));
    }
    if let Some(version) = &run.version {
        text.push_str(&format!(" ({})", visible::word(&version.name)));
    }
    if run.attempt > 1 {
        text.push_str(&format!(", attempt {} of {}", run.attempt, run.attempts));
    }
    if let Some(error) = &run.error {
        text.push('\n');
        text.push_str(&error_lines(error));
    }
    text
}

/// The error of a run: the reason, the place in the code if it is known, and the message.
pub(super) fn error_lines(error: &switchyard_contract::run::RunError) -> String {
    let what = error.diagnostic.as_ref().map_or_else(|| error.message.clone(), report::diagnostic);
    format!("{}: {what}", visible::word(&error.reason))
}

/// The state as a verb or an adjective.
fn state(state: RunState) -> &'static str {
    match state {
        RunState::TimedOut => "timed out",
        RunState::Cancelled => "was cancelled",
        RunState::Lost => "was lost with its router",
        other => other.as_str(),
    }
}
