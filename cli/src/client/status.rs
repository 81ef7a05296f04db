//! `status`: a table of projects, with a line for each router where they differ.

use std::time::Duration;

use super::Console;
use super::again::Attempts;
use super::args::StatusArgs;
use super::bridge::{Answer, Bridge, CallError};
use super::failure::{DONE, FAILED, Failure};
use super::report;
use super::table::aligned;
use switchyard_contract::admin::ProjectState;
use switchyard_contract::overview::{ProjectOnRouter, ProjectOverview, ProjectOverviews};
use switchyard_contract::project::ProjectName;
use switchyard_contract::visible;

/// Pause between two looks of `--watch`.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Returns the exit status.
pub(super) async fn status(
    bridge: &Bridge,
    args: &StatusArgs,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let project = args.project.as_ref();
    let path = [Some("projects"), project.map(ProjectName::as_str)];
    let path: Vec<_> = path.into_iter().flatten().collect();
    let (mut shown, mut attempts) = (String::new(), Attempts::new(bridge));
    loop {
        let answer = match bridge.get(&path).await {
            Err(error) if args.watch => {
                attempts.after(error, console).await?;
                continue;
            }
            // A bridge that has just started does not know its projects yet.
            Ok(answer) if args.watch && attempts.is_starting(answer.status) => {
                attempts.lost("the bridge has just started").await?;
                continue;
            }
            answer => answer?,
        };
        if !answer.status.is_success() {
            return report::print_answer(console, json, &answer);
        }
        if let Some(note) = attempts.found() {
            console.complain(note)?;
        }
        let overview =
            read(&answer, project.is_some()).map_err(|error| CallError::Strange(error.to_string()))?;
        let text = if json { answer.body.clone() } else { table(&overview) };
        if text != shown {
            if json {
                console.print_json(&text)?
            } else {
                console.print_table(&text)?
            }
            console.out.flush()?;
            shown = text;
        }
        if !args.watch {
            let is_good = overview.projects.iter().all(is_good);
            return Ok(if args.exit_code && !is_good { FAILED } else { DONE });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Returns true if every router serves the newest version of a project, or the project is removed.
fn is_good(project: &ProjectOverview) -> bool {
    let serves = |state: Option<ProjectState>| matches!(state, Some(ProjectState::Live | ProjectState::Idle));
    let mut routers = project.routers.iter();
    project.removed.is_some()
        || !project.skew && !is_away(project) && routers.all(|router| serves(router.state) && !router.behind)
}

/// Returns true if no router of the project can be reached.
fn is_away(project: &ProjectOverview) -> bool {
    !project.routers.is_empty() && project.routers.iter().all(|router| router.away)
}

fn read(answer: &Answer, one: bool) -> serde_json::Result<ProjectOverviews> {
    if one {
        let project = serde_json::from_str(&answer.body)?;
        return Ok(ProjectOverviews { projects: vec![project], routers: Vec::new() });
    }
    serde_json::from_str(&answer.body)
}

fn table(overview: &ProjectOverviews) -> String {
    let mut rows = vec![["PROJECT", "STATE", "VERSION", "COMMIT", ""].map(str::to_owned)];
    for project in &overview.projects {
        rows.extend(project_rows(project));
    }
    if rows[1..].iter().all(|row| row[COMMIT].is_empty()) {
        rows[0][COMMIT].clear();
    }
    let mut text = if rows.len() > 1 { aligned(&rows) } else { "no projects\n".to_owned() };
    if overview.projects.iter().any(is_away) || overview.projects.is_empty() && all_away(overview) {
        text.push_str("no router can be reached: this is what was known last\n");
    }
    for router in overview.routers.iter().filter(|router| !router.reachable) {
        text.push_str(&format!("{} cannot be reached\n", visible::word(&router.router)));
    }
    text
}

fn all_away(overview: &ProjectOverviews) -> bool {
    !overview.routers.is_empty() && overview.routers.iter().all(|router| !router.reachable)
}

/// The columns: project, state, version, commit, note.
type Row = [String; 5];

/// The column of commits. It is left out when no version has one.
const COMMIT: usize = 3;

/// One row if all routers agree, otherwise one more for each router.
fn project_rows(project: &ProjectOverview) -> Vec<Row> {
    let name = visible::word(&project.project).into_owned();
    if let Some(removed) = &project.removed {
        let version = visible::word(removed.version.as_deref().unwrap_or("-")).into_owned();
        let note = format!("rollback restores it until {}", report::day(removed.until));
        return vec![[name, "removed".to_owned(), version, String::new(), note]];
    }
    match project.routers.as_slice() {
        [] => vec![[name, "-".into(), "-".into(), String::new(), String::new()]],
        [first, rest @ ..] if rest.iter().all(|overview| facts(overview) == facts(first)) => {
            vec![row(name, first)]
        }
        all => {
            let note = if project.skew { "the routers serve different versions" } else { "" };
            let state = if project.skew { "skew" } else { "differs" };
            let head = [name, state.to_owned(), "-".to_owned(), String::new(), note.to_owned()];
            let routers =
                all.iter().map(|overview| row(format!("  {}", visible::word(&overview.router)), overview));
            std::iter::once(head).chain(routers).collect()
        }
    }
}

/// A line about a router, without the router's name.
fn facts(overview: &ProjectOnRouter) -> [String; 4] {
    let state = match overview.state {
        Some(_) if overview.away => "away",
        // An older version that still serves is no failure of the project.
        Some(ProjectState::Failed | ProjectState::Invalid) if overview.live.is_some() => "stale",
        state => state.map_or("-", ProjectState::as_str),
    };
    let version = overview.live.as_ref().map_or("-", |live| live.version.as_str());
    let error = overview.error.as_ref().map(report::diagnostic).unwrap_or_default();
    let note = match error.lines().next() {
        Some(error) => error,
        None if overview.away => "its router cannot be reached",
        None if overview.behind => "behind: gets no requests until it serves the deployed version",
        None => overview.conflicts.first().map_or("", |conflict| conflict.message.as_str()),
    };
    let commit = overview.live.as_ref().and_then(|live| live.commit.as_ref());
    let commit = commit.map(|commit| format!("{} ({})", commit.short(), commit.source)).unwrap_or_default();
    [state, version, &commit, note].map(|fact| visible::word(fact).into_owned())
}

fn row(name: String, overview: &ProjectOnRouter) -> Row {
    let [state, version, commit, note] = facts(overview);
    [name, state, version, commit, note]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn shown(projects: Value, routers: Value) -> Vec<String> {
        let overview = serde_json::from_value(json!({"projects": projects, "routers": routers})).unwrap();
        table(&overview).lines().map(str::to_owned).collect()
    }

    fn overview(router: &str, state: &str, live: Option<&str>, error: Value) -> Value {
        let live = live.map(|version| json!({"digest": "ab", "version": version}));
        json!({"router": router, "state": state, "live": live, "error": error, "behind": false})
    }

    #[test]
    fn routers_that_agree_share_a_row() {
        let shown = shown(
            json!([
                {"project": "blog", "skew": false, "routers": [
                    overview("r1", "live", Some("blog@1"), Value::Null), overview("r2", "live", Some("blog@1"), Value::Null)]},
                {"project": "a-shop", "skew": false, "routers": [
                    overview("r1", "failed", None, json!({"message": "no\nway", "file": "main.ts", "line": 3}))]},
            ]),
            json!([]),
        );
        let expected = [
            "PROJECT  STATE   VERSION",
            "blog     live    blog@1",
            "a-shop   failed  -        main.ts:3: no",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_conflict_of_routes_is_shown_where_nothing_worse_is() {
        let mut taken = overview("r1", "live", Some("blog@1"), Value::Null);
        taken["conflicts"] = json!([{"route": "/store", "claimant": "blog", "rival": "shop", "holder": "shop",
            "message": "\"/store\" is shop's"}]);
        let mut failed = taken.clone();
        failed["error"] = json!({"message": "no way"});
        let shown = shown(
            json!([{"project": "blog", "routers": [taken]}, {"project": "shop", "routers": [failed]}]),
            json!([]),
        );
        assert!(shown[1].ends_with("\"/store\" is shop's"), "{shown:?}");
        assert!(shown[2].ends_with("no way"), "{shown:?}");
    }

    #[test]
    fn the_commit_of_each_version_is_shown_and_routers_that_name_others_differ() {
        let from = |mut overview: Value, commit: &str| {
            overview["live"]["commit"] = json!({"source": "shop", "commit": commit, "ref": null});
            overview
        };
        let live = |router| overview(router, "live", Some("blog@1"), Value::Null);
        let id = "8f0c1d2e3a4b5c6d7e8f8f0c1d2e3a4b5c6d7e8f";
        let shown = shown(
            json!([
                {"project": "blog", "routers": [from(live("r1"), id), from(live("r2"), id)]},
                {"project": "docs", "routers": [live("r1"), from(live("r2"), "\u{1b}]0;x")]},
            ]),
            json!([]),
        );
        let expected = [
            "PROJECT  STATE    VERSION  COMMIT",
            "blog     live     blog@1   8f0c1d2e3a4b (shop)",
            "docs     differs  -",
            "  r1     live     blog@1",
            "  r2     live     blog@1   ␛]0;x (shop)",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn routers_that_differ_have_a_row_each() {
        let mut late = overview("r2", "live", Some("blog@2"), Value::Null);
        late["behind"] = true.into();
        let shown = shown(
            json!([{"project": "blog", "skew": true, "routers": [
                overview("r1", "live", Some("blog@1"), Value::Null), late]}]),
            json!([{"router": "r3", "reachable": false}, {"router": "r1", "reachable": true}]),
        );
        let expected = [
            "PROJECT  STATE  VERSION",
            "blog     skew   -        the routers serve different versions",
            "  r1     live   blog@1",
            "  r2     live   blog@2   behind: gets no requests until it serves the deployed version",
            "r3 cannot be reached",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_project_is_not_live_while_its_only_router_is_away() {
        let mut away = overview("r1", "live", Some("blog@1"), Value::Null);
        away["away"] = true.into();
        let projects = json!([{"project": "blog", "skew": false, "routers": [away]}]);
        let expected = [
            "PROJECT  STATE  VERSION",
            "blog     away   blog@1   its router cannot be reached",
            "no router can be reached: this is what was known last",
            "r1 cannot be reached",
        ];
        assert_eq!(shown(projects.clone(), json!([{"router": "r1", "reachable": false}])), expected);
        let projects: Vec<ProjectOverview> = serde_json::from_value(projects).unwrap();
        assert!(!is_good(&projects[0]));
    }

    #[test]
    fn a_removed_project_shows_until_when_it_can_be_brought_back() {
        let removed = json!({"at": "2026-11-01T10:00:00Z", "until": "2026-12-01T10:00:00Z", "version": "blog@1",
            "data": "keep"});
        let mut strange = removed.clone();
        strange["version"] = "\u{1b}[2J".into();
        let shown = shown(
            json!([
                {"project": "blog", "skew": false, "removed": removed, "routers": []},
                {"project": "b\u{9b}", "skew": false, "removed": strange, "routers": []},
            ]),
            json!([]),
        );
        let expected = [
            "blog     removed  blog@1   rollback restores it until 2026-12-01 10:00 UTC",
            r"b\u{9b}  removed  ␛[2J     rollback restores it until 2026-12-01 10:00 UTC",
        ];
        assert_eq!(shown[1..], expected);
    }

    #[test]
    fn files_of_other_owners_leave_the_table_unchanged() {
        let error = json!({"message": "\u{1b}]0;x\u{7}\tno", "file": "a\u{202e}.ts"});
        let shown = shown(
            json!([{"project": "b\u{1b}[2J", "skew": false, "routers": [
                overview("r1", "failed", Some("b\n@1"), error.clone()), overview("r\r2", "live", None, error)]}]),
            json!([{"router": "r\u{9b}3", "reachable": false}]),
        );
        let expected = [
            "PROJECT  STATE    VERSION",
            "b␛[2J    differs  -",
            r"  r1     stale    b␊@1     a\u{202e}.ts: ␛]0;x␇␉no",
            r"  r␍2    live     -        a\u{202e}.ts: ␛]0;x␇␉no",
            r"r\u{9b}3 cannot be reached",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_bridge_without_projects_says_so() {
        assert_eq!(shown(json!([]), json!([])), ["no projects"]);
    }
}
