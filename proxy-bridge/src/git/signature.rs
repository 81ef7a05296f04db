//! The ssh signature of a commit, checked by git and ssh-keygen against a file of signers.

use std::fmt;
use std::path::Path;

use super::command::{Call, Ended};
use super::tree::damaged;
use super::{GitError, Mirror, ObjectFormat, ObjectId};
use switchyard_contract::settings_file;

/// Bound of a commit object, in bytes. The longest messages have some tens of thousands.
const MAX_COMMIT: u64 = 1 << 20;
const SSH_SIGNATURE: &str = "-----BEGIN SSH SIGNATURE-----";

/// The signer of a commit, as the file of signers names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// The principal: mostly an address of mail.
    pub principal: String,
    /// The kind and the fingerprint of the key, e.g. `ED25519 SHA256:…`.
    pub key: String,
}

/// A signature that does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureFault {
    /// There is none.
    Unsigned,
    /// It is of PGP, X.509, or another kind than ssh.
    OtherKind,
    /// There is more than one.
    Several,
    /// The key is not one of the file, or not one for git.
    UnknownSigner,
    /// The key is one of the file, but the commit's time is outside of the key's.
    OutsideValidity,
    /// The commit is not what was signed, or the signature is malformed.
    Bad,
}

impl fmt::Display for SignatureFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsigned => "is unsigned: sign it with `git commit -S` and gpg.format = ssh",
            Self::OtherKind => "is signed, but not with an ssh key: only ssh signatures count",
            Self::Several => "has more than one signature: only one is allowed",
            Self::UnknownSigner => {
                "is signed by an unknown signer: the file of signers does not have the key"
            }
            Self::OutsideValidity => {
                "is signed with a key that has expired, or is not valid yet, at the commit's time"
            }
            Self::Bad => "has a bad signature: it is not one of this commit",
        })
    }
}

impl Mirror {
    /// Checks that `commit`, which the mirror has, is signed with an ssh key of the file `signers`
    /// (see ALLOWED SIGNERS in ssh-keygen(1); the namespace is `git`), and returns who signed it. A
    /// key's validity is compared with the time that the commit gives.
    ///
    /// # Errors
    /// [`GitError::Untrusted`]; [`GitError::Refused`] for a file that cannot be read, or is malformed
    /// where it is needed; [`GitError::Missing`] without ssh-keygen.
    pub async fn verify(&self, commit: &ObjectId, signers: &Path) -> Result<Signer, GitError> {
        let untrusted = |fault| GitError::Untrusted { commit: commit.clone(), fault };
        let call =
            Call { most: MAX_COMMIT, ..Call::local(self.path(), &["cat-file", "commit", commit.as_str()]) };
        let object = self.git().output(call).await.map_err(damaged)?;
        kind(&object, commit.format()).map_err(untrusted)?;
        let (git, file) = (self.git().clone(), signers.to_owned());
        let found = tokio::task::spawn_blocking(move || {
            check_file(&file)?;
            git.program("ssh-keygen")
        });
        let keygen = found.await.map_err(|error| GitError::Other(error.to_string()))??;
        let mut call = Call::local(self.path(), &[]);
        for (key, path) in [("gpg.ssh.program", keygen.as_path()), ("gpg.ssh.allowedSignersFile", signers)] {
            let mut setting = std::ffi::OsString::from(format!("{key}="));
            setting.push(path);
            call.args.extend(["-c".into(), setting]);
        }
        call.args.extend(["verify-commit", "--raw", commit.as_str()].map(Into::into));
        let ended = self.ended_alone(call).await?;
        judge(&ended, signers, untrusted)
    }
}

fn check_file(signers: &Path) -> Result<(), GitError> {
    let wrong = |what: &str| Err(GitError::Refused(format!("signers {}: {what}", signers.display())));
    if !signers.is_absolute() {
        return wrong("the path must be absolute");
    }
    match settings_file::read(signers) {
        Ok(_) => Ok(()),
        Err(error) => wrong(&error.to_string()),
    }
}

/// Checks that the commit has one signature, which is of ssh: for others git would start gpg.
fn kind(object: &[u8], format: ObjectFormat) -> Result<(), SignatureFault> {
    let field: &[u8] = match format {
        ObjectFormat::Sha1 => b"gpgsig ",
        ObjectFormat::Sha256 => b"gpgsig-sha256 ",
    };
    let head = object.split(|c| *c == b'\n').take_while(|line| !line.is_empty());
    let mut signatures = head.filter_map(|line| line.strip_prefix(field));
    match (signatures.next(), signatures.next()) {
        (None, _) => Err(SignatureFault::Unsigned),
        (Some(_), Some(_)) => Err(SignatureFault::Several),
        (Some(first), None) if first == SSH_SIGNATURE.as_bytes() => Ok(()),
        _ => Err(SignatureFault::OtherKind),
    }
}

/// Reads what git and ssh-keygen say.
fn judge(
    ended: &Ended,
    signers: &Path,
    untrusted: impl Fn(SignatureFault) -> GitError,
) -> Result<Signer, GitError> {
    let said = &ended.errors;
    if ended.success {
        return signer(said).ok_or_else(|| GitError::Other(format!("git did not name the signer: {said:?}")));
    }
    let has = |text: &str| said.contains(text);
    let refused = |what: String| Err(GitError::Refused(format!("signers {}: {what}", signers.display())));
    if has("Unable to open allowed keys file") {
        return refused("git's user cannot read it".to_owned());
    }
    if has("incorrect signature") {
        return Err(untrusted(SignatureFault::Bad));
    }
    if has("key is not permitted") {
        return Err(untrusted(SignatureFault::UnknownSigner));
    }
    // A signature whose key fits no line is checked without the file: it may be a good one.
    if !has("Good \"git\" signature with ") {
        let bad = has("Could not verify signature") || has("Couldn't");
        return Err(if bad { untrusted(SignatureFault::Bad) } else { GitError::classify(said, None) });
    }
    if has("key has expired") || has("key is not yet valid") {
        return Err(untrusted(SignatureFault::OutsideValidity));
    }
    let beginning = format!("{}:", signers.display());
    match said.lines().find_map(|line| line.strip_prefix(&beginning)) {
        Some(fault) => refused(format!("line {fault}")),
        None => Err(untrusted(SignatureFault::UnknownSigner)),
    }
}

/// Reads `Good "git" signature for alice@example with ED25519 key SHA256:…`.
fn signer(said: &str) -> Option<Signer> {
    let told = said.lines().find_map(|line| line.strip_prefix("Good \"git\" signature for "))?;
    let (principal, key) = told.rsplit_once(" with ")?;
    let (kind, fingerprint) = key.split_once(" key ")?;
    Some(Signer { principal: principal.to_owned(), key: format!("{kind} {fingerprint}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_signature_of_ssh_counts() {
        let head = "tree 0a\nauthor a\n";
        let ssh = format!("gpgsig {SSH_SIGNATURE}\n AAAA\n -----END SSH SIGNATURE-----\n");
        let pgp = "gpgsig -----BEGIN PGP SIGNATURE-----\n x\n";
        for (object, result) in [
            (format!("{head}{ssh}\nx"), Ok(())),
            (format!("{head}\nx"), Err(SignatureFault::Unsigned)),
            (format!("{head}\n{ssh}"), Err(SignatureFault::Unsigned)),
            (format!("{head}{pgp}\nx"), Err(SignatureFault::OtherKind)),
            (format!("{head}{ssh}{pgp}\nx"), Err(SignatureFault::Several)),
            (format!("{head}{ssh}{ssh}\nx"), Err(SignatureFault::Several)),
            (format!("{head}gpgsig {SSH_SIGNATURE}x\n\nx"), Err(SignatureFault::OtherKind)),
        ] {
            assert_eq!(kind(object.as_bytes(), ObjectFormat::Sha1), result, "{object}");
        }
        let object = format!("{head}{ssh}\nx");
        assert_eq!(kind(object.as_bytes(), ObjectFormat::Sha256), Err(SignatureFault::Unsigned));
    }
}
