//! Commands about one project: its versions, their differences, locks, reloads, events, and where it is.

mod events;
mod explain;
mod reload;
mod requests;
mod versions;

use std::process::Stdio;

use http::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

pub(super) use self::versions::diff;
use super::Console;
use super::args::ProjectCommand;
use super::bridge::{Answer, Bridge, CallError};
use super::failure::{DONE, FAILED, Failure};
use super::links::{project_url, reason_for_no_url};
use super::report;
use switchyard_contract::overview::{ProjectOverview, RouterInfos};
use switchyard_contract::project::ProjectName;
use switchyard_contract::versions::ProjectLock;

/// Runs a command. Returns the exit status.
///
/// # Errors
/// There is no answer, or it is not understood.
pub(super) async fn run(
    bridge: &Bridge,
    command: &ProjectCommand,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    match command {
        ProjectCommand::Versions(args) => {
            versions::versions(bridge, args.project.as_str(), json, console).await
        }
        ProjectCommand::Diff(args) => {
            versions::diff(bridge, args.project.as_str(), &args.query(), json, console).await
        }
        ProjectCommand::Lock(args) => {
            let project = args.project.as_str();
            let reason = args.message.as_deref().map(|reason| ("reason", reason));
            let query: Vec<_> = reason.into_iter().collect();
            let request = bridge.request(Method::PUT, &["projects", project, "lock"], &query);
            let answer = bridge.call(request).await?;
            if json || !answer.status.is_success() {
                return report::print_answer(console, json, &answer);
            }
            let lock: ProjectLock = parse(&answer)?;
            console.print(&format!(
                "{} is locked: deploys, rollbacks and removals are refused until switchyard unlock {}",
                lock.project, lock.project
            ))?;
            if bridge.get(&["projects", project]).await?.status == StatusCode::NOT_FOUND {
                console.complain(&format!(
                    "there is no project {project} yet: nobody can deploy one of this name"
                ))?;
            }
            Ok(DONE)
        }
        ProjectCommand::Unlock(args) => {
            let project = args.project.as_str();
            let answer =
                bridge.call(bridge.request(Method::DELETE, &["projects", project, "lock"], &[])).await?;
            if !answer.status.is_success() {
                return report::print_answer(console, json, &answer);
            }
            if json {
                console.print_json("{}")?
            } else {
                console.print(&format!("{project} is unlocked"))?
            }
            Ok(DONE)
        }
        ProjectCommand::Events(args) => events::events(bridge, args, json, console).await,
        ProjectCommand::Requests(args) => requests::requests(bridge, args, json, console).await,
        ProjectCommand::Reload(args) => reload::reload(bridge, args.project.as_ref(), json, console).await,
        ProjectCommand::Explain(args) => explain::explain(bridge, args.project.as_str(), json, console).await,
        ProjectCommand::Open(args) => open(bridge, &args.project, args.print, json, console).await,
        ProjectCommand::Inspect(args) => inspect(bridge, args.project.as_str(), json, console).await,
    }
}

/// Reads the body of an answer.
fn parse<T: DeserializeOwned>(answer: &Answer) -> Result<T, CallError> {
    serde_json::from_str(&answer.body).map_err(|error| CallError::Strange(error.to_string()))
}

/// Opens a project in the browser, or prints its URL.
async fn open(
    bridge: &Bridge,
    project: &ProjectName,
    only_prints: bool,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    if let Err(answer) = served(bridge, project.as_str()).await? {
        return report::print_answer(console, json, &answer);
    }
    let answer = bridge.get(&["routers"]).await?;
    if !answer.status.is_success() {
        return report::print_answer(console, json, &answer);
    }
    let routers: RouterInfos = parse(&answer)?;
    let Some(url) = routers.routers.iter().find_map(|router| project_url(&router.public, project)) else {
        let publics = routers.routers.iter().map(|router| router.public.as_str());
        return Err(Failure::new(FAILED, reason_for_no_url(publics, project)));
    };
    if json {
        console.print_json(&json!({ "project": project, "url": url }).to_string())?;
    } else {
        console.print(&url)?;
    }
    if only_prints || json {
        return Ok(DONE);
    }
    let chosen = std::env::var_os("BROWSER").filter(|program| !program.is_empty());
    let program =
        chosen.unwrap_or_else(|| if cfg!(target_os = "macos") { "open" } else { "xdg-open" }.into());
    let mut command = tokio::process::Command::new(&program);
    let opened =
        command.arg(&url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().await;
    match opened {
        Ok(status) if status.success() => Ok(DONE),
        Ok(status) => Err(Failure::new(
            FAILED,
            format!("{} failed ({status}): open the URL yourself", program.display()),
        )),
        Err(error) => {
            let text = format!("cannot run {}: {error}; open the URL yourself", program.display());
            Err(Failure::new(FAILED, text))
        }
    }
}

/// Returns a project that routers have. The inner error is an answer that is no success.
///
/// # Errors
/// There is no answer, or the project is removed.
async fn served(bridge: &Bridge, project: &str) -> Result<Result<ProjectOverview, Answer>, Failure> {
    let answer = bridge.get(&["projects", project]).await?;
    if !answer.status.is_success() {
        return Ok(Err(answer));
    }
    let overview: ProjectOverview = parse(&answer)?;
    if let Some(removed) = &overview.removed {
        let until = report::day(removed.until);
        let text = format!("{project} is removed: switchyard rollback {project} restores it until {until}");
        return Err(Failure::new(FAILED, text));
    }
    Ok(Ok(overview))
}

/// The output of `inspect --json`.
#[derive(Debug, Serialize)]
struct Debuggers<'a> {
    project: &'a str,
    routers: Vec<Debugger<'a>>,
}

/// The ways to attach a debugger at a router.
#[derive(Debug, Serialize)]
struct Debugger<'a> {
    router: &'a str,
    /// For editors. `null` for a Unix socket, which no debugger connects to.
    websocket: Option<String>,
    /// For Chrome.
    devtools: Option<String>,
}

impl<'a> Debugger<'a> {
    fn of(router: &'a str, project: &str) -> Self {
        let host = router.split_once("://").map(|(_, host)| host.trim_end_matches('/'));
        let secure = if router.starts_with("https:") { "wss" } else { "ws" };
        let address = host.map(|host| format!("{host}/projects/{project}/inspect"));
        let devtools = |address: &String| {
            format!("devtools://devtools/bundled/js_app.html?experiments=true&v8only=true&{secure}={address}")
        };
        let websocket = address.as_ref().map(|address| format!("{secure}://{address}"));
        Self { router, devtools: address.as_ref().map(devtools), websocket }
    }
}

/// Prints where debuggers attach to a project at each router.
async fn inspect(
    bridge: &Bridge,
    project: &str,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let overview = match served(bridge, project).await? {
        Ok(overview) => overview,
        Err(answer) => return report::print_answer(console, json, &answer),
    };
    let routers: Vec<_> =
        overview.routers.iter().map(|router| Debugger::of(&router.router, project)).collect();
    if json {
        let text = serde_json::to_string(&Debuggers { project, routers }).map_err(std::io::Error::from)?;
        console.print_json(&text)?;
        return Ok(DONE);
    }
    for debugger in &routers {
        match (&debugger.websocket, &debugger.devtools) {
            (Some(websocket), Some(devtools)) => console.print(&format!("{websocket}\n{devtools}"))?,
            _ => {
                let path = debugger.router.trim_start_matches("unix:");
                console.print(&format!(
                    "the admin listener is a Unix socket, which debuggers do not connect to; at that machine:\n\
                     socat TCP-LISTEN:8001,bind=127.0.0.1,fork UNIX-CONNECT:{path}\n\
                     ws://127.0.0.1:8001/projects/{project}/inspect"
                ))?;
            }
        }
    }
    console.complain(
        "the router must allow it (--inspect NAME, or --inspect all); Chrome opens the line with devtools:, editors \
         attach to the one with ws: (docs/debugging.md)",
    )?;
    Ok(DONE)
}
