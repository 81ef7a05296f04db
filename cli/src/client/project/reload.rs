//! `reload`: the routers read projects again.

use http::Method;

use super::super::Console;
use super::super::bridge::Bridge;
use super::super::failure::{DONE, FAILED, Failure, NO_ANSWER};
use super::super::report;
use super::parse;
use switchyard_contract::admin::{ReloadOutcome, Report};
use switchyard_contract::overview::ProjectOverviews;
use switchyard_contract::project::ProjectName;
use switchyard_contract::versions::ProjectReload;
use switchyard_contract::visible;

/// A reload may build the project.
const SLOW: u32 = 2;

/// Reads one project again, or all. Returns the exit status.
///
/// # Errors
/// There is no answer, or it is not understood.
pub(super) async fn reload(
    bridge: &Bridge,
    project: Option<&ProjectName>,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let names = match project {
        Some(project) => vec![project.to_string()],
        None => {
            let answer = bridge.get(&["projects"]).await?;
            if !answer.status.is_success() {
                return report::print_answer(console, json, &answer);
            }
            let all: ProjectOverviews = parse(&answer)?;
            let there = all.projects.into_iter().filter(|project| project.removed.is_none());
            there.map(|project| project.project).collect()
        }
    };
    let bridge = bridge.patient(SLOW);
    let mut exit = DONE;
    for name in &names {
        let answer = bridge.call(bridge.request(Method::POST, &["projects", name, "reload"], &[])).await?;
        if json || !answer.status.is_success() {
            exit = exit.max(report::print_answer(console, json, &answer)?);
            continue;
        }
        let reload: ProjectReload = parse(&answer)?;
        let has_several = reload.routers.len() > 1;
        for router in &reload.routers {
            let at =
                if has_several { format!(" at {}", visible::word(&router.router)) } else { String::new() };
            match (&router.report, &router.error) {
                (Some(report), _) => {
                    let is_failure = matches!(report.outcome, ReloadOutcome::Failed | ReloadOutcome::Unknown);
                    console.print(&format!("{}{at}", outcome(name, report)))?;
                    exit = exit.max(if is_failure { FAILED } else { DONE });
                }
                (None, error) => {
                    let error = error.as_deref().unwrap_or("no answer");
                    console.complain(&format!(
                        "{}: {}",
                        visible::word(&router.router),
                        visible::line(error)
                    ))?;
                    exit = NO_ANSWER;
                }
            }
        }
    }
    Ok(exit)
}

fn outcome(name: &str, of: &Report) -> String {
    let version = visible::word(of.version.as_deref().unwrap_or(name)).into_owned();
    let took = of.timings_ms.total.map(|ms| format!(" ({ms:.0} ms)")).unwrap_or_default();
    match of.outcome {
        ReloadOutcome::Live => format!("{version} is live{took}"),
        ReloadOutcome::Unchanged => format!("{version} is live already"),
        ReloadOutcome::Removed => format!("{name} is removed"),
        ReloadOutcome::Unknown => format!("there is no project {name}"),
        _ => match &of.error {
            Some(error) => format!("{name} does not build: {}", report::diagnostic(error)),
            None => format!("{version} was read"),
        },
    }
}
