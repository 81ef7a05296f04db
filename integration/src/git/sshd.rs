//! OpenSSH's server on loopback, for the user who runs the tests.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::geteuid;
use tempfile::TempDir;

use super::command::{git, program, run, settings};
use super::repository::Repository;
use super::server::Server;
use crate::port::Port;

/// The folder to which sshd confines its sessions. Debian makes it at boot, and sshd wants it if
/// root starts it.
const EMPTY_FOLDER: &str = "/run/sshd";

/// Lets one key run git's commands, and nothing else. Dropping it ends the server and all sessions.
#[derive(Debug)]
pub struct Sshd {
    url: String,
    _server: Server,
    folder: TempDir,
    port: Port,
}

impl Sshd {
    pub async fn start(repository: &Repository) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let port = Port::reserve();
        for name in ["host_key", "other_host_key", "key", "other_key"] {
            key(&folder.path().join(name)).await;
        }
        let folder_of_git = run(git(folder.path()).arg("--exec-path"), b"").await;
        write_files(folder.path(), &port, &folder_of_git);
        if geteuid().is_root() {
            fs::create_dir_all(EMPTY_FOLDER).expect("root can make a folder");
        }
        // It starts itself again for each connection, and wants its whole path for that.
        let mut command = Command::new(program("sshd"));
        command.args(["-D", "-e", "-f"]).arg(folder.path().join("sshd_config"));
        let server = Server::start("sshd", command, port.address).await;
        let user = run(&mut tokio::process::Command::from(id()), b"").await;
        let url = format!("ssh://{user}@{}{}", port.address, repository.path().display());
        Self { url, _server: server, folder, port }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// The listener, for a [`CuttingProxy`](super::CuttingProxy).
    pub fn address(&self) -> SocketAddr {
        self.port.address
    }

    /// The private key that the server accepts.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    /// A private key that the server does not accept.
    pub fn other_key(&self) -> PathBuf {
        self.folder.path().join("other_key")
    }

    /// A `known_hosts` file with the server's key.
    pub fn known_hosts(&self) -> PathBuf {
        self.folder.path().join("known_hosts")
    }

    /// A `known_hosts` file that has another key for the server's address.
    pub fn other_known_hosts(&self) -> PathBuf {
        self.folder.path().join("other_known_hosts")
    }

    /// Returns the line of `known_hosts` for the server's key at another address, such as that of a
    /// proxy.
    pub fn known_at(&self, address: SocketAddr) -> String {
        known(self.folder.path(), "host_key", address)
    }

    /// Returns a value for `GIT_SSH_COMMAND`, with no settings of the user who runs the tests.
    pub fn command(key: &Path, known_hosts: &Path) -> String {
        format!(
            "ssh -F none -i '{}' -o IdentitiesOnly=yes -o IdentityAgent=none -o BatchMode=yes \
             -o StrictHostKeyChecking=yes -o UserKnownHostsFile='{}' -o GlobalKnownHostsFile=/dev/null",
            key.display(),
            known_hosts.display()
        )
    }
}

async fn key(file: &Path) {
    let mut command = tokio::process::Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(file);
    run(&mut command, b"").await;
}

fn id() -> Command {
    let mut command = Command::new("id");
    command.arg("-un");
    command
}

fn write_files(folder: &Path, port: &Port, folder_of_git: &str) {
    let write = |name: &str, text: &str| {
        fs::write(folder.join(name), text).expect("a file can be written");
    };
    write("known_hosts", &known(folder, "host_key", port.address));
    write("other_known_hosts", &known(folder, "other_host_key", port.address));
    // In a file of its own, since what is in authorized_keys goes through two levels of quotes.
    let variables = settings(folder).map(|(name, value)| format!("export {name}='{value}'\n")).concat();
    let shell = format!("{variables}exec '{folder_of_git}/git' shell -c \"$SSH_ORIGINAL_COMMAND\"\n");
    write("command", &shell);
    let command = format!("command=\"sh '{}'\"", folder.join("command").display());
    write("authorized_keys", &format!("{command},restrict {}\n", public(folder, "key")));
    let (address, folder) = (port.address, folder.display());
    write(
        "sshd_config",
        &format!(
            "ListenAddress {address}\nHostKey {folder}/host_key\n\
             AuthorizedKeysFile {folder}/authorized_keys\n\
             PidFile none\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin prohibit-password\nMaxStartups 100\nLoginGraceTime 60\nLogLevel VERBOSE\n\
             # The folder of a test is below one that everybody may write to.\nStrictModes no\n"
        ),
    );
}

/// The type and the key, without the comment.
fn public(folder: &Path, name: &str) -> String {
    let text = fs::read_to_string(folder.join(format!("{name}.pub"))).expect("ssh-keygen has written it");
    text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

fn known(folder: &Path, name: &str, address: SocketAddr) -> String {
    format!("[{}]:{} {}\n", address.ip(), address.port(), public(folder, name))
}
