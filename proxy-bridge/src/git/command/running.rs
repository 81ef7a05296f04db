//! A git that runs: its output is bounded, and its whole process group ends with it.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};

use super::Ended;
use super::setup::CPU_SECONDS;
use crate::git::GitError;

/// The last bytes of stderr that are kept.
const STDERR_KEPT: usize = 16 * 1024;
/// A killed process is gone by then, unless the kernel holds it.
const KILL_WAIT: Duration = Duration::from_secs(5);

/// A git that was started. Dropped, it is killed with all processes that it started.
pub(in crate::git) struct Running {
    child: Child,
    shown: Shown,
}

/// The circumstances that decide how a failure is shown.
pub(super) struct Shown {
    pub(super) credential_file: Option<PathBuf>,
    pub(super) secret: Option<String>,
    /// Bound of each file that it writes.
    pub(super) writes: u64,
}

impl Running {
    pub(super) fn new(child: Child, shown: Shown) -> Self {
        Self { child, shown }
    }

    pub(in crate::git) fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    pub(in crate::git) fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    pub(in crate::git) fn stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Waits for the end, and classifies a failure by what git printed.
    pub(in crate::git) async fn end(&mut self, stderr: &[u8]) -> Result<(), GitError> {
        let status = self.wait().await?;
        if status.success() { Ok(()) } else { Err(self.failure(status, stderr)) }
    }

    async fn wait(&mut self) -> Result<ExitStatus, GitError> {
        let status = self.child.wait().await;
        status.map_err(|error| GitError::Other(format!("could not wait for git: {error}")))
    }

    /// Kills it with all that it started, and waits until it is gone.
    pub(in crate::git) async fn stop(&mut self) {
        self.kill();
        let _ = tokio::time::timeout(KILL_WAIT, self.child.wait()).await;
    }

    fn failure(&self, status: ExitStatus, stderr: &[u8]) -> GitError {
        let text = self.cleaned(stderr);
        let budget = self.shown.writes;
        if killed_by(status, &text, Signal::XFSZ) {
            return GitError::TooLarge { bytes: budget.saturating_add(1), budget };
        }
        if killed_by(status, &text, Signal::XCPU) {
            return GitError::TimedOut { seconds: CPU_SECONDS };
        }
        if text.trim().is_empty() {
            return GitError::Other(format!("it ended with {status} and printed nothing"));
        }
        GitError::classify(&text, self.shown.credential_file.clone())
    }

    fn cleaned(&self, stderr: &[u8]) -> String {
        clean(&String::from_utf8_lossy(stderr), self.shown.secret.as_deref())
    }

    fn kill(&self) {
        // There is no id once its end was waited for: the number could be another process's by then.
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(pid) = pid {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Gives `input` to git, and returns what it prints, at most `most` bytes.
pub(super) async fn finish(running: &mut Running, input: Vec<u8>, most: u64) -> Result<Vec<u8>, GitError> {
    let (output, errors) = talk(running, input, most).await?;
    running.end(&errors).await?;
    Ok(output)
}

/// Gives `input` to git, and returns how it ended. A failure is not classified.
pub(super) async fn ended(running: &mut Running, input: Vec<u8>, most: u64) -> Result<Ended, GitError> {
    let (_, errors) = talk(running, input, most).await?;
    let success = running.wait().await?.success();
    Ok(Ended { success, errors: running.cleaned(&errors) })
}

/// True if git, or a helper of which it says so, was ended by `signal`.
fn killed_by(status: ExitStatus, text: &str, signal: Signal) -> bool {
    let number = signal.as_raw();
    status.signal() == Some(number) || text.lines().any(|line| line.ends_with(&format!("of signal {number}")))
}

async fn talk(running: &mut Running, input: Vec<u8>, most: u64) -> Result<(Vec<u8>, Vec<u8>), GitError> {
    let (stdin, stdout, stderr) = (running.stdin(), running.stdout(), running.stderr());
    let write = async {
        if let Some(mut stdin) = stdin {
            // A git that ends early says why by itself.
            let _ = stdin.write_all(&input).await;
        }
        Ok(())
    };
    let read = async {
        let mut output = Vec::new();
        if let Some(stdout) = stdout {
            let read = stdout.take(most.saturating_add(1)).read_to_end(&mut output).await;
            read.map_err(|error| GitError::Other(format!("could not read git's output: {error}")))?;
        }
        let bytes = output.len() as u64;
        if bytes > most { Err(GitError::TooLarge { bytes, budget: most }) } else { Ok(output) }
    };
    let errors = async { Ok(tail(stderr).await) };
    let ((), output, errors) = tokio::try_join!(write, read, errors)?;
    Ok((output, errors))
}

/// Reads all of stderr, and returns the end of it.
pub(in crate::git) async fn tail(stderr: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    let Some(mut stderr) = stderr else { return kept };
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
        kept.extend_from_slice(buffer.get(..count).unwrap_or_default());
        if kept.len() > 2 * STDERR_KEPT {
            kept.drain(..kept.len() - STDERR_KEPT);
        }
    }
    kept
}

/// Replaces control characters, the secret, and what looks like a user and password in a URL.
pub(in crate::git) fn clean(text: &str, secret: Option<&str>) -> String {
    let text = match secret {
        Some(secret) => text.replace(secret, "***"),
        None => text.to_owned(),
    };
    let mut cleaned = String::with_capacity(text.len());
    for (number, part) in text.split("://").enumerate() {
        let part = if number == 0 {
            part
        } else {
            cleaned.push_str("://");
            let end = part.find(|c: char| c == '/' || c.is_whitespace()).unwrap_or(part.len());
            part.get(..end).and_then(|authority| authority.rfind('@')).map_or(part, |at| &part[at + 1..])
        };
        cleaned.extend(part.chars().map(|c| match c {
            '\n' | '\t' => c,
            '\r' => '\n',
            c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                '\u{fffd}'
            }
            c => c,
        }));
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_prints_is_cleaned() {
        let text =
            "remote: \x1b[31mred\x07\rfatal: https://u:p%40@host/x failed with hunter2 at ssh://git@h/y";
        assert_eq!(
            clean(text, Some("hunter2")),
            "remote: \u{fffd}[31mred\u{fffd}\nfatal: https://host/x failed with *** at ssh://h/y"
        );
    }

    #[tokio::test]
    async fn the_end_of_a_long_stderr_is_kept() {
        let mut text = vec![b'x'; 200_000];
        text.extend_from_slice(b"fatal: the cause");
        let kept = tail(Some(text.as_slice())).await;
        assert!(kept.ends_with(b"fatal: the cause") && kept.len() <= 2 * STDERR_KEPT, "{}", kept.len());
    }
}
