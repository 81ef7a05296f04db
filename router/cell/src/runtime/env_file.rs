//! Node's `process.loadEnvFile()`. Deno's requires access to the whole environment, which contains
//! a variable of the cell's own.

use std::borrow::Cow;
use std::path::Path;

use deno_core::{Extension, OpState, op2, v8};
use deno_error::JsErrorBox;
use deno_runtime::deno_fs::FileSystemRc;
use deno_runtime::deno_os::ProcessEnvGuard;
use deno_runtime::deno_permissions::{OpenAccessKind, PermissionsContainer};

use super::permissions::INTERNAL_VARIABLES;

/// Returns the extension that replaces the op of `process.loadEnvFile()`.
pub(crate) fn extension() -> Extension {
    Extension {
        name: "switchyard_env_file",
        middleware_fn: Some(Box::new(|op| match op.name {
            "op_node_load_env_file" => op.with_implementation_from(&op_load_env_file()),
            _ => op,
        })),
        ..Extension::default()
    }
}

#[op2(nofast)]
fn op_load_env_file(
    state: &mut OpState,
    scope: &mut v8::PinScope<'_, '_>,
    #[string] path: &str,
) -> Result<(), JsErrorBox> {
    let permissions = state.borrow::<PermissionsContainer>();
    let path = Cow::Borrowed(Path::new(path));
    let path = permissions.check_open(path, OpenAccessKind::Read, Some("process.loadEnvFile"));
    let path = path.map_err(JsErrorBox::from_err)?;
    let text = state.borrow::<FileSystemRc>().read_text_file_lossy_sync(&path);
    let text = text.map_err(JsErrorBox::from_err)?;
    let environment = ProcessEnvGuard::lock();
    deno_dotenv::parse_env_content_hook(&text, &mut |name, value| {
        // Node's values end at the first NUL, as C's strings do.
        let until_nul = |text: &str| text.split('\0').next().unwrap_or_default().to_owned();
        let (name, value) = (until_nul(name), until_nul(value));
        if name.is_empty() || INTERNAL_VARIABLES.contains(&name.as_str()) {
            return;
        }
        environment.set_var_and_notify_timezone(&name, &value, || {
            scope.date_time_configuration_change_notification(v8::TimeZoneDetection::Redetect);
        });
    });
    Ok(())
}
