//! `remove`: asks for confirmation at the terminal, then removes the project.

use http::Method;

use super::Console;
use super::args::RemoveArgs;
use super::bridge::Bridge;
use super::failure::{Failure, REFUSED, USAGE};
use super::requests::{ApiRequest, send};

/// Removes a project. Returns the exit status.
///
/// # Errors
/// It is not confirmed, or there is no answer.
pub(super) async fn remove(
    bridge: &Bridge,
    args: &RemoveArgs,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    if !args.yes {
        confirm(args, console)?;
    }
    let query = [args.delete_data.then_some(("data", "delete")), args.overrides.then_some(("override", "1"))];
    let request = ApiRequest {
        method: Method::DELETE,
        path: vec!["projects", args.project.as_str()],
        query: query.into_iter().flatten().collect(),
        upload: None,
        wait: true,
    };
    send(bridge, &request, json, console).await
}

/// Asks for confirmation at the terminal.
///
/// # Errors
/// There is no terminal, or the answer is not yes.
fn confirm(args: &RemoveArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let RemoveArgs { project, delete_data, .. } = args;
    let Some(input) = &mut console.input else {
        let text = format!("remove {project}: cannot ask, since standard input is not a terminal: add --yes");
        return Err(Failure::new(USAGE, text));
    };
    let question = if *delete_data {
        format!(
            "Remove {project} and delete its data? The data cannot be restored. Type {project} to continue: "
        )
    } else {
        format!(
            "Remove {project}? Its versions and its data are kept for a while (rollback). Type y to continue: "
        )
    };
    console.err.write_all(question.as_bytes())?;
    console.err.flush()?;
    let mut answer = String::new();
    input
        .read_line(&mut answer)
        .map_err(|error| Failure::new(USAGE, format!("cannot read the answer: {error}")))?;
    let answer = answer.trim();
    let is_yes = answer == project.as_str() || (!delete_data && ["y", "yes"].contains(&answer));
    if is_yes { Ok(()) } else { Err(Failure::new(REFUSED, format!("{project} was not removed"))) }
}
