//! The outcome of a deploy: the bridge's JSON for scripts, sentences for people.

use jiff::Timestamp;

use super::Console;
use super::bridge::{Answer, CallError};
use super::failure::{Failure, exit_of};
use super::links::project_url;
use switchyard_contract::admin::ReloadOutcome;
use switchyard_contract::deploy::{DeployOutcome, DeployRecord, DeployedProject, Removal, RouterReport};
use switchyard_contract::event::Diagnostic;
use switchyard_contract::incarnation::DataFate;
use switchyard_contract::problem::ProblemDocument;
use switchyard_contract::visible;

const NOT_THE_BRIDGE: &str = "; --to must be the bridge's own address (its --listen)";

/// Prints an answer that needs no further processing: JSON for scripts, or an unexpected answer.
/// Returns the exit status.
pub(super) fn print_answer(console: &mut Console<'_>, json: bool, answer: &Answer) -> Result<u8, Failure> {
    let problem = serde_json::from_str::<ProblemDocument>(&answer.body);
    let kind = problem.as_ref().map(|problem| problem.kind.as_str()).unwrap_or_default();
    let exit = exit_of(answer.status, kind);
    match problem {
        Ok(_) if json => console.print_json(&answer.body)?,
        Ok(problem) => console.complain(&describe(&problem, &answer.status.to_string()))?,
        Err(_) => {
            console.complain(&format!("the bridge, or a proxy in front of it, answered {}", answer.status))?
        }
    }
    Ok(exit)
}

/// The record in the answer to a deploy that has succeeded or is in progress.
pub(super) fn record(answer: &Answer) -> Result<DeployRecord, Failure> {
    Ok(serde_json::from_str(&answer.body).map_err(|error| CallError::Strange(error.to_string()))?)
}

/// One line for each project, and one for each router that is behind.
pub(super) fn success(console: &mut Console<'_>, record: &DeployRecord) -> Result<(), Failure> {
    for project in &record.projects {
        console.print(&outcome(record, project))?;
        if let Some(removal) = &project.removal {
            console.print(&removal_note(project.project.as_str(), removal))?;
        }
    }
    console.complain(&silent_routers(&record.routers, &record.behind))?;
    // Last, so that a script finds them at the end.
    for project in record.projects.iter().filter(|_| record.outcome == Some(DeployOutcome::Live)) {
        let public =
            record.routers.iter().map(|router| router.public.as_str()).find(|public| !public.is_empty());
        if let Some(url) = public.and_then(|public| project_url(public, &project.project)) {
            console.print(&url)?;
        }
    }
    Ok(())
}

fn outcome(record: &DeployRecord, deployed: &DeployedProject) -> String {
    let version = visible::word(deployed.version.as_deref().unwrap_or(deployed.project.as_str()));
    let (what, through) = match record.outcome {
        Some(DeployOutcome::Removed) => ("removed from", [ReloadOutcome::Removed, ReloadOutcome::Unknown]),
        Some(_) => ("live on", [ReloadOutcome::Live, ReloadOutcome::Unchanged]),
        None => return format!("{version} is under way: deploy {}", visible::word(&record.deploy)),
    };
    let reports = record.routers.iter().filter(|router| {
        let mut own = router.reports.iter().filter(|report| report.project == deployed.project.as_str());
        own.any(|report| through.contains(&report.outcome))
    });
    let (reached, all) = (reports.count(), record.routers.len());
    let routers = match (reached, all) {
        (1, 1) => "1 router".to_owned(),
        (reached, all) if reached == all => format!("{all} routers"),
        (reached, all) => format!("{reached} of {all} routers"),
    };
    let took = record.timings_ms.get("total").map(|ms| format!(" ({ms:.0} ms)")).unwrap_or_default();
    format!("{version} is {what} {routers}{took}")
}

/// Returns a sentence about the kept data of a removed project, and how to restore or delete it.
fn removal_note(project: &str, removal: &Removal) -> String {
    let (project, until) = (visible::word(project), day(removal.until));
    match removal.data {
        DataFate::Keep => format!(
            "until {until}, switchyard rollback {project} restores it with its data; \
             switchyard remove {project} --delete-data deletes the data now"
        ),
        DataFate::Delete => {
            format!("its data is deleted; until {until}, switchyard rollback {project} restores it without")
        }
    }
}

/// A time to the minute.
pub(super) fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

fn silent_routers(routers: &[RouterReport], behind: &[String]) -> String {
    let silent = routers.iter().filter(|router| router.error.is_some() || router.reports.is_empty());
    let lines = silent.map(|router| {
        let error = router.error.as_deref().unwrap_or("reported no result");
        let is_behind = behind.contains(&router.router);
        let until = if is_behind { "; it gets no requests until it serves the deployed version" } else { "" };
        format!("  {}: {}{until}", visible::word(&router.router), visible::line(error))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns the problem in words: the diagnostic, the sentence and the routers without an answer.
/// `otherwise` stands for the sentence of a problem that has none.
pub(super) fn describe(problem: &ProblemDocument, otherwise: &str) -> String {
    let mut lines = Vec::new();
    if let Some(error) = &problem.error {
        lines.push(diagnostic(error));
    }
    let detail = problem.detail.as_deref().or(problem.title.as_deref());
    let mut sentence = match problem.name() {
        // An answer for callers of an API.
        "unknown-path" => "there is nothing at this path".to_owned(),
        _ => detail.unwrap_or(otherwise).to_owned(),
    };
    for (what, name) in [("project", &problem.project), ("part", &problem.part), ("field", &problem.field)] {
        if let Some(name) = name
            && !sentence.contains(name.as_str())
        {
            sentence.push_str(&format!(" ({what} {name:?})"));
        }
    }
    sentence.push_str(hint(problem));
    // Errors that the sentence has are not repeated.
    let is_said =
        |router: &&RouterReport| router.error.as_ref().is_some_and(|error| sentence.contains(error));
    let routers: Vec<_> = problem.routers.iter().filter(|router| !is_said(router)).cloned().collect();
    lines.push(sentence);
    lines.push(silent_routers(&routers, &[]));
    lines.retain(|line| !line.is_empty());
    lines.join("\n")
}

/// Returns the fix for a problem whose text is written for callers of the API.
fn hint(problem: &ProblemDocument) -> &'static str {
    match problem.name() {
        "unauthorized" => "; give the token with --token-file or in SWITCHYARD_TOKEN",
        "unknown-path" => NOT_THE_BRIDGE,
        // The bridge names the project. A router's public listener took the path for a project's.
        "unknown-project" if problem.project.is_none() => NOT_THE_BRIDGE,
        _ => "",
    }
}

/// `main.ts:3:12`, as far as it is known.
pub(crate) fn place(error: &Diagnostic) -> String {
    let file = error.file.as_deref().map(|file| visible::word(file).into_owned());
    let numbers = [error.line, error.column].map(|number| number.map(|number| number.to_string()));
    [file].into_iter().chain(numbers).map_while(|part| part).collect::<Vec<_>>().join(":")
}

/// `main.ts:3:12: message`, and the lines around the place.
pub(super) fn diagnostic(error: &Diagnostic) -> String {
    let mut text = match place(error).as_str() {
        "" => error.message.clone(),
        place => format!("{place}: {}", error.message),
    };
    if let Some(frame) = &error.frame {
        text.push('\n');
        text.push_str(frame.trim_end());
    }
    text
}

#[cfg(test)]
mod tests;
