//! `requests`: the last requests of a project, and new ones.

use http::Method;
use http::header::ACCEPT;
use jiff::Timestamp;
use switchyard_program::color::Style;
use tokio::sync::watch;

use super::super::Console;
use super::super::again::Attempts;
use super::super::args::RequestsArgs;
use super::super::bridge::{Bridge, CallError};
use super::super::failure::{DONE, Failure, NO_ANSWER};
use super::super::logs::resumed;
use super::super::pack::Flow;
use super::super::report;
use super::super::table::cut;
use super::parse;
use switchyard_contract::admin::RequestInfo;
use switchyard_contract::bounds::KEPT_REQUESTS;
use switchyard_contract::overview::{LogError, RouterRequest, RouterRequests};
use switchyard_contract::visible;

/// Prints requests, the newest last. Returns the exit status.
///
/// # Errors
/// There is no answer, or it breaks off.
pub(super) async fn requests(
    bridge: &Bridge,
    args: &RequestsArgs,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    if args.follow {
        return follow(bridge, args, json, console).await;
    }
    let answer =
        bridge.call(request(bridge, args, args.lines.map(|lines| lines.to_string()), args.since)).await?;
    if json || !answer.status.is_success() {
        return report::print_answer(console, json, &answer);
    }
    let answer: RouterRequests = parse(&answer)?;
    match answer.requests.as_slice() {
        [] if answer.errors.is_empty() => console.print("no requests")?,
        [] => {}
        _ => print_heading(console)?,
    }
    for request in answer.requests.iter().rev() {
        print(&request.request, console)?;
    }
    for error in &answer.errors {
        complain(error, "", console)?;
    }
    Ok(if answer.errors.is_empty() { DONE } else { NO_ANSWER })
}

fn request(
    bridge: &Bridge,
    args: &RequestsArgs,
    lines: Option<String>,
    since: Option<Timestamp>,
) -> reqwest::RequestBuilder {
    let query = [
        ("limit", lines),
        ("status", args.status.map(|status| status.to_string())),
        ("method", args.method.clone()),
        ("since", since.map(|since| since.to_string())),
        ("follow", args.follow.then(|| "1".to_owned())),
    ];
    let query: Vec<_> = query.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
    bridge.request(Method::GET, &["projects", args.project.as_str(), "requests"], &query)
}

/// Prints requests as they end. Goes on after the bridge was lost.
async fn follow(
    bridge: &Bridge,
    args: &RequestsArgs,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let mut attempts = Attempts::new(bridge);
    let mut newest: Option<Timestamp> = None;
    if !json {
        print_heading(console)?;
    }
    loop {
        // Those that ended since the last one that was printed.
        let printed = newest;
        let since = printed.max(args.since);
        let lines = printed.map(|_| KEPT_REQUESTS.to_string());
        let lines = lines.or_else(|| args.lines.map(|lines| lines.to_string()));
        let (_, no_body) = watch::channel(Flow::default());
        let request = request(bridge, args, lines, since).header(ACCEPT, "text/event-stream");
        let response = match bridge.send(request, no_body, |_| {}).await {
            Ok(response) => response,
            Err(error) => {
                attempts.after(error, console).await?;
                continue;
            }
        };
        let mut events = match bridge.events(response) {
            Ok(events) => events,
            Err(response) if attempts.is_starting(response.status()) => {
                attempts.after(CallError::Ended("requests"), console).await?;
                continue;
            }
            Err(response) => return report::print_answer(console, json, &bridge.whole(*response).await?),
        };
        console.complain(attempts.found().unwrap_or_default())?;
        // If there is none until the bridge is lost, those from here on are missing.
        newest.get_or_insert_with(Timestamp::now);
        let end = loop {
            let event = match events.next().await {
                Ok(Some(event)) => event,
                Ok(None) => break CallError::Ended("requests"),
                Err(error) => break error,
            };
            match event.kind.as_str() {
                "request" => {
                    let request: RouterRequest = serde_json::from_str(&event.data).map_err(strange)?;
                    let at = Some(request.request.timestamp);
                    newest = newest.max(at);
                    if printed.is_some() && at <= printed {
                        continue;
                    }
                    if json {
                        console.print_json(&event.data)?;
                    } else {
                        print(&request.request, console)?;
                    }
                    console.out.flush()?;
                }
                "error" => {
                    let error = serde_json::from_str(&event.data).map_err(strange)?;
                    complain(&error, "; its requests go on when it is back", console)?;
                }
                "resumed" => console.complain(&resumed(&event))?,
                _ => {}
            }
        };
        attempts.after(end, console).await?;
    }
}

fn strange(error: serde_json::Error) -> CallError {
    CallError::Strange(error.to_string())
}

fn print_heading(console: &mut Console<'_>) -> Result<(), Failure> {
    let cells = ["TIME", "METHOD", "STATUS", "TOOK", "BYTES", "ID", "PATH"].map(str::to_owned);
    let line = cut(&line(cells), console.look.width);
    Ok(writeln!(console.out, "{}", Style::Bold.on(console.look.has_color, line))?)
}

fn print(request: &RequestInfo, console: &mut Console<'_>) -> Result<(), Failure> {
    let style = match request.status {
        Some(500..) => Some(Style::Bad),
        Some(400..) => Some(Style::Warning),
        Some(_) => None,
        None => Some(Style::Dim),
    };
    let line = cut(&line(cells(request)), console.look.width);
    let has_color = console.look.has_color && style.is_some();
    Ok(writeln!(console.out, "{}", style.unwrap_or(Style::Dim).on(has_color, line))?)
}

fn cells(request: &RequestInfo) -> [String; 7] {
    let status = request.status.map_or_else(|| "left".to_owned(), |status| status.to_string());
    let end = if request.cut_off { " (cut off)" } else { "" };
    [
        request.timestamp.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        visible::word(&request.method).into_owned(),
        status,
        format!("{:.1} ms", request.total_ms),
        request.bytes.to_string(),
        visible::word(&request.id).into_owned(),
        visible::line(&request.path).into_owned() + end,
    ]
}

/// Returns a line whose columns are wide enough for nearly all requests, also for those to come.
fn line([time, method, status, took, bytes, id, path]: [String; 7]) -> String {
    format!("{time:<24}  {method:<7}  {status:<6}  {took:>10}  {bytes:>9}  {id:<16}  {path}")
}

fn complain(error: &LogError, then: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    let router = error.router.as_deref().map(visible::word).unwrap_or_default();
    Ok(console.complain(&format!("{router}: {}{then}", visible::line(&error.error)))?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_is_a_line_of_columns() {
        let request: RequestInfo = serde_json::from_value(json!({
            "timestamp": "2026-03-01T12:00:00Z", "id": "0123456789abcdef", "project": "blog",
            "version": "blog@3f9a1c2b7d4e", "method": "GET", "path": "/a\u{1b}b", "status": 502, "bytes": 12,
            "total_ms": 1.25, "head_ms": 1.0, "queued_ms": 0.0, "client": "127.0.0.1", "cut_off": true,
        }))
        .unwrap();
        assert_eq!(
            line(cells(&request)).split_whitespace().collect::<Vec<_>>().join(" "),
            "2026-03-01T12:00:00.000Z GET 502 1.2 ms 12 0123456789abcdef /a␛b (cut off)"
        );
    }
}
