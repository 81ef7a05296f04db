//! The git command line without anybody's settings, and with fixed authors and dates.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::within;

/// The author, and committer, of everything.
pub(super) const AUTHOR: &str = "Test";
pub(super) const EMAIL: &str = "test@example.com";

/// The time of the first commit, in seconds since 1970; each later one is a second later.
pub(super) const EPOCH: u64 = 1_700_000_000;

/// Returns git with `home` as its home folder, which never asks for anything. It is killed when its
/// future is dropped.
pub fn git(home: &Path) -> Command {
    let mut command = std::process::Command::new("git");
    isolate(&mut command, home);
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), AUTHOR).env(format!("GIT_{who}_EMAIL"), EMAIL);
        command.env(format!("GIT_{who}_DATE"), format!("{EPOCH} +0000"));
    }
    let mut command = Command::from(command);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Leaves a command no variable of the tests but `PATH` and the folder of temporary files: others
/// name proxies, certificates, repositories and keys.
pub(super) fn isolate(command: &mut std::process::Command, home: &Path) {
    command.env_clear().envs(settings(home));
    for name in ["PATH", "TMPDIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
}

/// The variables with which git, here or in a server, reads no settings but the repository's own.
pub(super) fn settings(home: &Path) -> [(&'static str, String); 7] {
    let [none, home] = ["/dev/null".to_owned(), home.display().to_string()];
    [
        ("HOME", home.clone()),
        ("XDG_CONFIG_HOME", home),
        ("GIT_CONFIG_GLOBAL", none),
        ("GIT_CONFIG_NOSYSTEM", "1".to_owned()),
        ("GIT_TERMINAL_PROMPT", "0".to_owned()),
        ("LC_ALL", "C".to_owned()),
        ("TZ", "UTC".to_owned()),
    ]
}

/// Runs a command to its end with this input, and returns its output without the last line's end.
///
/// # Panics
/// The command fails, or is missing.
pub(super) async fn run(command: &mut Command, input: &[u8]) -> String {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let what = format!("{:?}", command.as_std());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{what}: {error}: tools/deps test"));
    let mut stdin = child.stdin.take().expect("standard input is piped");
    // A command that fails may not read its input; its status says so.
    let write = async move { drop(stdin.write_all(input).await) };
    let ended = async { tokio::join!(write, child.wait_with_output()).1 };
    let output = within(&what, ended).await.expect("a child can be waited for");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {}: {stderr}", output.status);
    String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned()
}

/// Finds a program on the path, or where Debian has servers, which is not on every user's path.
///
/// # Panics
/// It is not installed.
pub(super) fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing: tools/deps test"))
}
