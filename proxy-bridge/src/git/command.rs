//! The git command: started with nothing of the user's or system's configuration, bounded in time and
//! output, and ended together with all that it started.

mod place;
mod running;
mod setup;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};

use self::running::{Running, Shown, ended, finish};
use super::askpass::{Answers, Credential};
use super::{GitError, GitUrl};

/// The oldest git that has all that is used here.
const OLDEST: (u32, u32) = (2, 39);
/// Bound of a file that git writes beside packs: a list of refs, mostly.
pub(super) const SMALL_FILES: u64 = 64 << 20;
/// For commands that read the mirror only.
const LOCAL_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) use self::place::{check_reach, own};
pub(super) use self::running::{clean, tail};

/// Where git is, and what it may use.
#[derive(Debug, Clone)]
pub struct GitSettings {
    /// The program: `git`, or a path.
    pub program: PathBuf,
    /// The value of `PATH` for git, which finds ssh there.
    pub search_path: OsString,
    /// A folder for `HOME`. It is made if it is missing, and stays empty.
    pub home: PathBuf,
    /// The program for `GIT_ASKPASS`, which calls [`answer_askpass`](super::answer_askpass).
    pub askpass: PathBuf,
    /// Bound of one command that asks a server.
    pub timeout: Duration,
    /// The user and the group that git and its helpers run as; only root may give one. It has to be
    /// able to read what the credentials name of ssh (a key of another owner may be readable by the
    /// group), and the file of signers.
    pub user: Option<(u32, u32)>,
    /// The folders below which repositories of this machine may be. It is
    /// checked at each use: where no folder was, a link to elsewhere can be made.
    pub local: Vec<PathBuf>,
}

/// A git that is known to work.
#[derive(Debug, Clone)]
pub struct Git {
    settings: GitSettings,
}

/// A repository, and what opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    pub url: GitUrl,
    pub credential: Option<Credential>,
}

/// One use of git.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// The mirror; without one git sees no repository.
    pub(super) repository: Option<&'a Path>,
    /// The server that it asks.
    pub(super) remote: Option<&'a Remote>,
    pub(super) args: Vec<OsString>,
    pub(super) input: Vec<u8>,
    /// Bound of its output, in bytes.
    pub(super) most: u64,
    /// Bound of each file that it writes, in bytes.
    pub(super) writes: u64,
}

/// The end of a git.
pub(super) struct Ended {
    pub(super) success: bool,
    /// The end of what it printed on stderr, cleaned.
    pub(super) errors: String,
}

impl<'a> Call<'a> {
    /// A use of the mirror, with an output of at most 1 MiB and files of at most 64 MiB.
    pub(super) fn local(repository: &'a Path, args: &[&str]) -> Self {
        let args = args.iter().map(OsString::from).collect();
        let repository = Some(repository);
        Self { repository, remote: None, args, input: Vec::new(), most: 1 << 20, writes: SMALL_FILES }
    }
}

impl Git {
    /// Looks for git, and asks its version.
    ///
    /// # Errors
    /// [`GitError::Missing`], and what is wrong with the folder for `HOME`, or with the user.
    pub async fn find(settings: GitSettings) -> Result<Self, GitError> {
        let placed = tokio::task::spawn_blocking(move || place::settle(settings)).await;
        let settings = placed.map_err(|error| GitError::Other(error.to_string()))??;
        let git = Self { settings };
        let call = Call {
            repository: None,
            remote: None,
            args: vec!["version".into()],
            input: Vec::new(),
            most: 1 << 10,
            writes: SMALL_FILES,
        };
        let printed = git.output(call).await?;
        let printed = String::from_utf8_lossy(&printed);
        match version(&printed) {
            Some(found) if found >= OLDEST => Ok(git),
            _ => Err(GitError::Missing(format!("this is {:?}", printed.trim()))),
        }
    }

    /// Bound of one command that asks a server.
    pub fn timeout(&self) -> Duration {
        self.settings.timeout
    }

    /// Returns a git with another bound of commands that ask a server.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { settings: GitSettings { timeout, ..self.settings.clone() } }
    }

    /// Checks that a repository of this machine is where it may be, now. Others always are.
    pub(super) async fn check_place(&self, url: &GitUrl) -> Result<(), GitError> {
        let Some(path) = url.local_path() else { return Ok(()) };
        let folders = self.settings.local.clone();
        let checked = tokio::task::spawn_blocking(move || place::check_local(&path, &folders)).await;
        checked.map_err(|error| GitError::Other(error.to_string()))?
    }

    /// The user and the group that git runs as, if it is not this process's.
    pub(super) fn user(&self) -> Option<(u32, u32)> {
        self.settings.user
    }

    /// The path of a program that git may start, from the search path. Blocking.
    pub(super) fn program(&self, name: &str) -> Result<PathBuf, GitError> {
        place::program(Path::new(name), &self.settings.search_path)
    }

    /// Runs git to its end, and returns what it printed.
    pub(super) async fn output(&self, call: Call<'_>) -> Result<Vec<u8>, GitError> {
        let limit = if call.remote.is_some() { self.settings.timeout } else { LOCAL_TIMEOUT };
        self.output_within(call, limit).await
    }

    /// Runs git to its end, which has to come within `limit`.
    pub(super) async fn output_within(&self, call: Call<'_>, limit: Duration) -> Result<Vec<u8>, GitError> {
        let (most, input) = (call.most, call.input.clone());
        let mut running = self.start(&call).await?;
        self.within(limit, &mut running, async |running| finish(running, input, most).await).await
    }

    /// Runs git on the mirror to its end, whichever it is.
    pub(super) async fn ended(&self, call: Call<'_>) -> Result<Ended, GitError> {
        let (most, input) = (call.most, call.input.clone());
        let mut running = self.start(&call).await?;
        self.within(LOCAL_TIMEOUT, &mut running, async |running| ended(running, input, most).await).await
    }

    async fn within<T>(
        &self,
        limit: Duration,
        running: &mut Running,
        work: impl AsyncFnOnce(&mut Running) -> Result<T, GitError>,
    ) -> Result<T, GitError> {
        match tokio::time::timeout(limit, work(running)).await {
            Ok(result) => result,
            Err(_) => {
                running.stop().await;
                Err(GitError::TimedOut { seconds: limit.as_secs() })
            }
        }
    }

    /// Starts git. It ends when the value is dropped.
    pub(super) async fn start(&self, call: &Call<'_>) -> Result<Running, GitError> {
        if let Some(remote) = call.remote {
            self.check_place(&remote.url).await?;
        }
        let credential = call.remote.and_then(|remote| remote.credential.as_ref());
        let answers = match credential {
            Some(Credential::Password { username, file }) => {
                let (username, file) = (username.clone(), file.clone());
                let read = tokio::task::spawn_blocking(move || Answers::read(&username, &file)).await;
                Some(read.map_err(|error| GitError::Other(error.to_string()))??)
            }
            _ => None,
        };
        let mut command = self.command(call, answers.as_ref())?;
        // Only under the lock is a descriptor open to inherit, so that no other git gets it.
        static STARTING: Mutex<()> = Mutex::new(());
        let starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        let inherit = |flags: FdFlags| match &answers {
            Some(answers) => fcntl_setfd(answers.memory(), flags),
            None => Ok(()),
        };
        let child = inherit(FdFlags::empty()).map_err(std::io::Error::from).and_then(|()| command.spawn());
        let closed = inherit(FdFlags::CLOEXEC);
        drop(starting);
        let child = child.map_err(|error| {
            GitError::Missing(format!("could not start {}: {error}", self.settings.program.display()))
        })?;
        let shown = Shown {
            credential_file: credential.map(|credential| credential.file().to_owned()),
            secret: answers.as_ref().map(|answers| answers.password().to_owned()),
            writes: call.writes,
        };
        let running = Running::new(child, shown);
        closed.map_err(|error| GitError::Other(format!("could not close a descriptor: {error}")))?;
        Ok(running)
    }
}

/// Reads `git version 2.47.3`.
fn version(printed: &str) -> Option<(u32, u32)> {
    let mut numbers = printed.strip_prefix("git version ")?.split('.');
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?.trim().parse().ok()?;
    Some((major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_git_prints_them() {
        for (printed, read) in [
            ("git version 2.47.3\n", Some((2, 47))),
            ("git version 2.39.5 (Apple Git-154)\n", Some((2, 39))),
            ("git version 3.0\n", Some((3, 0))),
            ("hub version 2\n", None),
        ] {
            assert_eq!(version(printed), read, "{printed}");
        }
    }
}
