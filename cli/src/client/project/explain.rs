//! `explain`: why a project serves what it serves, in sentences.

use super::super::Console;
use super::super::bridge::Bridge;
use super::super::failure::{DONE, Failure};
use super::super::report;
use super::super::table::aligned;
use super::parse;
use switchyard_contract::admin::{ProjectState, Setting, SettingOrigin};
use switchyard_contract::deploy::{DeployOutcome, DeployRecord, DeployRecords};
use switchyard_contract::overview::{ProjectOnRouter, ProjectOverview, SettingsOverview};
use switchyard_contract::versions::ProjectLocks;
use switchyard_contract::visible;

/// Prints the sentences. Returns the exit status.
///
/// # Errors
/// There is no answer, or it is not understood.
pub(super) async fn explain(
    bridge: &Bridge,
    project: &str,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let answer = bridge.get(&["projects", project]).await?;
    if !answer.status.is_success() {
        return report::print_answer(console, json, &answer);
    }
    let overview: ProjectOverview = parse(&answer)?;
    let deploys = bridge.get(&["deploys"]).await?;
    let deploys =
        if deploys.status.is_success() { parse::<DeployRecords>(&deploys)?.deploys } else { Vec::new() };
    let locks = bridge.get(&["locks"]).await?;
    let locks = if locks.status.is_success() { parse::<ProjectLocks>(&locks)?.locks } else { Vec::new() };
    let mut lines = sentences(&overview);
    let is_of =
        |record: &&DeployRecord| record.projects.iter().any(|deployed| deployed.project.as_str() == project);
    lines.extend(deploys.iter().find(is_of).map(last_deploy));
    lines.extend(locks.iter().filter(|lock| lock.project.as_str() == project).map(|lock| {
        let by = lock.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
        let reason = lock.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        format!("It is locked{by} since {}{reason}: switchyard unlock {project}", report::day(lock.at))
    }));
    if json {
        let mut explained: serde_json::Value = parse(&answer)?;
        explained["sentences"] = lines.into();
        console.print_json(&explained.to_string())?;
        return Ok(DONE);
    }
    for line in lines {
        console.print(&visible::block(&line))?;
    }
    let settings = bridge.get(&["projects", project, "settings"]).await?;
    // A removed project has none.
    if settings.status.is_success() {
        let routers = parse::<SettingsOverview>(&settings)?.routers;
        let first = routers.into_iter().next();
        console.print_table(&table(&first.map(|router| router.settings).unwrap_or_default()))?;
    }
    Ok(DONE)
}

/// Returns a table of the settings that are not the default ones. Empty without any.
fn table(settings: &[Setting]) -> String {
    let word = |text: &str| visible::word(text).into_owned();
    let set = settings.iter().filter(|setting| setting.origin != SettingOrigin::Default);
    let mut rows: Vec<_> = set
        .map(|setting| {
            let value = if setting.value.is_null() { String::new() } else { setting.value.to_string() };
            [word(&setting.key), visible::line(&value).into_owned(), word(&setting.place())]
        })
        .collect();
    if !rows.is_empty() {
        rows.insert(0, ["SETTING", "VALUE", "FROM"].map(str::to_owned));
    }
    aligned(&rows)
}

fn sentences(overview: &ProjectOverview) -> Vec<String> {
    let project = &overview.project;
    if let Some(removed) = &overview.removed {
        let until = report::day(removed.until);
        return vec![format!(
            "{project} is removed. switchyard rollback {project} restores it until {until}."
        )];
    }
    let mut lines = Vec::new();
    if overview.skew {
        lines.push("The routers serve different versions.".to_owned());
    }
    let has_several = overview.routers.len() > 1;
    if has_several && overview.routers.iter().all(|router| router.away) {
        lines.push("No router can be reached: this is what was known last.".to_owned());
    }
    for router in &overview.routers {
        let at = if has_several { format!("{}: ", router.router) } else { String::new() };
        lines.extend(at_router(project, router).into_iter().map(|line| format!("{at}{line}")));
    }
    if overview.routers.is_empty() {
        lines.push(format!("No router has reported {project}."));
    }
    lines
}

fn at_router(project: &str, router: &ProjectOnRouter) -> Vec<String> {
    let live = router.live.as_ref().map(|live| live.version.as_str());
    let newest = router.on_disk.as_ref().map(|version| version.version.as_str());
    let away = router.away.then(|| "The router cannot be reached. What it reported last:".to_owned());
    let mut lines: Vec<_> = away.into_iter().collect();
    lines.push(match (router.state, live) {
        (None, _) => format!("The router has not reported {project}."),
        (Some(ProjectState::Building), None) => format!("The first version of {project} is being built."),
        (Some(ProjectState::Idle), Some(live)) => {
            format!("{live} is live. It is stopped until its next request, which starts it.")
        }
        (Some(ProjectState::Stopped), Some(live)) => {
            format!("{live} is live but stopped: its process crashed again and again.")
        }
        (Some(ProjectState::Failed | ProjectState::Invalid), Some(live)) => {
            let newest = newest.filter(|newest| *newest != live).unwrap_or("the newest version");
            format!("{live} serves, because {newest} does not build.")
        }
        (Some(ProjectState::Failed | ProjectState::Invalid), None) => {
            format!("No version of {project} serves: none has built.")
        }
        (Some(_), Some(live)) => format!("{live} is live."),
        (Some(state), None) => format!("{project} is {}, and no version is live.", state.as_str()),
    });
    lines.extend(router.error.as_ref().map(report::diagnostic));
    if router.behind {
        lines.push("It gets no forwarded requests until it serves the version that was deployed.".to_owned());
    }
    lines.extend(router.conflicts.iter().map(|conflict| conflict.message.clone()));
    lines
}

fn last_deploy(record: &DeployRecord) -> String {
    let by = record.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
    let message = record.message.as_deref().map(|message| format!(" ({message})")).unwrap_or_default();
    let outcome = match record.outcome {
        None => "is under way",
        Some(DeployOutcome::Live) => "is live",
        Some(DeployOutcome::Removed) => "removed it",
        Some(_) => "failed",
    };
    format!("The last {}{by}, of {}, {outcome}{message}.", record.action.as_str(), report::day(record.at))
}
