//! The outcome of a sync in words, and its exit status.

use super::super::failure::{DONE, FAILED, NO_ANSWER, REFUSED};
use super::short;
use switchyard_contract::source::{SyncOutcome, SyncReport, SyncedProject};
use switchyard_contract::visible;

/// Returns the exit status of a sync with this outcome.
pub(super) fn exit_of(outcome: SyncOutcome) -> u8 {
    match outcome {
        SyncOutcome::Live | SyncOutcome::Unchanged | SyncOutcome::Ready => DONE,
        SyncOutcome::Failed => FAILED,
        SyncOutcome::Blocked | SyncOutcome::Frozen => REFUSED,
        SyncOutcome::Unreachable | SyncOutcome::Unrecognized => NO_ANSWER,
    }
}

/// Returns the lines about a sync: one for the source, one for each project that differed.
pub(super) fn lines(report: &SyncReport) -> String {
    let projects = report.projects.iter().map(|project| format!("  {}", project_line(report, project)));
    let unmatched = report.unmatched.iter().map(|path| format!("  {}", unmatched_line(path)));
    std::iter::once(headline(report)).chain(projects).chain(unmatched).collect::<Vec<_>>().join("\n")
}

/// Returns the line about a path or pattern of the settings that is nowhere in the commit.
pub(super) fn unmatched_line(path: &str) -> String {
    format!("the commit has nothing for {}: correct the path in the file of sources", visible::line(path))
}

fn headline(report: &SyncReport) -> String {
    let source = visible::word(&report.source);
    let commit = report.commit.as_deref().map_or_else(|| "the commit".to_owned(), short);
    let took = report.timings_ms.get("total").map(|ms| format!(" ({ms:.0} ms)")).unwrap_or_default();
    let stays = match &report.previous {
        Some(previous) => format!("{} stays live", short(previous)),
        None => "nothing of it is live yet".to_owned(),
    };
    let text = match report.outcome {
        SyncOutcome::Live => format!("{commit}{} is live{took}", of_ref(report)),
        SyncOutcome::Unchanged => format!("{commit}{} was live already{took}", of_ref(report)),
        SyncOutcome::Ready => {
            format!("{commit}{} is built and waits: switchyard source publish {source}", of_ref(report))
        }
        SyncOutcome::Failed if is_partly_live(report) => format!("{commit} is live only in part"),
        SyncOutcome::Failed => format!("{commit} is not live; {stays}"),
        SyncOutcome::Blocked => {
            format!("{commit} is not live; to agree to the removals: switchyard source approve {source}")
        }
        SyncOutcome::Unreachable => format!("not synced; {stays}"),
        SyncOutcome::Frozen => format!(
            "frozen, {stays}; switchyard source freeze {source} --lift ends a freeze, a window ends \
             by itself"
        ),
        SyncOutcome::Unrecognized => "the outcome is of a newer bridge: update this switchyard".to_owned(),
    };
    format!("{source}: {text}")
}

/// ` (main)`, or nothing for a fixed commit.
fn of_ref(report: &SyncReport) -> String {
    let Some(name) = &report.ref_name else { return String::new() };
    let name = visible::word(name);
    let short = ["refs/heads/", "refs/tags/"].iter().find_map(|folder| name.strip_prefix(folder));
    format!(" ({})", short.unwrap_or(&name))
}

fn is_partly_live(report: &SyncReport) -> bool {
    report.projects.iter().any(|project| project.outcome == SyncOutcome::Live)
}

fn project_line(report: &SyncReport, synced: &SyncedProject) -> String {
    let project = synced.project.as_str();
    let version =
        synced.digest.map_or_else(|| project.to_owned(), |digest| format!("{project}@{}", digest.short()));
    let is_gone = synced.path.is_none();
    match synced.outcome {
        SyncOutcome::Live if is_gone => format!("{project} is removed"),
        SyncOutcome::Live => format!("{version} is live"),
        SyncOutcome::Unchanged => format!("{version} was live already"),
        SyncOutcome::Ready if is_gone => format!("{project} will be removed"),
        SyncOutcome::Ready => format!("{version} waits"),
        // With one failed project of a set, the others have not failed by themselves.
        SyncOutcome::Failed => format!("{version} is not live"),
        SyncOutcome::Blocked if is_gone => {
            format!("{project} is not removed: switchyard source approve {}", visible::word(&report.source))
        }
        outcome => format!("{version}: {}", outcome.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn report(outcome: &str, previous: Option<&str>, projects: Value) -> SyncReport {
        serde_json::from_value(json!({
            "source": "shop", "commit": COMMIT, "ref": "refs/heads/main", "previous": previous,
            "outcome": outcome, "projects": projects, "timings_ms": {"total": 311.6},
        }))
        .unwrap()
    }

    #[test]
    fn each_outcome_has_its_exit_status_and_says_what_is_live() {
        let old = "fedcba9876543210fedcba9876543210fedcba98";
        let table = [
            ("live", DONE, "shop: 0123456789ab (main) is live (312 ms)"),
            ("unchanged", DONE, "shop: 0123456789ab (main) was live already (312 ms)"),
            ("ready", DONE, "shop: 0123456789ab (main) is built and waits: switchyard source publish shop"),
            ("failed", FAILED, "shop: 0123456789ab is not live; fedcba987654 stays live"),
            ("blocked", REFUSED, "to agree to the removals: switchyard source approve shop"),
            ("frozen", REFUSED, "switchyard source freeze shop --lift ends a freeze"),
            ("unreachable", NO_ANSWER, "shop: not synced; fedcba987654 stays live"),
            ("parked", NO_ANSWER, "newer bridge"),
        ];
        for (outcome, exit, text) in table {
            let report = report(outcome, Some(old), json!([]));
            assert_eq!(exit_of(report.outcome), exit, "{outcome}");
            assert!(lines(&report).contains(text), "{outcome}: {}", lines(&report));
        }
        assert_eq!(
            lines(&report("unreachable", None, json!([]))),
            "shop: not synced; nothing of it is live yet"
        );
    }

    #[test]
    fn each_project_that_differed_has_a_line() {
        let digest = "ab".repeat(32);
        let projects = json!([
            {"project": "api", "path": "apps/api", "digest": digest, "outcome": "live"},
            {"project": "old", "path": null, "digest": null, "outcome": "live"},
            {"project": "web", "path": "apps/web", "digest": null, "outcome": "failed"},
            {"project": "gone", "path": null, "digest": null, "outcome": "blocked"},
            {"project": "new", "path": "new", "digest": digest, "outcome": "ready"},
            {"project": "odd", "path": "odd", "digest": null, "outcome": "frozen"},
        ]);
        let expected = [
            "shop: 0123456789ab is live only in part",
            "  api@abababababab is live",
            "  old is removed",
            "  web is not live",
            "  gone is not removed: switchyard source approve shop",
            "  new@abababababab waits",
            "  odd: frozen",
        ];
        assert_eq!(lines(&report("failed", None, projects)).lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_path_for_which_the_commit_has_nothing_is_named_with_the_fix() {
        let mut report = report("unchanged", None, json!([]));
        report.unmatched = vec!["nope/api".to_owned()];
        let line = "  the commit has nothing for nope/api: correct the path in the file of sources";
        assert_eq!(lines(&report).lines().nth(1), Some(line));
    }

    #[test]
    fn texts_of_others_are_shown_and_not_obeyed() {
        let mut report = report("live", None, json!([]));
        report.source = "s\u{1b}[2J".to_owned();
        report.ref_name = Some("refs/pull/7\n/head".to_owned());
        assert_eq!(lines(&report), "s␛[2J: 0123456789ab (refs/pull/7␊/head) is live (312 ms)");
    }
}
