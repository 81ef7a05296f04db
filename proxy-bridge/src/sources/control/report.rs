//! The answers to requests: what a sync came to, in JSON or as a problem.

use http::StatusCode;
use serde_json::Value;

use super::progress::Progress;
use crate::git::ObjectId;
use crate::sources::machine::{Fault, Outcome, ProblemKind};
use switchyard_contract::project::ProjectName;
use switchyard_contract::source::{SourceStatus, SyncOutcome, SyncReport, SyncedProject};
use switchyard_edge::problem::Problem;

/// The answer to those who waited for a sync. `asks`: the projects whose removal waits for a yes.
pub(super) fn answer(
    source: &str,
    outcome: &Outcome<ObjectId>,
    progress: &Progress,
    asks: &[ProjectName],
) -> Result<SyncReport, Problem> {
    let (outcome, commit, problem) = match outcome {
        Outcome::Live { commit, .. } => (SyncOutcome::Live, Some(commit), None),
        Outcome::Unchanged { commit } => (SyncOutcome::Unchanged, Some(commit), None),
        Outcome::Ready { commit } => (SyncOutcome::Ready, Some(commit), None),
        Outcome::Failed { commit, fault } => {
            let problem = progress.problem.clone().unwrap_or_else(|| document(fault));
            (failed(fault, commit.as_ref()), commit.as_ref(), Some(problem))
        }
        Outcome::Blocked(question) => {
            let fault = Fault { kind: ProblemKind::Blocked, detail: question.message.clone() };
            (SyncOutcome::Blocked, Some(&question.commit), Some(document(&fault)))
        }
        Outcome::Frozen(reason) => {
            let detail = format!(
                "source {source} is frozen: {reason}; switchyard source freeze {source} --lift lets it go on"
            );
            let problem = Problem::new(StatusCode::CONFLICT, "frozen", detail).document();
            (SyncOutcome::Frozen, None, Some(problem))
        }
        Outcome::Superseded => {
            let detail = "a later request for another commit took the place of this one";
            return Err(Problem::new(StatusCode::CONFLICT, "superseded", detail));
        }
        Outcome::NothingToDo => {
            let detail = format!(
                "source {source} has no commit to publish and no removal to approve: see switchyard source \
                 show {source}"
            );
            return Err(Problem::new(StatusCode::CONFLICT, "nothing-to-do", detail));
        }
        Outcome::Busy => {
            let detail = format!("too many requests wait for source {source}: try again soon");
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail));
        }
    };
    let commit = commit.or(progress.commit.as_ref());
    let waiting = asks.iter().map(|project| SyncedProject {
        project: project.clone(),
        path: None,
        digest: None,
        outcome: SyncOutcome::Blocked,
    });
    Ok(SyncReport {
        source: source.to_owned(),
        commit: commit.map(ObjectId::to_string),
        ref_name: progress.ref_name.clone(),
        previous: progress.previous.as_ref().map(ObjectId::to_string),
        outcome,
        projects: progress.projects.iter().cloned().chain(waiting).collect(),
        deploy: progress.deploy.clone(),
        problem,
        timings_ms: progress.timings(),
        unmatched: Vec::new(),
    })
}

/// The problem of a freeze, or of its end, that holds and could not be written.
pub(super) fn unsaved(source: &str, is_freeze: bool, error: &std::io::Error) -> Problem {
    let what = if is_freeze { "is frozen" } else { "is no longer frozen" };
    let detail = format!(
        "source {source} {what}, but that could not be written, and a restart of the bridge forgets it: \
         {error}. Make the folder of --state writable, with room, and repeat the command"
    );
    Problem::new(StatusCode::INSUFFICIENT_STORAGE, "state-not-written", detail)
}

/// The outcome of a sync that failed. Without a commit the server was not reached, or has none.
fn failed(fault: &Fault, commit: Option<&ObjectId>) -> SyncOutcome {
    match fault.kind {
        ProblemKind::Unreachable
        | ProblemKind::Unauthorized
        | ProblemKind::HostKey
        | ProblemKind::Damaged => SyncOutcome::Unreachable,
        _ if commit.is_none() && fault.kind == ProblemKind::BranchGone => SyncOutcome::Unreachable,
        _ => SyncOutcome::Failed,
    }
}

/// The problem document of a fault that no deploy has one for.
fn document(fault: &Fault) -> Value {
    let (status, slug) = match fault.kind {
        ProblemKind::Unreachable => (StatusCode::BAD_GATEWAY, "unreachable"),
        ProblemKind::Unauthorized => (StatusCode::BAD_GATEWAY, "unauthorized"),
        ProblemKind::HostKey => (StatusCode::BAD_GATEWAY, "host-key"),
        ProblemKind::BranchGone => (StatusCode::BAD_GATEWAY, "branch-gone"),
        ProblemKind::Damaged => (StatusCode::BAD_GATEWAY, "damaged"),
        ProblemKind::TooLarge => (StatusCode::UNPROCESSABLE_ENTITY, "too-large"),
        ProblemKind::DiskFull => (StatusCode::INSUFFICIENT_STORAGE, "disk-full"),
        ProblemKind::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "invalid-commit"),
        ProblemKind::Failed => (StatusCode::UNPROCESSABLE_ENTITY, "failed"),
        ProblemKind::Overridden => (StatusCode::CONFLICT, "overridden"),
        ProblemKind::Blocked => (StatusCode::CONFLICT, "blocked"),
    };
    Problem::new(status, slug, fault.detail.clone()).document()
}

/// The notes of an explanation: what holds for the whole source.
pub(super) fn notes(status: &SourceStatus, commit: &str, unmatched: &[String]) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(reason) = &status.frozen {
        notes.push(format!("nothing is deployed: {reason}"));
    }
    if status.failed.as_deref() == Some(commit)
        && let Some(problem) = &status.problem
    {
        notes.push(format!("the commit failed: {}", problem.detail));
    }
    if status.ready.as_deref() == Some(commit) {
        notes.push(format!(
            "the commit is built and waits: switchyard source publish {} makes it live",
            status.source
        ));
    }
    if !status.asks.is_empty() {
        let names: Vec<_> = status.asks.iter().map(|project| project.as_str()).collect();
        notes.push(format!(
            "the removal of {} waits: switchyard source approve {} removes them",
            names.join(", "),
            status.source
        ));
    }
    if let Some(applied) = status.applied.as_deref().filter(|applied| *applied != commit) {
        let applied = applied.get(..12).unwrap_or(applied);
        notes.push(format!("compared with commit {applied}, which is live"));
    }
    notes.extend(unmatched.iter().map(|path| format!("the commit has nothing for {path}")));
    notes
}
