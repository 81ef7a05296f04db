//! `events`: what happened to projects, the last events and new ones.

use std::collections::VecDeque;

use http::Method;
use http::header::ACCEPT;
use serde::Deserialize;
use switchyard_program::color::Style;
use tokio::sync::watch;

use super::super::Console;
use super::super::again::Attempts;
use super::super::args::EventsArgs;
use super::super::bridge::{Bridge, CallError};
use super::super::failure::{DONE, Failure};
use super::super::pack::Flow;
use super::super::report;
use super::parse;
use switchyard_contract::event::{Event, EventType};
use switchyard_contract::visible;

/// The events that are remembered: more than a bridge keeps.
const MAX_PRINTED: usize = 2_000;

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
    let mut printed = Printed::default();
    let mut attempts = Attempts::new(bridge);
    loop {
        match follow(bridge, args, json, &mut printed, &mut attempts, console).await {
            Ok(exit) => return Ok(exit),
            Err(Lost::Failure(failure)) => return Err(failure),
            Err(Lost::Call(error)) if args.follow => attempts.after(error, console).await?,
            Err(Lost::Call(error)) => return Err(error.into()),
        }
    }
}

/// The ids of the last events that were printed: router and number.
#[derive(Debug, Default)]
struct Printed(VecDeque<(String, u64)>);

impl Printed {
    /// Returns true for an event that was not printed yet.
    fn is_new(&mut self, event: &Event) -> bool {
        let id = (event.data.router.clone(), event.data.sequence);
        let is_new = !self.0.contains(&id);
        if is_new {
            self.0.push_back(id);
        }
        if self.0.len() > MAX_PRINTED {
            self.0.pop_front();
        }
        is_new
    }
}

/// The end of a stream.
enum Lost {
    Call(CallError),
    Failure(Failure),
}

impl From<CallError> for Lost {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl From<Failure> for Lost {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// Prints the last events, and those that follow. Returns the exit status.
async fn follow(
    bridge: &Bridge,
    args: &EventsArgs,
    json: bool,
    printed: &mut Printed,
    attempts: &mut Attempts,
    console: &mut Console<'_>,
) -> Result<u8, Lost> {
    let mut later = None;
    if args.follow {
        // Before the last ones are read, so that none is missed in between.
        let request = bridge.request(Method::GET, &["stream"], &[("topics", "events")]);
        let (_, no_body) = watch::channel(Flow::default());
        let response = bridge.send(request.header(ACCEPT, "text/event-stream"), no_body, |_| {}).await?;
        match bridge.events(response) {
            Ok(events) => later = Some(events),
            Err(response) => {
                return Ok(report::print_answer(console, json, &bridge.whole(*response).await?)?);
            }
        }
    }
    let answer = bridge.get(&["events"]).await?;
    if !answer.status.is_success() {
        return Ok(report::print_answer(console, json, &answer)?);
    }
    if let Some(note) = attempts.found() {
        console.complain(note).map_err(Failure::from)?;
    }
    let only = args.project.as_ref();
    let is_of = |event: &Event| only.is_none_or(|project| project.as_str() == event.data.project);
    let recent: Recent = parse(&answer)?;
    let has_any = recent.events.iter().any(is_of);
    for event in recent.events.iter().rev().filter(|event| is_of(event) && printed.is_new(event)) {
        print(event, json, console)?;
    }
    if let Some(project) = only.filter(|_| !has_any) {
        let answer = bridge.get(&["projects", project.as_str()]).await?;
        if !answer.status.is_success() {
            return Ok(report::print_answer(console, json, &answer)?);
        }
        console.complain(&format!("no event of {project} is known")).map_err(Failure::from)?;
    }
    let Some(mut events) = later else { return Ok(DONE) };
    while let Some(event) = events.next().await? {
        if event.kind == "event"
            && let Ok(event) = serde_json::from_str(&event.data)
            && is_of(&event)
            && printed.is_new(&event)
        {
            print(&event, json, console)?;
        }
    }
    Err(CallError::Ended("events").into())
}

fn print(event: &Event, json: bool, console: &mut Console<'_>) -> Result<(), Failure> {
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
