//! `source show`: everything about one source.

use indicatif::HumanBytes;
use jiff::Timestamp;

use super::super::Console;
use super::super::bridge::Bridge;
use super::super::failure::{DONE, Failure};
use super::super::report;
use super::super::table::aligned;
use super::super::times::age;
use super::list::state;
use super::{read, short};
use switchyard_contract::project::ProjectName;
use switchyard_contract::source::{HookDelivery, SourceProblem, SourceProject, SourceStatus};
use switchyard_contract::visible;

/// Returns the exit status.
///
/// # Errors
/// There is no answer, or it is not understood.
pub(super) async fn show(
    bridge: &Bridge,
    source: &str,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let answer = bridge.get(&["sources", source]).await?;
    if json || !answer.status.is_success() {
        return report::print_answer(console, json, &answer);
    }
    console.print(text(&read(&answer)?, Timestamp::now()).trim_end())?;
    Ok(DONE)
}

fn text(status: &SourceStatus, now: Timestamp) -> String {
    let name = visible::word(&status.source);
    let rows = facts(status, &name, now).into_iter().map(|(what, fact)| [format!("  {what}"), fact]);
    let mut text = format!("{name}\n{}", aligned(&rows.collect::<Vec<_>>()));
    if let Some(problem) = &status.problem {
        text.push_str(&problem_lines(problem, now));
    }
    if !status.unmatched.is_empty() {
        text.push('\n');
    }
    for path in &status.unmatched {
        text.push_str(&format!("{}\n", super::outcome::unmatched_line(path)));
    }
    if !status.projects.is_empty() {
        text.push('\n');
        text.push_str(&projects(&status.projects, &name));
    }
    text
}

/// The facts about the whole source, each with its name. Facts that do not hold are left out.
fn facts(status: &SourceStatus, name: &str, now: Timestamp) -> Vec<(&'static str, String)> {
    let commit = |commit: &Option<String>| commit.as_deref().map(|id| visible::word(id).into_owned());
    let live = commit(&status.applied).unwrap_or_else(|| "nothing yet".to_owned());
    let ready =
        commit(&status.ready).map(|id| format!("{id}; to make it live: switchyard source publish {name}"));
    let frozen = status.frozen.as_deref().map(|reason| {
        let reason = visible::line(reason);
        format!("{reason}; switchyard source freeze {name} --lift ends a freeze, and a window ends by itself")
    });
    let time = |at: Timestamp| format!("{}, {}", report::day(at), age(at, now));
    let facts = [
        ("repository", Some(visible::word(&status.url).into_owned())),
        (
            "follows",
            Some(format!("{}, publish = {}", visible::word(&status.follows), visible::word(&status.publish))),
        ),
        ("state", Some(state(status.state).to_owned())),
        ("live", Some(live)),
        ("newest", commit(&status.seen)),
        ("waits", ready),
        ("failed", commit(&status.failed)),
        ("frozen", frozen),
        ("removals", removals(&status.asks, name)),
        ("synced", Some(status.synced_at.map_or_else(|| "never".to_owned(), time))),
        ("next poll", status.next_poll.map(time)),
        ("last webhook", status.last_hook.as_ref().map(|hook| delivery(hook, now))),
        ("mirror", Some(HumanBytes(status.mirror_bytes).to_string())),
    ];
    facts.into_iter().filter_map(|(what, fact)| Some((what, fact?))).collect()
}

fn removals(asks: &[ProjectName], name: &str) -> Option<String> {
    let projects = asks.iter().map(|project| project.as_str()).collect::<Vec<_>>().join(", ");
    let text =
        format!("{projects} left the repository and stay; to remove them: switchyard source approve {name}");
    (!asks.is_empty()).then_some(text)
}

fn delivery(hook: &HookDelivery, now: Timestamp) -> String {
    let detail = visible::line(&hook.detail);
    let result = if hook.accepted { "accepted" } else { "refused" };
    format!("{result}, {detail}, {}", age(hook.at, now))
}

fn problem_lines(problem: &SourceProblem, now: Timestamp) -> String {
    let (kind, since) = (visible::word(&problem.kind), report::day(problem.since));
    let head = format!("\nproblem: {kind}, since {since}, {}\n", age(problem.since, now));
    let detail = problem.detail.lines().map(|line| format!("  {}\n", visible::line(line)));
    std::iter::once(head).chain(detail).collect()
}

fn projects(projects: &[SourceProject], name: &str) -> String {
    let head = ["PROJECT", "FOLDER", "TREE", "VERSION", ""].map(str::to_owned);
    let rows = projects.iter().map(|project| {
        let version = project.digest.map_or_else(|| "-".to_owned(), |digest| digest.short().to_string());
        [
            project.project.to_string(),
            visible::word(&project.path).into_owned(),
            short(&project.tree),
            version,
            note(project, name),
        ]
    });
    aligned(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

/// An override hides the volume, and drift on it.
fn note(project: &SourceProject, name: &str) -> String {
    match (&project.overridden, &project.drift) {
        (Some(folder), _) => {
            let folder = visible::word(folder);
            format!("read from {folder}; switchyard source dev {name} --disable ends it")
        }
        (None, Some(drift)) => {
            let drift = drift.short();
            format!(
                "drift: the volume has {drift}; switchyard source sync {name} --force restores the \
                 commit's files"
            )
        }
        (None, None) if project.missing => {
            format!("drift: it is not on the volume; switchyard source sync {name} --force restores it")
        }
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn shown(status: Value) -> String {
        text(&serde_json::from_value(status).unwrap(), "2026-03-01T12:00:00Z".parse().unwrap())
    }

    fn plain() -> Value {
        json!({"source": "shop", "url": "https://host/shop.git", "follows": "branch main", "state": "idle",
            "publish": "follow", "applied": COMMIT, "seen": COMMIT, "synced_at": "2026-03-01T11:59:00Z",
            "next_poll": "2026-03-01T12:00:25Z", "mirror_bytes": 2048,
            "projects": [{"project": "api", "path": "apps/api", "tree": COMMIT, "digest": "ab".repeat(32)}]})
    }

    #[test]
    fn a_source_without_problems_shows_its_commits_and_projects() {
        let expected = format!(
            "shop\n  repository  https://host/shop.git\n  follows     branch main, publish = follow\n  \
             state       idle\n  live        {COMMIT}\n  newest      {COMMIT}\n  \
             synced      2026-03-01 11:59 UTC, 1m ago\n  next poll   2026-03-01 12:00 UTC, in 25s\n  \
             mirror      2.00 KiB\n\n\
             PROJECT  FOLDER    TREE          VERSION\napi      apps/api  0123456789ab  abababababab\n"
        );
        assert_eq!(shown(plain()), expected);
    }

    #[test]
    fn a_path_for_which_the_commit_has_nothing_is_named_with_the_fix() {
        let mut status = plain();
        status["unmatched"] = json!(["nope/api"]);
        let line =
            "\nthe commit has nothing for nope/api: correct the path in the file of sources\n\nPROJECT";
        assert!(shown(status.clone()).contains(line), "{}", shown(status));
    }

    #[test]
    fn what_waits_or_is_wrong_comes_with_the_command_for_it() {
        let mut status = plain();
        let detail = "main.ts:1: no\n> 1 | \u{1b}";
        let more = json!({"ready": COMMIT, "failed": COMMIT, "frozen": "release\nweek",
            "asks": ["old", "older"],
            "problem": {"kind": "failed", "detail": detail, "since": "2026-03-01T11:00:00Z"},
            "last_hook": {"at": "2026-03-01T11:59:30Z", "accepted": false, "detail": "no secret fits"}});
        status.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let shown = shown(status);
        for part in [
            "; to make it live: switchyard source publish shop\n",
            &format!("failed        {COMMIT}\n"),
            "release␊week; switchyard source freeze shop --lift ends a freeze",
            "old, older left the repository and stay; to remove them: switchyard source approve shop\n",
            "refused, no secret fits, 30s ago\n",
            "\nproblem: failed, since 2026-03-01 11:00 UTC, 1h ago\n  main.ts:1: no\n  > 1 | ␛\n",
        ] {
            assert!(shown.contains(part), "{part:?}: {shown}");
        }
    }

    #[test]
    fn drift_and_overrides_are_shown_at_their_projects() {
        let mut status = plain();
        let project = |name: &str, more: Value| {
            let mut project = json!({"project": name, "path": name, "tree": COMMIT});
            project.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            project
        };
        let drift = "cd".repeat(32);
        status["projects"] = json!([
            project("a", json!({"drift": drift})),
            project("b", json!({"drift": drift, "overridden": "/home/me/shop/b"})),
        ]);
        let shown = shown(status);
        assert!(
            shown.contains("drift: the volume has cdcdcdcdcdcd; switchyard source sync shop --force"),
            "{shown}"
        );
        assert!(
            shown.contains("read from /home/me/shop/b; switchyard source dev shop --disable ends it"),
            "{shown}"
        );
    }

    #[test]
    fn a_source_that_was_never_synced_says_so() {
        let shown =
            shown(json!({"source": "s", "url": "file:///r", "follows": "ref HEAD", "state": "fetching",
            "publish": "hold"}));
        assert!(
            shown.contains("live        nothing yet\n") && shown.contains("synced      never\n"),
            "{shown}"
        );
    }
}
