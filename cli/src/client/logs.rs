//! `logs`: the lines that a project printed.

use http::Method;
use reqwest::header::ACCEPT;
use serde::de::IgnoredAny;
use tokio::sync::watch;

use super::Console;
use super::args::LogsArgs;
use super::bridge::{Bridge, CallError};
use super::failure::{DONE, Failure, NO_ANSWER};
use super::pack::Flow;
use super::report;
use switchyard_contract::overview::{LogError, ProjectOverview, RouterLogLine};
use switchyard_contract::visible;
use switchyard_edge::sse::SseEvent;

/// Prints lines until the last one, or without end. Returns the exit status.
///
/// # Errors
/// There is no answer, or it breaks off.
pub(super) async fn logs(
    bridge: &Bridge,
    args: &LogsArgs,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let project = args.project.as_str();
    let answer = bridge.get(&["projects", project]).await?;
    if !answer.status.is_success() {
        return report::print_answer(console, json, &answer);
    }
    let project_status: ProjectOverview = serde_json::from_str(&answer.body).map_err(strange)?;
    let show = if json { Show::Json } else { Show::Text { routers: project_status.routers.len() > 1 } };

    let lines = args.lines.map(|lines| lines.to_string());
    let query: Vec<_> =
        [lines.as_deref().map(|lines| ("lines", lines)), args.follow.then_some(("follow", "1"))]
            .into_iter()
            .flatten()
            .collect();
    let request = bridge.request(Method::GET, &["projects", project, "logs"], &query);
    let (_, no_body) = watch::channel(Flow::default());
    let response = bridge.send(request.header(ACCEPT, "text/event-stream"), no_body, |_| {}).await?;
    let mut events = match bridge.events(response) {
        Ok(events) => events,
        Err(response) => return report::print_answer(console, json, &bridge.whole(*response).await?),
    };
    let mut exit = DONE;
    while let Some(event) = events.next().await? {
        match event.kind.as_str() {
            "line" => print(&event, show, console)?,
            "error" => {
                complain(&event, console)?;
                exit = NO_ANSWER;
            }
            _ => {}
        }
    }
    if args.follow {
        return Err(Failure::new(
            NO_ANSWER,
            "the bridge ended the log: it is stopping, or no router is left",
        ));
    }
    Ok(exit)
}

#[derive(Debug, Clone, Copy)]
enum Show {
    Json,
    Text { routers: bool },
}

fn print(event: &SseEvent, show: Show, console: &mut Console<'_>) -> Result<(), Failure> {
    let Show::Text { routers } = show else {
        serde_json::from_str::<IgnoredAny>(&event.data).map_err(strange)?;
        console.print_json(&event.data)?;
        return Ok(console.out.flush()?);
    };
    let RouterLogLine { router, line }: RouterLogLine = serde_json::from_str(&event.data).map_err(strange)?;
    let timestamp = line.timestamp.to_string();
    let words = [router.filter(|_| routers), Some(timestamp), Some(line.version), Some(line.stream)];
    for word in words.into_iter().flatten() {
        write!(console.out, "{} ", visible::word(&word))?;
    }
    writeln!(console.out, "{}", visible::line(&line.line))?;
    Ok(console.out.flush()?)
}

fn complain(event: &SseEvent, console: &mut Console<'_>) -> Result<(), Failure> {
    match serde_json::from_str::<LogError>(&event.data) {
        Ok(LogError { router: Some(router), error }) => {
            console.complain(&format!("{}: {}", visible::word(&router), visible::line(&error)))?;
        }
        Ok(LogError { router: None, error }) => console.complain(&visible::line(&error))?,
        Err(_) => console.complain(&visible::line(&event.data))?,
    }
    Ok(())
}

fn strange(error: serde_json::Error) -> CallError {
    CallError::Strange(error.to_string())
}
