//! `task lint`: the check of a folder, without a bridge.

use serde_json::json;
use switchyard_tasks::LintReport;
use tokio::task::spawn_blocking;

use super::super::Console;
use super::super::args::LintArgs;
use super::super::failure::{DONE, FAILED, Failure, REFUSED};
use super::super::folder::canonical;
use super::super::report::diagnostic;
use super::super::table::aligned;
use super::show::trigger;
use switchyard_contract::visible;

/// The end of the output: this program has no parser of JavaScript.
const NOT_CHECKED: &str = "\
not checked: the code. A build finds syntax errors and missing imports in it, and the tasks that it
declares itself (Deno.cron, scheduled)";

/// Prints what the folder declares, and all that is wrong with it. Returns the exit status.
///
/// # Errors
/// There is no such folder.
pub(in super::super) async fn lint(
    args: LintArgs,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let checked =
        spawn_blocking(move || canonical(&args.folder).map(|folder| switchyard_tasks::lint(&folder))).await;
    let report = checked.map_err(|panic| Failure::new(REFUSED, panic.to_string()))??;
    if json {
        let LintReport { set, problems, warnings } = &report;
        let report = json!({ "set": set, "problems": problems, "warnings": warnings });
        console.print_json(&report.to_string())?;
    } else {
        print(&report, console)?;
        console.print(NOT_CHECKED)?;
    }
    Ok(if report.problems.is_empty() { DONE } else { FAILED })
}

fn print(report: &LintReport, console: &mut Console<'_>) -> Result<(), Failure> {
    let tasks = report.set.tasks.iter().map(|task| {
        let triggers = task.triggers.iter().map(trigger).collect::<Vec<_>>().join("; ");
        [task.name.as_str().to_owned(), triggers, visible::word(&task.declared_in).into_owned()]
    });
    let pipelines = report.set.pipelines.iter().map(|pipeline| {
        let triggers = pipeline.triggers.iter().map(trigger).collect::<Vec<_>>().join("; ");
        let name = format!("{} (pipeline)", pipeline.name);
        [name, triggers, visible::word(&pipeline.declared_in).into_owned()]
    });
    let rows: Vec<_> = tasks.chain(pipelines).collect();
    match (rows.is_empty(), report.problems.is_empty()) {
        (true, true) => console.print("no tasks")?,
        (true, false) => {}
        (false, _) => console.print(aligned(&rows).trim_end())?,
    }
    for warning in &report.warnings {
        console.complain(&format!("warning: {}", diagnostic(warning)))?;
    }
    for problem in &report.problems {
        console.complain(&diagnostic(problem))?;
    }
    let count = report.problems.len();
    if count > 0 {
        let plural = if count == 1 { "" } else { "s" };
        console.complain(&format!("{count} problem{plural}: a build of this folder fails"))?;
    }
    Ok(())
}
