//! Commands about one project: its versions, their differences, locks, reloads, events, and where it is.

mod events;
mod explain;
mod reload;
mod requests;
mod versions;

use std::process::Stdio;

use http::Method;
use serde::de::DeserializeOwned;

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
use switchyard_contract::visible;

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
        ProjectCommand::Open(args) => open(bridge, &args.project, args.print, console).await,
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
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let answer = bridge.get(&["routers"]).await?;
    if !answer.status.is_success() {
        return report::print_answer(console, false, &answer);
    }
    let routers: RouterInfos = parse(&answer)?;
    let Some(url) = routers.routers.iter().find_map(|router| project_url(&router.public, project)) else {
        let publics = routers.routers.iter().map(|router| router.public.as_str());
        return Err(Failure::new(FAILED, reason_for_no_url(publics, project)));
    };
    console.print(&url)?;
    if only_prints {
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

/// Prints where debuggers attach to a project at each router.
async fn inspect(
    bridge: &Bridge,
    project: &str,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let answer = bridge.get(&["projects", project]).await?;
    if json || !answer.status.is_success() {
        return report::print_answer(console, json, &answer);
    }
    let overview: ProjectOverview = parse(&answer)?;
    for router in &overview.routers {
        let host = router.router.trim_start_matches("http://").trim_end_matches('/');
        let address = visible::word(&format!("{host}/projects/{project}/inspect")).into_owned();
        console.print(&format!(
            "ws://{address}\ndevtools://devtools/bundled/js_app.html?experiments=true&v8only=true&ws={address}"
        ))?;
    }
    console.complain(
        "the router must allow it (--inspect NAME, or --inspect all); Chrome opens the second line, editors attach \
         to the first one (docs/debugging.md)",
    )?;
    Ok(DONE)
}
