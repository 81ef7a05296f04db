//! Credentials for git.

use std::path::PathBuf;

/// The files that prove to a server who asks. They are read again at each call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// For http and https.
    Password { username: String, file: PathBuf },
    /// For ssh. `known_hosts` has the server's key: there is no trust on first use.
    SshKey { key: PathBuf, known_hosts: PathBuf },
}
