//! `logs`: the lines that projects printed.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use http::Method;
use http::header::ACCEPT;
use jiff::Timestamp;
use serde::de::IgnoredAny;
use switchyard_program::color::Style;
use tokio::sync::{mpsc, watch};

use super::Console;
use super::again::Attempts;
use super::args::LogsArgs;
use super::bridge::{Bridge, CallError};
use super::failure::{DONE, Failure, NO_ANSWER, exit_of};
use super::pack::Flow;
use super::report;
use switchyard_contract::admin::LogLine;
use switchyard_contract::overview::{LogError, ProjectOverview, ProjectOverviews, RouterLogLine};
use switchyard_contract::visible;
use switchyard_edge::sse::SseEvent;

/// Lines that wait to be printed. Their readers wait when it is full.
const QUEUE: usize = 256;

/// The lines that a router keeps of a project.
const ALL: u32 = 1_000;

/// Projects that are followed at once: each is a stream of the bridge.
const MAX_FOLLOWED: usize = 100;

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
    let projects = match projects(bridge, args).await? {
        Ok(projects) => projects,
        Err(answer) => return report::print_answer(console, json, &answer),
    };
    if projects.len() > MAX_FOLLOWED {
        let text =
            format!("{} projects are too many to read at once: name at most {MAX_FOLLOWED}", projects.len());
        return Err(Failure::new(super::USAGE, text));
    }
    let has_routers = projects.iter().any(|project| project.routers.len() > 1);
    let show = Show { json, routers: has_routers, projects: projects.len() > 1 };
    let filter = Filter::new(args);
    let (sender, mut messages) = mpsc::channel(QUEUE);
    let reading =
        join_all(projects.iter().map(|project| read(bridge, &project.project, args, sender.clone())));
    drop(sender);
    let (mut printed, mut last_note) = (Vec::new(), String::new());
    let mut has_printed = false;
    let printing = async {
        let mut exit = DONE;
        while let Some(message) = messages.recv().await {
            match message {
                Message::Line(line) if !filter.takes(&line.0.line) => {}
                // Of several projects, in the order in which they were printed.
                Message::Line(line) if !args.follow && show.projects => printed.push(line),
                Message::Line(line) => {
                    has_printed = true;
                    print(&line, show, console)?;
                }
                Message::Problem(text) => {
                    console.complain(&text)?;
                    exit = NO_ANSWER;
                }
                // A router or a bridge that was lost is lost to each project.
                Message::Note(text) if text == last_note => {}
                Message::Note(text) => {
                    console.complain(&text)?;
                    last_note = text;
                }
            }
        }
        Ok::<_, Failure>(exit)
    };
    let (ends, exit) = tokio::join!(reading, printing);
    let exit = exit?;
    printed.sort_by_key(|(line, _)| line.line.timestamp);
    printed.iter().try_for_each(|line| print(line, show, console))?;
    let exits = ends.into_iter().collect::<Result<Vec<_>, _>>()?;
    let exit = exits.into_iter().fold(exit, u8::max);
    if exit == DONE && filter.is_on() && !has_printed && printed.is_empty() {
        console.complain(&format!("no line matches {}", filter.flags()))?;
    }
    Ok(exit)
}

/// A line with the JSON that it came as.
type Line = (RouterLogLine, String);

enum Message {
    Line(Line),
    /// A router whose lines are missing.
    Problem(String),
    /// A notice that lines are missing for the moment, or that they go on.
    Note(String),
}

/// Finds the projects that are named, or all. The inner error is an answer that is no success.
async fn projects(
    bridge: &Bridge,
    args: &LogsArgs,
) -> Result<Result<Vec<ProjectOverview>, super::bridge::Answer>, CallError> {
    let mut projects = Vec::new();
    for project in &args.projects {
        let answer = bridge.get(&["projects", project.as_str()]).await?;
        if !answer.status.is_success() {
            return Ok(Err(answer));
        }
        projects.push(serde_json::from_str(&answer.body).map_err(strange)?);
    }
    if args.projects.is_empty() {
        let answer = bridge.get(&["projects"]).await?;
        if !answer.status.is_success() {
            return Ok(Err(answer));
        }
        let all: ProjectOverviews = serde_json::from_str(&answer.body).map_err(strange)?;
        projects.extend(all.projects.into_iter().filter(|project| project.removed.is_none()));
    }
    Ok(Ok(projects))
}

/// The times of the newest lines, by router.
#[derive(Debug, Default)]
struct Seen {
    newest: BTreeMap<Option<String>, Timestamp>,
    /// The same when the stream was opened again: what is older was printed.
    printed: BTreeMap<Option<String>, Timestamp>,
    /// When the stream was first open. Of a router without a line since then, what is older was
    /// printed or left out.
    began: Option<Timestamp>,
    is_again: bool,
}

impl Seen {
    fn is_new(&mut self, line: &RouterLogLine) -> bool {
        let at = line.line.timestamp;
        let newest = self.newest.entry(line.router.clone()).or_insert(at);
        *newest = at.max(*newest);
        let printed = self.printed.get(&line.router).copied();
        !self.is_again || printed.or(self.began).is_none_or(|printed| at > printed)
    }
}

/// Sends the lines of one project. One that is followed goes on after the bridge was lost. Returns the
/// exit status of an answer that is no success.
async fn read(
    bridge: &Bridge,
    project: &str,
    args: &LogsArgs,
    to: mpsc::Sender<Message>,
) -> Result<u8, Failure> {
    let (mut seen, mut attempts) = (Seen::default(), Attempts::new(bridge));
    loop {
        let error = match stream(bridge, project, args, &mut seen, &mut attempts, &to).await {
            Ok(exit) => return Ok(exit),
            Err(error) if !args.follow || matches!(error, CallError::Strange(_)) => return Err(error.into()),
            Err(error) => error,
        };
        if let Some(note) = attempts.lost(&error.to_string()).await? {
            let _ = to.send(Message::Note(note)).await;
        }
    }
}

async fn stream(
    bridge: &Bridge,
    project: &str,
    args: &LogsArgs,
    seen: &mut Seen,
    attempts: &mut Attempts,
    to: &mpsc::Sender<Message>,
) -> Result<u8, CallError> {
    // What is left out must not take the place of what is printed.
    let is_whole = Filter::new(args).is_on() && args.lines.is_none() || seen.began.is_some();
    let lines = if is_whole { Some(ALL) } else { args.lines }.map(|lines| lines.to_string());
    let query = [lines.as_deref().map(|lines| ("lines", lines)), args.follow.then_some(("follow", "1"))];
    let query: Vec<_> = query.into_iter().flatten().collect();
    let request = bridge.request(Method::GET, &["projects", project, "logs"], &query);
    let (_, no_body) = watch::channel(Flow::default());
    let response = bridge.send(request.header(ACCEPT, "text/event-stream"), no_body, |_| {}).await?;
    let mut events = match bridge.events(response) {
        Ok(events) => events,
        Err(response) => {
            let answer = bridge.whole(*response).await?;
            if attempts.is_starting(answer.status) {
                return Err(CallError::Ended("log"));
            }
            let problem = serde_json::from_str::<switchyard_contract::problem::ProblemDocument>(&answer.body);
            let text = problem.as_ref().map(|problem| report::describe(problem, &answer.status.to_string()));
            let text = text.unwrap_or_else(|_| answer.status.to_string());
            let _ = to.send(Message::Note(text)).await;
            let kind = problem.map(|problem| problem.kind).unwrap_or_default();
            return Ok(exit_of(answer.status, &kind));
        }
    };
    if let Some(note) = attempts.found() {
        let _ = to.send(Message::Note(note.to_owned())).await;
    }
    seen.is_again = seen.began.is_some();
    seen.began.get_or_insert_with(Timestamp::now);
    seen.printed.clone_from(&seen.newest);
    while let Some(event) = events.next().await? {
        let message = match event.kind.as_str() {
            "line" => {
                serde_json::from_str::<IgnoredAny>(&event.data).map_err(strange)?;
                let line: RouterLogLine = serde_json::from_str(&event.data).map_err(strange)?;
                if !seen.is_new(&line) {
                    continue;
                }
                Message::Line((line, event.data))
            }
            "error" if args.follow => {
                Message::Note(format!("{}; its lines go on when it is back", problem(&event)))
            }
            "error" => Message::Problem(problem(&event)),
            "resumed" => Message::Note(resumed(&event)),
            _ => continue,
        };
        if to.send(message).await.is_err() {
            return Ok(DONE);
        }
    }
    if args.follow { Err(CallError::Ended("log")) } else { Ok(DONE) }
}

/// The lines that are printed.
struct Filter {
    since: Option<Timestamp>,
    grep: Option<String>,
    request: Option<String>,
    version: Option<String>,
    stderr: bool,
}

impl Filter {
    fn new(args: &LogsArgs) -> Self {
        let LogsArgs { since, grep, request, version, stderr, .. } = args;
        let version =
            version.as_ref().map(|version| version.rsplit('@').next().unwrap_or(version).to_owned());
        Self { since: *since, grep: grep.clone(), request: request.clone(), version, stderr: *stderr }
    }

    fn is_on(&self) -> bool {
        self.since.is_some()
            || self.grep.is_some()
            || self.request.is_some()
            || self.version.is_some()
            || self.stderr
    }

    /// The flags that leave lines out, for a text.
    fn flags(&self) -> String {
        let text = |flag: &str, value: &Option<String>| value.as_ref().map(|value| format!("{flag} {value}"));
        let flags = [
            self.since.map(|_| "--since".to_owned()),
            text("--grep", &self.grep),
            text("--request", &self.request),
            text("--version", &self.version),
            self.stderr.then(|| "--stderr".to_owned()),
        ];
        flags.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    fn takes(&self, line: &LogLine) -> bool {
        let digest = line.version.rsplit('@').next().unwrap_or_default();
        self.since.is_none_or(|since| line.timestamp >= since)
            && self.grep.as_ref().is_none_or(|text| line.line.contains(text))
            && self.request.as_ref().is_none_or(|request| line.request.as_ref() == Some(request))
            // A digest that is given whole is longer than the one in the line.
            && self.version.as_ref().is_none_or(|version| digest.starts_with(version) || version.starts_with(digest))
            && (!self.stderr || line.stream == "stderr")
    }
}

#[derive(Debug, Clone, Copy)]
struct Show {
    json: bool,
    routers: bool,
    projects: bool,
}

fn print((line, text): &Line, show: Show, console: &mut Console<'_>) -> Result<(), Failure> {
    if show.json {
        console.print_json(text)?;
        return Ok(console.out.flush()?);
    }
    let has_color = console.look.has_color;
    let RouterLogLine { router, line } = line;
    if let Some(router) = router.as_ref().filter(|_| show.routers) {
        write!(console.out, "{} ", Style::Dim.on(has_color, visible::word(router)))?;
    }
    // Milliseconds are as much as a person can tell apart.
    let at = line.timestamp.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    write!(console.out, "{} ", Style::Dim.on(has_color, at))?;
    write!(console.out, "{} ", Style::Name.on(has_color, visible::word(&line.version)))?;
    let style = if line.stream == "stderr" { Style::Warning } else { Style::Dim };
    write!(console.out, "{} ", style.on(has_color, visible::word(&line.stream)))?;
    if let Some(request) = &line.request {
        write!(console.out, "{} ", Style::Dim.on(has_color, format_args!("[{}]", visible::word(request))))?;
    }
    writeln!(console.out, "{}", visible::line(&line.line))?;
    Ok(console.out.flush()?)
}

/// The note for a router that is back.
pub(super) fn resumed(event: &SseEvent) -> String {
    let router = serde_json::from_str::<serde_json::Value>(&event.data).ok();
    let router = router.as_ref().and_then(|data| data["router"].as_str()).unwrap_or("the router");
    format!("{}: it is back", visible::word(router))
}

fn problem(event: &SseEvent) -> String {
    match serde_json::from_str::<LogError>(&event.data) {
        Ok(LogError { router: Some(router), error }) => {
            format!("{}: {}", visible::word(&router), visible::line(&error))
        }
        Ok(LogError { router: None, error }) => visible::line(&error).into_owned(),
        Err(_) => visible::line(&event.data).into_owned(),
    }
}

fn strange(error: serde_json::Error) -> CallError {
    CallError::Strange(error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(version: &str, stream: &str, text: &str) -> LogLine {
        serde_json::from_value(json!({
            "timestamp": "2026-03-01T12:00:00Z", "project": "blog", "version": version, "pid": 1, "stream": stream,
            "request": "r1", "line": text,
        }))
        .unwrap()
    }

    #[test]
    fn a_line_has_to_pass_every_filter() {
        let none = || Filter { since: None, grep: None, request: None, version: None, stderr: false };
        let one = line("blog@3f9a1c2b7d4e", "stdout", "hello world");
        assert!(none().takes(&one) && !none().is_on());
        for (filter, takes) in [
            (Filter { grep: Some("o w".into()), ..none() }, true),
            (Filter { grep: Some("O W".into()), ..none() }, false),
            (Filter { request: Some("r1".into()), ..none() }, true),
            (Filter { request: Some("r".into()), ..none() }, false),
            (Filter { version: Some("3f9a".into()), ..none() }, true),
            (Filter { version: Some("3f9a1c2b7d4e00".into()), ..none() }, true),
            (Filter { version: Some("4f".into()), ..none() }, false),
            (Filter { stderr: true, ..none() }, false),
            (Filter { since: Some("2026-03-01T11:59:00Z".parse().unwrap()), ..none() }, true),
            (Filter { since: Some("2026-03-01T12:01:00Z".parse().unwrap()), ..none() }, false),
        ] {
            assert!(filter.is_on());
            assert_eq!(filter.takes(&one), takes);
        }
    }
}
