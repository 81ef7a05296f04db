//! `remove`: asks whoever sits at the terminal, then has the project taken away.

use http::Method;

use super::Console;
use super::bridge::Bridge;
use super::failure::{Failure, REFUSED, USAGE};
use super::orders::{Order, carry_out};
use switchyard_contract::project::ProjectName;

/// The removal that the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Removal {
    pub(super) project: ProjectName,
    /// Deletes its data at once, with that of its earlier removals.
    pub(super) delete_data: bool,
    /// Skips the question.
    pub(super) yes: bool,
}

/// Returns the exit status.
pub(super) async fn remove(
    bridge: &Bridge,
    removal: &Removal,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    if !removal.yes {
        confirm(removal, console)?;
    }
    let order = Order {
        method: Method::DELETE,
        path: vec!["projects", removal.project.as_str()],
        query: if removal.delete_data { vec![("data", "delete")] } else { Vec::new() },
        upload: None,
        wait: true,
    };
    carry_out(bridge, &order, json, console).await
}

/// # Errors
/// Nobody can be asked, or the answer is not a yes.
fn confirm(removal: &Removal, console: &mut Console<'_>) -> Result<(), Failure> {
    let Removal { project, delete_data, .. } = removal;
    let Some(input) = &mut console.input else {
        let text =
            format!("remove {project}: nobody can be asked, as standard input is not a terminal: add --yes");
        return Err(Failure::new(USAGE, text));
    };
    let question = if *delete_data {
        format!(
            "Remove {project} and delete its data? The data cannot be brought back. Type {project} to go on: "
        )
    } else {
        format!(
            "Remove {project}? Its versions and its data are kept for a while (rollback). Type y to go on: "
        )
    };
    console.err.write_all(question.as_bytes())?;
    console.err.flush()?;
    let mut answer = String::new();
    input
        .read_line(&mut answer)
        .map_err(|error| Failure::new(USAGE, format!("the answer cannot be read: {error}")))?;
    let answer = answer.trim();
    let is_yes = answer == project.as_str() || (!delete_data && ["y", "yes"].contains(&answer));
    if is_yes { Ok(()) } else { Err(Failure::new(REFUSED, format!("{project} is not removed"))) }
}
