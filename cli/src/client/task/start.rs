//! `task run` and `pipeline run`: starts a run, and waits for its end if that is asked for.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use http::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;
use switchyard_contract::bounds::RUN_INPUT;
use switchyard_contract::task_overview::StartTask;
use uuid::Uuid;

use super::super::Console;
use super::super::args::StartArgs;
use super::super::bridge::{Bridge, CallError};
use super::super::ending;
use super::super::failure::{Failure, USAGE};

/// Pause before a start whose connection broke is sent again.
const PAUSE: Duration = Duration::from_millis(500);

/// Starts a run. Returns the exit status.
///
/// # Errors
/// The input cannot be read, there is no answer, or it is not understood.
pub(super) async fn start(
    bridge: &Bridge,
    kind: &str,
    args: StartArgs,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let input = args.input.as_deref().map(|file| input(file, console)).transpose()?.unwrap_or_default();
    let body = StartTask {
        params: Value::Object(args.params.into_iter().collect()),
        input,
        version: args.version,
        consistency: args.consistency,
    };
    let body = serde_json::to_string(&body).map_err(|error| Failure::new(USAGE, error.to_string()))?;
    let task = args.task.to_string();
    let key = Uuid::new_v4().to_string();
    let query: &[_] = if args.force { &[("force", "1")] } else { &[] };
    let request = || {
        let request = bridge.request(Method::POST, &[kind, &task, "run"], query);
        let request = request.header(CONTENT_TYPE, "application/json").header("idempotency-key", &key);
        request.body(body.clone())
    };
    let answer = match bridge.call(request()).await {
        // The key keeps it from being started twice.
        Err(CallError::Broke(_)) => {
            tokio::time::sleep(PAUSE).await;
            bridge.call(request()).await
        }
        other => other,
    }?;
    ending::started(bridge, &answer, &args.until, json, console).await
}

/// Reads the input from a file, or from standard input.
fn input(file: &Path, console: &mut Console<'_>) -> Result<Value, Failure> {
    let name = file.display().to_string();
    let wrong = |why: String| Failure::new(USAGE, format!("--input {name}: {why}"));
    let most = RUN_INPUT as u64 + 1;
    let mut text = Vec::new();
    let read = if name == "-" {
        let from = console.piped.as_deref_mut().or(console.input.as_deref_mut());
        let from = from.ok_or_else(|| wrong("there is no standard input".to_owned()))?;
        from.take(most).read_to_end(&mut text)
    } else {
        File::open(file).and_then(|file| file.take(most).read_to_end(&mut text))
    };
    read.map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if text.len() > RUN_INPUT {
        return Err(wrong(format!("has more than {RUN_INPUT} bytes, which is the most of an input")));
    }
    serde_json::from_slice(&text).map_err(|error| wrong(format!("is not JSON: {error}")))
}
