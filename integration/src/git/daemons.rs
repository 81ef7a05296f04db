//! Servers that are one process: git's own daemon, and the servers of Dulwich and JGit, which are
//! implementations of their own.

use std::net::SocketAddr;
use std::process::Command;

use super::command::isolate;
use super::repository::Repository;
use super::server::Server;
use crate::log::Log;
use crate::port::Port;

/// `git daemon`: git's own protocol, `git://`, read-only and for everybody.
#[derive(Debug)]
pub struct GitDaemon(Daemon);

/// Dulwich's server by HTTP (Python), one request at a time. It does not know protocol version 2.
#[derive(Debug)]
pub struct Dulwich(Daemon);

/// JGit's server by `git://` (Java). Takes a second to start.
#[derive(Debug)]
pub struct Jgit(Daemon);

#[derive(Debug)]
struct Daemon {
    url: String,
    server: Server,
    port: Port,
}

impl GitDaemon {
    pub async fn start(repository: &Repository) -> Self {
        let port = Port::reserve();
        let mut command = Command::new("git");
        isolate(&mut command, repository.root());
        command.args(["daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1", "--verbose"]);
        command.args(["--init-timeout=20", "--timeout=60", &format!("--port={}", port.number())]);
        command.arg(format!("--base-path={}", repository.root().display()));
        let url = format!("git://{}/repo.git", port.address);
        Self(Daemon::start("git daemon", command, port, url).await)
    }

    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// The listener, for a [`CuttingProxy`](super::CuttingProxy).
    pub fn address(&self) -> SocketAddr {
        self.0.port.address
    }

    /// The server's log, with a line for each request.
    pub fn log(&self) -> &Log {
        &self.0.server.log
    }
}

impl Dulwich {
    pub async fn start(repository: &Repository) -> Self {
        let port = Port::reserve();
        let mut command = Command::new("dulwich");
        isolate(&mut command, repository.root());
        command.args(["web-daemon", "-l", "127.0.0.1", "-p", &port.number().to_string()]);
        command.arg(repository.root());
        // The path in a URL is that of the file system, and has to be below the folder.
        let url = format!("http://{}{}", port.address, repository.path().display());
        Self(Daemon::start("dulwich", command, port, url).await)
    }

    pub fn url(&self) -> &str {
        &self.0.url
    }
}

impl Jgit {
    pub async fn start(repository: &Repository) -> Self {
        let port = Port::reserve();
        let mut command = Command::new("jgit");
        isolate(&mut command, repository.root());
        let needed = ["org.eclipse.jgit.lfs", "org.eclipse.jgit.http.apache", "httpclient", "httpcore"];
        // Debian's script leaves out what the program asks for at its start.
        let jars = needed.map(|name| format!("/usr/share/java/{name}.jar")).join(":");
        // The fast start of a program that does not run long.
        command.env("JGIT_CLASSPATH", jars).env("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -Xshare:auto");
        command.args(["daemon", "--listen", "127.0.0.1", "--port", &port.number().to_string()]);
        command.arg("--export-all").arg(repository.root());
        let url = format!("git://{}/repo.git", port.address);
        Self(Daemon::start("jgit", command, port, url).await)
    }

    pub fn url(&self) -> &str {
        &self.0.url
    }
}

impl Daemon {
    async fn start(name: &'static str, command: Command, port: Port, url: String) -> Self {
        let server = Server::start(name, command, port.address).await;
        Self { url, server, port }
    }
}
