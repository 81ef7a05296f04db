//! Failures of git, distinguished by what follows from them.

use std::io;
use std::path::PathBuf;

use super::{ObjectId, SignatureFault};

/// A failed use of git. Texts are cleaned: they hold neither control characters nor credentials.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no git, or it is too old.
    #[error("git 2.39 or newer is needed: {0}")]
    Missing(String),
    /// The server, or the repository on it, could not be reached.
    #[error("the repository cannot be reached: {0}")]
    Unreachable(String),
    /// The server refused the credential in `file`, or wants one and there is none.
    #[error("{}", unauthorized(file.as_ref()))]
    Unauthorized { file: Option<PathBuf> },
    /// The server's ssh key is not the one in known_hosts.
    #[error("the server's ssh key is not in known_hosts, or is another one: {0}")]
    HostKey(String),
    /// The repository has no such ref, or no longer such a commit.
    #[error("the repository has no {name}")]
    RefGone { name: String },
    /// The ref moved between the question for its commit and the fetch.
    #[error("{name} moved while it was fetched: the next sync takes the new commit")]
    Moved { name: String },
    /// The mirror is damaged: it can be built anew.
    #[error("the mirror is damaged: {0}")]
    Damaged(String),
    /// The objects, or the answer, take more bytes than allowed.
    #[error("the repository takes {bytes} bytes or more; the limit is {budget}")]
    TooLarge { bytes: u64, budget: u64 },
    /// Git took longer than allowed.
    #[error("git was stopped: it took longer than {seconds} seconds")]
    TimedOut { seconds: u64 },
    /// The disk of the mirrors is full, or nearly.
    #[error("the disk of the mirrors is full: {0}")]
    DiskFull(String),
    /// The content or the request is not allowed.
    #[error("refused: {0}")]
    Refused(String),
    /// The commit does not have the signature that it needs.
    #[error("commit {commit} {fault}")]
    Untrusted { commit: ObjectId, fault: SignatureFault },
    /// Any other failure.
    #[error("git failed: {0}")]
    Other(String),
}

fn unauthorized(file: Option<&PathBuf>) -> String {
    match file {
        Some(file) => format!("the server refused the credential in {}", file.display()),
        None => "the server asks for a credential: set credential, or allow reading without one".to_owned(),
    }
}

impl GitError {
    /// Classifies a failed step on the disk of the mirrors.
    pub(super) fn disk(step: &str, error: &io::Error) -> Self {
        let text = format!("could not {step}: {error}");
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull(text),
            _ => Self::Other(text),
        }
    }

    /// Classifies what git printed, cleaned, before it failed. `file` is the credential's.
    pub(super) fn classify(stderr: &str, file: Option<PathBuf>) -> Self {
        let own = stderr.lines().filter(|line| !line.starts_with("remote:")).collect::<Vec<_>>().join("\n");
        let has = |texts: &[&str]| texts.iter().any(|text| own.contains(text));
        let text = summary(stderr);
        if has(DISK_FULL) {
            Self::DiskFull(text)
        } else if has(HOST_KEY) {
            Self::HostKey(text)
        } else if has(UNAUTHORIZED) {
            Self::Unauthorized { file }
        } else if has(REF_GONE) {
            Self::RefGone { name: text }
        } else if has(REFUSED) {
            Self::Refused(text)
        } else if has(UNREACHABLE) {
            Self::Unreachable(text)
        } else if has(DAMAGED) {
            Self::Damaged(text)
        } else {
            Self::Other(text)
        }
    }

    /// Puts `asked` in place of git's words for a ref that is gone.
    pub(super) fn named(self, asked: &str) -> Self {
        match self {
            Self::RefGone { .. } => Self::RefGone { name: asked.to_owned() },
            other => other,
        }
    }
}

// In the order in which they are tried: the end of a connection follows most other failures.
const DISK_FULL: &[&str] = &["No space left on device", "Disk quota exceeded"];
const HOST_KEY: &[&str] = &["Host key verification failed", "HOST IDENTIFICATION HAS CHANGED"];
const UNAUTHORIZED: &[&str] = &[
    "Authentication failed",
    "could not read Username",
    "could not read Password",
    "Permission denied (",
    "returned error: 401",
    "returned error: 403",
];
const REF_GONE: &[&str] = &["couldn't find remote ref", "not our ref", "Server does not allow request"];
const REFUSED: &[&str] = &[
    "not allowed",
    "dubious ownership",
    "fsck error",
    "is not a valid",
    "returned error: 30",
    "mismatched algorithms",
    "exceeds maximum allowed size",
];
const UNREACHABLE: &[&str] = &[
    "does not appear to be a git repository",
    "Could not resolve host",
    "Could not read from remote repository",
    "unable to access",
    "unable to connect",
    "the remote end hung up",
    "early EOF",
    "RPC failed",
    "Operation too slow",
    "unexpected disconnect",
    "expected flush after",
    "not found",
];
const DAMAGED: &[&str] = &[
    "not a git repository",
    "corrupt",
    "is empty",
    "bad object",
    "reference broken",
    "bad tree",
    "unable to read",
    "could not read",
    "Could not read",
    "missing blob",
    "missing tree",
    "missing commit",
    "bad signature",
    "does not match",
    "is too small",
    "inflate:",
    "did not send all necessary objects",
    "cannot read",
    "unresolved deltas",
    "bad config",
    "missing necessary objects",
];

/// The lines that say why, on one line.
fn summary(stderr: &str) -> String {
    let telling = |line: &&str| line.starts_with("fatal:") || line.starts_with("error:");
    let lines = stderr.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut shown = lines.clone().filter(telling).collect::<Vec<_>>();
    if shown.is_empty() || !stderr.contains("fatal:") {
        shown = lines.collect();
    }
    let from = shown.len().saturating_sub(4);
    let text = shown.get(from..).unwrap_or_default().join("; ");
    if text.is_empty() { "it printed nothing".to_owned() } else { text.chars().take(1000).collect() }
}
