//! Opening of a link in the user's browser.

use std::ffi::OsString;
use std::io;
use std::process::Stdio;

use tokio::process::Command;

/// Opens `url` with the program that `BROWSER` names, or else with the desktop's.
///
/// # Errors
/// The program cannot be started, or fails.
pub(super) async fn open(url: &str) -> io::Result<()> {
    let chosen = std::env::var_os("BROWSER").filter(|program| !program.is_empty());
    let program = chosen.unwrap_or_else(|| OsString::from("xdg-open"));
    let mut command = Command::new(&program);
    command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status().await.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot run {}: {error}", program.to_string_lossy()))
    })?;
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{} failed ({status})", program.to_string_lossy())))
}
