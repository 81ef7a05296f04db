//! The environment, the configuration and the arguments of a git to start.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Resource, getrlimit};
use tokio::process::Command;

use super::{Call, Git};
use crate::git::askpass::{ASKPASS_DESCRIPTOR, Answers, Credential};
use crate::git::{GitError, Scheme};

/// Bound of the processor time of each process.
pub(super) const CPU_SECONDS: u64 = 1200;
/// Bound of the address space of each process, in bytes.
const MEMORY: u64 = 4 << 30;
/// The unit of `ulimit -f` in bytes.
const BLOCK: u64 = 512;

/// Settings that hold for each git. The three of fsck are faults of old commits that do no harm.
const CONFIGURATION: &[&str] = &[
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "credential.helper=",
    "transfer.bundleURI=false",
    "transfer.credentialsInUrl=die",
    "fetch.fsckObjects=true",
    "fetch.fsck.zeroPaddedFilemode=ignore",
    "fetch.fsck.badTimezone=ignore",
    "fetch.fsck.missingSpaceBeforeDate=ignore",
    "fetch.recurseSubmodules=false",
    "submodule.recurse=false",
    "gpg.format=ssh",
    "gpg.program=/nonexistent",
    "gpg.openpgp.program=/nonexistent",
    "gpg.x509.program=/nonexistent",
    // Packs are read in windows and large files in pieces, so that memory has a bound.
    "core.packedGitWindowSize=32m",
    "core.packedGitLimit=512m",
    "core.bigFileThreshold=64m",
    "pack.threads=2",
    "http.followRedirects=false",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=20",
    "gc.auto=0",
    "gc.autoDetach=false",
    "maintenance.auto=false",
    "advice.graftFileDeprecated=false",
    "protocol.allow=never",
];

const SSH: &str = "ssh -F /dev/null -oBatchMode=yes -oStrictHostKeyChecking=yes \
    -oGlobalKnownHostsFile=/dev/null -oUpdateHostKeys=no -oIdentitiesOnly=yes -oIdentityAgent=none \
    -oPermitLocalCommand=no -oForwardAgent=no -oClearAllForwardings=yes -oConnectTimeout=10 \
    -oServerAliveInterval=5 -oServerAliveCountMax=3";

impl Git {
    pub(super) fn command(&self, call: &Call<'_>, answers: Option<&Answers>) -> Result<Command, GitError> {
        let settings = &self.settings;
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg(bounds(call.writes))
            .arg("sh")
            .arg(&settings.program)
            .env_clear()
            .env("PATH", &settings.search_path)
            .env("HOME", &settings.home)
            .env("TMPDIR", call.repository.unwrap_or(&settings.home))
            .env("GIT_CEILING_DIRECTORIES", settings.home.parent().unwrap_or(&settings.home))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_ALLOW_PROTOCOL", "none")
            .env("LC_ALL", "C")
            .current_dir(&settings.home)
            .process_group(0)
            .kill_on_drop(true)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some((user, group)) = settings.user {
            // The standard library gives up all other groups too.
            command.gid(group).uid(user);
        }
        for setting in CONFIGURATION {
            command.arg("-c").arg(setting);
        }
        if let Some(remote) = call.remote {
            let scheme = remote.url.scheme();
            command.arg("-c").arg(format!("protocol.{}.allow=always", scheme.as_str()));
            command.env("GIT_ALLOW_PROTOCOL", scheme.as_str());
            match (scheme, &remote.credential) {
                (Scheme::Ssh, Some(Credential::SshKey { key, known_hosts })) => {
                    command.env("GIT_SSH_COMMAND", ssh_command(key, known_hosts)?);
                    command.env("GIT_SSH_VARIANT", "ssh");
                }
                (Scheme::Ssh, _) => {
                    let what = "an ssh URL needs credential = { ssh_key = …, known_hosts = … }";
                    return Err(GitError::Refused(what.to_owned()));
                }
                (_, Some(Credential::SshKey { .. })) => {
                    let what =
                        "credential has an ssh_key, but the URL is not ssh: give username and password";
                    return Err(GitError::Refused(what.to_owned()));
                }
                _ => {}
            }
        }
        if let Some(answers) = answers {
            command.env("GIT_ASKPASS", &settings.askpass).env(ASKPASS_DESCRIPTOR, answers.number());
        }
        if let Some(repository) = call.repository {
            let mut option = OsString::from("--git-dir=");
            option.push(repository);
            command.arg(option);
        }
        command.args(&call.args);
        Ok(command)
    }
}

/// The line of a shell that sets the bounds of the process, and becomes the program of its arguments:
/// what the program starts has them too, from its first instruction on.
fn bounds(writes: u64) -> String {
    // A bound that this process has itself cannot be raised.
    let bound = |resource, wanted: u64| {
        let own = getrlimit(resource);
        [own.current, own.maximum].into_iter().flatten().fold(wanted, u64::min)
    };
    let blocks = bound(Resource::Fsize, writes.saturating_add(BLOCK)) / BLOCK;
    let kibibytes = bound(Resource::As, MEMORY) / 1024;
    // At the soft bound the signal says why; at the hard one it is SIGKILL.
    let seconds = bound(Resource::Cpu, CPU_SECONDS);
    let last = bound(Resource::Cpu, CPU_SECONDS + 5);
    format!(
        "ulimit -c 0 && ulimit -f {blocks} && ulimit -v {kibibytes} && \
         ulimit -S -t {seconds} && ulimit -H -t {last} && exec \"$@\""
    )
}

/// The command for ssh, which git gives to a shell.
fn ssh_command(key: &Path, known_hosts: &Path) -> Result<OsString, GitError> {
    for (file, field) in [(key, "ssh_key"), (known_hosts, "known_hosts")] {
        if !file.is_absolute() || !file.as_os_str().as_encoded_bytes().iter().all(|c| plain(*c)) {
            return Err(GitError::Refused(format!(
                "{field} {}: the path must be absolute, and of letters, digits, dots, / - _ + , and =",
                file.display()
            )));
        }
    }
    let mut command = OsString::from(SSH);
    for (option, file) in [(" -oUserKnownHostsFile=", known_hosts), (" -i ", key)] {
        command.push(option);
        command.push(AsRef::<OsStr>::as_ref(file));
    }
    Ok(command)
}

/// True for bytes that neither the shell nor ssh reads as more than a part of a name.
fn plain(c: u8) -> bool {
    c.is_ascii_alphanumeric() || b"./-_+,=".contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ssh_command_is_strict_and_takes_plain_paths_only() {
        let command = ssh_command(Path::new("/run/secrets/key"), Path::new("/etc/known_hosts")).unwrap();
        let command = command.to_str().unwrap();
        for part in [
            "-F /dev/null",
            "-oStrictHostKeyChecking=yes",
            "-oUserKnownHostsFile=/etc/known_hosts",
            "-i /run/secrets/key",
        ] {
            assert!(command.contains(part), "{command}");
        }
        for path in ["key", "/a b", "/a;id", "/$HOME", "/%h", "/a'b", "/a\"b", "/~x"] {
            assert!(ssh_command(Path::new(path), Path::new("/k")).is_err(), "{path}");
            assert!(ssh_command(Path::new("/k"), Path::new(path)).is_err(), "{path}");
        }
    }
}
