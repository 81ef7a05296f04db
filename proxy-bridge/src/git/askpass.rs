//! Credentials, and the answers to git's questions for them.

use std::env;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use super::error::GitError;
use switchyard_contract::settings_file::read_text;

/// The variable with the number of the descriptor that holds the answers.
pub const ASKPASS_DESCRIPTOR: &str = "SWITCHYARD_ASKPASS_FD";

/// A longer answer is none.
const MAX_ANSWERS: u64 = 64 * 1024;

/// The files that prove to a server who asks. They are read again at each call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// For http and https.
    Password { username: String, file: PathBuf },
    /// For ssh. `known_hosts` has the server's key: there is no trust on first use.
    SshKey { key: PathBuf, known_hosts: PathBuf },
}

impl Credential {
    /// The file with the secret.
    pub fn file(&self) -> &Path {
        match self {
            Self::Password { file, .. } => file,
            Self::SshKey { key, .. } => key,
        }
    }
}

/// A username and a password in memory that a process to start can inherit. Without `Debug`, which
/// would show the password.
pub(super) struct Answers {
    memory: File,
    /// To remove from what git prints.
    password: String,
}

impl Answers {
    /// Reads the password of `username` from `file`.
    ///
    /// # Errors
    /// The file cannot be read, or holds no password of one line.
    pub(super) fn read(username: &str, file: &Path) -> Result<Self, GitError> {
        let password = read_password(username, file)?;
        let memory = sealed(&format!("{username}\n{password}\n"))
            .map_err(|error| GitError::Other(format!("could not hand over a credential: {error}")))?;
        Ok(Self { memory, password })
    }

    pub(super) fn memory(&self) -> &File {
        &self.memory
    }

    pub(super) fn number(&self) -> String {
        self.memory.as_raw_fd().to_string()
    }

    pub(super) fn password(&self) -> &str {
        &self.password
    }
}

/// Reads the password of `username` from `file`. Blocking.
///
/// # Errors
/// The file cannot be read, or holds no password of one line.
pub(super) fn read_password(username: &str, file: &Path) -> Result<String, GitError> {
    let wrong = |what: &str| GitError::Refused(format!("credential {}: {what}", file.display()));
    let text = read_text(file).map_err(|error| wrong(&error.to_string()))?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() || password.chars().any(char::is_control) {
        return Err(wrong("it must hold the password, on one line"));
    }
    if username.is_empty() || username.chars().any(char::is_control) {
        return Err(wrong("the username must have no control characters, and at least one other"));
    }
    Ok(password.to_owned())
}

/// Returns `text` in memory that cannot be changed.
fn sealed(text: &str) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut memory = File::from(memfd_create("switchyard-askpass", flags)?);
    memory.write_all(text.as_bytes())?;
    memory.seek(SeekFrom::Start(0))?;
    fcntl_add_seals(&memory, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(memory)
}

/// Prints the answer to git's `prompt`: what a program named by `GIT_ASKPASS` has to do.
///
/// # Errors
/// There are no answers, as when another program than the bridge started git.
pub fn answer_askpass(prompt: &str) -> io::Result<()> {
    let number = env::var(ASKPASS_DESCRIPTOR).ok().and_then(|number| number.parse::<u32>().ok());
    let number =
        number.ok_or_else(|| io::Error::other(format!("{ASKPASS_DESCRIPTOR} is not a descriptor")))?;
    // Opened anew, it is read from its beginning by each of the two processes that git starts.
    let memory = File::open(format!("/proc/self/fd/{number}"))?;
    let mut out = io::stdout();
    out.write_all(answer(memory, prompt)?.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

fn answer(memory: File, prompt: &str) -> io::Result<String> {
    let mut text = String::new();
    memory.take(MAX_ANSWERS).read_to_string(&mut text)?;
    let mut lines = text.lines();
    let (username, password) = (lines.next(), lines.next());
    let asked = if prompt.starts_with("Username") { username } else { password };
    asked.map(str::to_owned).ok_or_else(|| io::Error::other("there is no answer"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_question_gets_its_answer() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        fs::write(&file, "pass word:1\n").unwrap();
        let answers = Answers::read("x-access-token", &file).unwrap();
        let again = || File::open(format!("/proc/self/fd/{}", answers.number())).unwrap();
        assert_eq!(answer(again(), "Username for 'https://host': ").unwrap(), "x-access-token");
        assert_eq!(answer(again(), "Password for 'https://x@host': ").unwrap(), "pass word:1");
        assert!((&answers.memory).write_all(b"x").is_err());
    }

    #[test]
    fn a_file_without_a_password_is_named_and_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        for text in ["", "\n", "hunter2\nhunter3\n"] {
            fs::write(&file, text).unwrap();
            let error = Answers::read("x", &file).err().unwrap().to_string();
            assert!(error.contains("secret: it must hold") && !error.contains("hunter"), "{error}");
        }
        assert!(Answers::read("x", &dir.path().join("none")).err().unwrap().to_string().contains("none"));
    }
}
