//! `fs.exists` and `fs.existsSync` of Node. Deno's ask `access(2)`, which answers for the user
//! alone: where the state folder lets a cell through by a capability, nothing would exist.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use deno_core::{Extension, OpState, op2};
use deno_runtime::deno_permissions::{
    CheckedPath, OpenAccessKind, PermissionCheckError, PermissionsContainer,
};

/// Replaces the ops behind both in the isolate that it is given to.
pub(crate) fn extension() -> Extension {
    Extension {
        name: "switchyard_exists",
        middleware_fn: Some(Box::new(|op| match op.name {
            "op_node_fs_exists_sync" => op.with_implementation_from(&op_exists_sync()),
            "op_node_fs_exists" => op.with_implementation_from(&op_exists()),
            _ => op,
        })),
        ..Extension::default()
    }
}

#[op2(nofast, stack_trace)]
fn op_exists_sync(state: &mut OpState, #[string] path: &str) -> Result<bool, PermissionCheckError> {
    let checked = check(state, Cow::Borrowed(Path::new(path)), "node:fs.existsSync()")?;
    Ok(checked.is_some_and(|path| std::fs::metadata(path).is_ok()))
}

#[op2(stack_trace)]
async fn op_exists(
    state: Rc<RefCell<OpState>>,
    #[string] path: String,
) -> Result<bool, PermissionCheckError> {
    let path = PathBuf::from(path);
    let Some(path) = check(&mut state.borrow_mut(), Cow::Owned(path), "node:fs.exists()")? else {
        return Ok(false);
    };
    let path = path.into_owned_path();
    Ok(tokio::fs::metadata(path).await.is_ok())
}

/// None when it is outside of what the project sees.
fn check<'a>(
    state: &mut OpState,
    path: Cow<'a, Path>,
    call: &str,
) -> Result<Option<CheckedPath<'a>>, PermissionCheckError> {
    let permissions = state.borrow_mut::<PermissionsContainer>();
    match permissions.check_open(path, OpenAccessKind::ReadNoFollow, Some(call)) {
        Ok(path) => Ok(Some(path)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
