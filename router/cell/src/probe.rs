//! `switchyard-cell --probe UID FOLDER…`: becomes a user as a cell does, and tests if the user can
//! enter these folders.

use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use switchyard_protocol::{FileRights, Identity, ProbeResult};

use crate::kernel::sandbox;

/// Prints one [`ProbeResult`] and waits for the end of its input, or to be killed.
///
/// # Errors
/// Invalid arguments, or the standard streams fail.
pub(crate) fn run() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(2);
    let uid = arguments.next().and_then(|uid| uid.into_string().ok());
    let uid = uid.and_then(|uid| uid.parse::<u32>().ok()).context("usage: --probe UID FOLDER…")?;
    let mut answer = serde_json::to_vec(&probe(uid, arguments.map(PathBuf::from)))?;
    answer.push(b'\n');
    io::stdout().write_all(&answer)?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn probe(uid: u32, mut folders: impl Iterator<Item = PathBuf>) -> ProbeResult {
    let identity = Identity { uid, gid: uid, groups: vec![uid], rights: FileRights::Own };
    let became = sandbox::reduce_capabilities().and_then(|()| sandbox::become_user(Some(identity)));
    let error = became.err().map(|error| format!("{error:#}"));
    let is_closed = |folder: &PathBuf| folder.join(".").metadata().is_err();
    let closed_folder = if error.is_none() { folders.find(is_closed) } else { None };
    ProbeResult { error, closed_folder }
}
