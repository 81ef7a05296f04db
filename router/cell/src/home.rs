//! The home folder that `os.homedir()` names. The user of a cell often has none, and what Deno answers
//! then (`null`) ends packages that join it to a path; where the user has one, it is not the project's.

use deno_core::{Extension, OpState, op2};
use deno_runtime::deno_permissions::{PermissionCheckError, PermissionsContainer};

/// The variables that name it, the first one that is set: the policy's or the project's own, else
/// the folder that the project may write to and that stays.
const NAMED_BY: [&str; 2] = ["HOME", "DATA_DIR"];

/// Replaces the op behind `os.homedir()` in the isolate that it is given to.
pub(crate) fn extension() -> Extension {
    Extension {
        name: "switchyard_home",
        middleware_fn: Some(Box::new(|op| match op.name {
            "op_homedir" => op.with_implementation_from(&op_home()),
            _ => op,
        })),
        ..Extension::default()
    }
}

#[op2(stack_trace)]
#[string]
fn op_home(state: &mut OpState) -> Result<Option<String>, PermissionCheckError> {
    state.borrow_mut::<PermissionsContainer>().check_sys("homedir", "node:os.homedir()")?;
    let set = |name| std::env::var(name).ok().filter(|folder| !folder.is_empty());
    Ok(NAMED_BY.into_iter().find_map(set))
}
