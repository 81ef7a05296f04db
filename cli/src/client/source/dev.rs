//! `source dev`: the projects of a source, read from a folder instead of the volume.

use http::Method;
use reqwest::header::CONTENT_TYPE;
use tokio::task::spawn_blocking;

use super::super::Console;
use super::super::args::DevArgs;
use super::super::bridge::Bridge;
use super::super::failure::{DONE, Failure, REFUSED, USAGE};
use super::super::folder::canonical;
use super::super::report;
use super::read;
use switchyard_contract::source::{OverrideRequest, Overrides};
use switchyard_contract::visible;

/// Sets or ends the override of a source. Returns the exit status.
///
/// # Errors
/// The folder cannot be used, there is no answer, or it is not understood.
pub(super) async fn dev(
    bridge: &Bridge,
    args: DevArgs,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let DevArgs { source, local_path, .. } = args;
    let path = ["sources", source.as_str(), "override"];
    let request = match local_path {
        Some(folder) => {
            let folder = spawn_blocking(move || canonical(&folder)).await;
            let folder = folder.map_err(|panic| Failure::new(REFUSED, panic.to_string()))??;
            let local_path = folder.into_os_string().into_string().map_err(|folder| {
                let folder = folder.to_string_lossy();
                Failure::new(USAGE, format!("{folder} is not valid UTF-8: rename the folder"))
            })?;
            let body = serde_json::to_string(&OverrideRequest { local_path });
            let body = body.map_err(|error| Failure::new(USAGE, error.to_string()))?;
            bridge.request(Method::PUT, &path, &[]).header(CONTENT_TYPE, "application/json").body(body)
        }
        None => bridge.request(Method::DELETE, &path, &[]),
    };
    let answer = bridge.call(request).await?;
    if json || !answer.status.is_success() {
        return report::print_answer(console, json, &answer);
    }
    console.print(&lines(&source, &read(&answer)?))?;
    Ok(DONE)
}

fn lines(source: &str, overrides: &Overrides) -> String {
    if overrides.projects.is_empty() {
        return format!("{source}: all projects are read from the volume");
    }
    let lines = overrides
        .projects
        .iter()
        .map(|(project, folder)| format!("{project} is read from {}", visible::word(folder)));
    let end = format!("switchyard source dev {source} --disable ends it");
    lines.chain([end]).collect::<Vec<_>>().join("\n")
}
