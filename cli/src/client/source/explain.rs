//! `source explain`: the reasons why a commit changes projects, or does not.

use http::Method;

use super::super::Console;
use super::super::args::ExplainArgs;
use super::super::bridge::Bridge;
use super::super::failure::{DONE, Failure};
use super::super::report;
use super::super::table::aligned;
use super::{PATIENCE, read, short};
use switchyard_contract::project::ProjectName;
use switchyard_contract::source::Explanation;
use switchyard_contract::visible;

/// Returns the exit status.
///
/// # Errors
/// There is no answer, or it is not understood.
pub(super) async fn explain(
    bridge: &Bridge,
    args: &ExplainArgs,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let query = [
        args.project.as_ref().map(ProjectName::as_str).map(|project| ("project", project)),
        args.commit.as_deref().map(|commit| ("commit", commit)),
    ];
    let query: Vec<_> = query.into_iter().flatten().collect();
    // A commit that is not in the mirror is fetched first.
    let bridge = bridge.patient(PATIENCE);
    let answer =
        bridge.call(bridge.request(Method::GET, &["sources", &args.source, "explain"], &query)).await?;
    if json || !answer.status.is_success() {
        return report::print_answer(console, json, &answer);
    }
    console.print(text(&read(&answer)?).trim_end())?;
    Ok(DONE)
}

fn text(explanation: &Explanation) -> String {
    let source = visible::word(&explanation.source);
    let commit = short(&explanation.commit);
    let compared = match explanation.applied.as_deref() {
        Some(applied) if applied == explanation.commit => "which is live".to_owned(),
        Some(applied) => format!("compared with {}, which is live", short(applied)),
        None => "and nothing is live yet".to_owned(),
    };
    let mut text = format!("{source}: {commit}, {compared}\n");
    for note in &explanation.notes {
        text.push_str(&format!("  {}\n", visible::line(note)));
    }
    let rows = explanation.projects.iter().map(|project| {
        let path = project.path.as_deref().unwrap_or("-");
        [project.project.as_str(), path, &project.change, &project.reason]
            .map(|cell| visible::word(cell).into_owned())
    });
    if !explanation.projects.is_empty() {
        let head = ["PROJECT", "FOLDER", "CHANGE", "REASON"].map(str::to_owned);
        text.push('\n');
        text.push_str(&aligned(&std::iter::once(head).chain(rows).collect::<Vec<_>>()));
    }
    text
}
