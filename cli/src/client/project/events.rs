//! `events`: what happened to projects, the last events and new ones.

use http::Method;
use http::header::ACCEPT;
use serde::Deserialize;
use switchyard_program::color::Style;
use tokio::sync::watch;

use super::super::Console;
use super::super::args::EventsArgs;
use super::super::bridge::Bridge;
use super::super::failure::{DONE, Failure, NO_ANSWER};
use super::super::pack::Flow;
use super::super::report;
use super::parse;
use switchyard_contract::event::{Event, EventType};
use switchyard_contract::project::ProjectName;
use switchyard_contract::visible;

/// `GET /events` of the bridge.
#[derive(Debug, Deserialize)]
struct Recent {
    /// The newest first.
    events: Vec<Event>,
}

/// Prints events. Returns the exit status.
///
/// # Errors
/// There is no answer, or it breaks off.
pub(super) async fn events(
    bridge: &Bridge,
    args: &EventsArgs,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let answer = bridge.get(&["events"]).await?;
    if !answer.status.is_success() {
        return report::print_answer(console, json, &answer);
    }
    let recent: Recent = parse(&answer)?;
    for event in recent.events.iter().rev() {
        print(event, args.project.as_ref(), json, console)?;
    }
    if !args.follow {
        return Ok(DONE);
    }
    let request = bridge.request(Method::GET, &["stream"], &[("topics", "events")]);
    let (_, no_body) = watch::channel(Flow::default());
    let response = bridge.send(request.header(ACCEPT, "text/event-stream"), no_body, |_| {}).await?;
    let mut events = match bridge.events(response) {
        Ok(events) => events,
        Err(response) => return report::print_answer(console, json, &bridge.whole(*response).await?),
    };
    while let Some(event) = events.next().await? {
        if event.kind == "event"
            && let Ok(event) = serde_json::from_str(&event.data)
        {
            print(&event, args.project.as_ref(), json, console)?;
        }
    }
    Err(Failure::new(NO_ANSWER, "the bridge ended the events: it is stopping"))
}

fn print(
    event: &Event,
    only: Option<&ProjectName>,
    json: bool,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    if only.is_some_and(|project| project.as_str() != event.data.project) {
        return Ok(());
    }
    if json {
        let text = serde_json::to_string(event).map_err(std::io::Error::from)?;
        console.print_json(&text)?;
        return Ok(console.out.flush()?);
    }
    let has_color = console.look.has_color;
    let style = match event.kind {
        EventType::ReloadLive => Style::Good,
        EventType::ReloadFailed | EventType::CellDied => Style::Bad,
        EventType::RouteConflict => Style::Warning,
        _ => Style::Dim,
    };
    let at = event.timestamp.strftime("%Y-%m-%d %H:%M:%S").to_string();
    let kind = style.on(has_color, event.kind.as_str());
    let text = visible::line(&sentence(event)).into_owned();
    writeln!(console.out, "{} {kind:<16} {text}", Style::Dim.on(has_color, at))?;
    Ok(console.out.flush()?)
}

fn sentence(event: &Event) -> String {
    let data = &event.data;
    let subject = data.version.as_deref().unwrap_or(&data.project);
    let took = data.timings_ms.total.map(|ms| format!(" ({ms:.0} ms)")).unwrap_or_default();
    let detail = match (&data.error, &data.death, &data.conflict) {
        (Some(error), ..) => report::diagnostic(error).lines().next().map(str::to_owned),
        (_, Some(death), _) => Some(death.message.clone()),
        (.., Some(conflict)) => Some(conflict.message.clone()),
        _ => data.folder.clone().or_else(|| data.changed.as_ref().map(ToString::to_string)),
    };
    let detail = detail.map(|detail| format!(": {detail}")).unwrap_or_default();
    format!("{subject}{took}{detail}")
}
