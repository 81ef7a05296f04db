//! Contents of git LFS: a commit has pointers in their places, and a server gives them by their sha256.
//! Settings in the repository (`.lfsconfig`) are not read: they could lead anywhere.

mod batch;
mod link;
mod local;
mod pointer;
mod transfer;

#[cfg(test)]
mod tests;

use std::time::Duration;

use reqwest::{Client, redirect};

use self::link::Origin;
pub use self::pointer::{InvalidPointer, LfsOid, LfsPointer};
use self::transfer::Server;
use super::askpass::read_password;
use super::blobs::{Piece, hand_over};
use super::command::clean;
use super::{BlobsError, Credential, GitError, Mirror, Remote, Scheme};
use switchyard_contract::https;

const CONNECT: Duration = Duration::from_secs(10);
/// Between two pieces of an answer.
const SILENCE: Duration = Duration::from_secs(20);
/// Objects that one request asks for, as git-lfs does it.
const BATCH: usize = 100;

/// Bounds of what is read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LfsLimits {
    /// Most bytes of all contents together.
    pub bytes: u64,
    /// Bound of the whole transfer.
    pub timeout: Duration,
}

/// The LFS of one repository. Contents come over https, over http where the repository's URL is http,
/// and from the repository's folder where it is one of this machine.
#[derive(Debug)]
pub struct Lfs {
    remote: Remote,
    limits: LfsLimits,
    client: Client,
}

impl Mirror {
    /// Prepares for reading from the LFS of the repository that this mirrors. Nothing is asked yet.
    ///
    /// # Errors
    /// As [`Lfs::new`], and [`GitError::Refused`] for a repository of this machine that is no longer
    /// where it may be.
    pub async fn lfs(&self, limits: LfsLimits) -> Result<Lfs, GitError> {
        self.git().check_place(&self.remote().url).await?;
        Lfs::new(self.remote().clone(), limits)
    }
}

impl Lfs {
    /// Prepares for reading from the LFS that belongs to `remote`. Nothing is asked yet.
    ///
    /// # Errors
    /// [`GitError::Refused`] for a repository over ssh or git, which has to be read over https.
    pub fn new(remote: Remote, limits: LfsLimits) -> Result<Self, GitError> {
        let client = https::build(|| {
            Client::builder()
                .connect_timeout(CONNECT)
                .read_timeout(SILENCE)
                .no_proxy()
                .redirect(redirect::Policy::none())
                .user_agent(concat!("git-lfs/3 (switchyard-bridge/", env!("CARGO_PKG_VERSION"), ")"))
        });
        let client = client.map_err(|error| GitError::Other(https::reason(error)))?;
        Self::with_client(remote, limits, client)
    }

    fn with_client(remote: Remote, limits: LfsLimits, client: Client) -> Result<Self, GitError> {
        if matches!(remote.url.scheme(), Scheme::Ssh | Scheme::Git) {
            return Err(GitError::Refused(format!(
                "LFS over {} is not supported (git-lfs-authenticate is not run): give the repository's \
                 https URL, with a username and password",
                remote.url.scheme().as_str()
            )));
        }
        Ok(Self { remote, limits, client })
    }

    /// Reads the contents of `pointers` in their order, and gives each piece to `take`, as
    /// [`Mirror::read_blobs`](super::Mirror::read_blobs) does: the last piece of a content comes only
    /// after its sha256 and size were found to be the pointer's. Returns `take` when all pieces were
    /// taken. The credential's file is read again at each call.
    ///
    /// # Errors
    /// The first failure of `take`; [`GitError::TooLarge`] before anything is asked;
    /// [`GitError::TimedOut`]; [`GitError::Unauthorized`]; [`GitError::Refused`] for a content that
    /// the server does not have, that is another one, or that it gives in a way that is not allowed.
    pub async fn read<T, E>(&self, pointers: Vec<LfsPointer>, take: T) -> Result<T, BlobsError<E>>
    where
        T: FnMut(Piece) -> Result<(), E> + Send + 'static,
        E: Send + 'static,
    {
        let bytes = pointers.iter().fold(0_u64, |sum, pointer| sum.saturating_add(pointer.size));
        if bytes > self.limits.bytes {
            return Err(GitError::TooLarge { bytes, budget: self.limits.bytes }.into());
        }
        if pointers.is_empty() {
            return Ok(take);
        }
        hand_over(take, async |sender| {
            let send = self.send(&pointers, sender);
            let seconds = self.limits.timeout.as_secs();
            let sent = tokio::time::timeout(self.limits.timeout, send).await;
            sent.unwrap_or(Err(GitError::TimedOut { seconds }))
        })
        .await
    }

    async fn send(
        &self,
        pointers: &[LfsPointer],
        sender: tokio::sync::mpsc::Sender<Vec<Piece>>,
    ) -> Result<(), GitError> {
        if let Some(repository) = self.remote.url.local_path() {
            return local::send(repository, pointers.to_owned(), sender).await;
        }
        let login = self.login().await?;
        let origin = Origin::of(&self.remote.url)?;
        let server = Server {
            client: &self.client,
            origin: &origin,
            login: login.as_ref(),
            file: self.remote.credential.as_ref().map(Credential::file),
        };
        for (number, some) in pointers.chunks(BATCH).enumerate() {
            if !server.send(number * BATCH, some, &sender).await? {
                // Nobody takes more: the taker says why.
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads the credential.
    async fn login(&self) -> Result<Option<Login>, GitError> {
        let (username, file) = match &self.remote.credential {
            None => return Ok(None),
            Some(Credential::Password { username, file }) => (username.clone(), file.clone()),
            Some(Credential::SshKey { .. }) => {
                let what =
                    "credential has an ssh_key, but LFS is read over https: give username and password";
                return Err(GitError::Refused(what.to_owned()));
            }
        };
        let read = tokio::task::spawn_blocking(move || {
            let password = read_password(&username, &file)?;
            Ok(Some(Login { username, password }))
        });
        read.await.map_err(|error| GitError::Other(error.to_string()))?
    }
}

/// A username and a password. Without `Debug`, which would show the password.
struct Login {
    username: String,
    password: String,
}

impl Login {
    /// Removes the password, and control characters, from what a server says.
    fn clean(login: Option<&Self>, text: &str) -> String {
        let text = clean(text, login.map(|login| login.password.as_str()));
        text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).take(300).collect()
    }
}
