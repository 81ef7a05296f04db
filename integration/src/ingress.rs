//! nginx and Caddy, set up by the very files in `examples/`, with what these say to change changed: ports,
//! and the folders that only root may write to.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::client::Client;
use crate::eventually;
use crate::log::Log;
use crate::port::Port;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    Caddy,
}

/// The server behind an ingress.
#[derive(Debug, Clone, Copy)]
pub struct Behind {
    /// The public listeners of two routers.
    pub routers: [SocketAddr; 2],
    /// The bridge's listener; without one nothing listens where the ingress looks for it.
    pub bridge: Option<SocketAddr>,
}

/// A running ingress. Dropping it ends it.
#[derive(Debug)]
pub struct Ingress {
    pub public: Client,
    /// nginx's listener with TLS, for which this is also the certificate. Caddy has none here.
    pub tls: Client,
    log: Log,
    _process: Process,
    _folder: TempDir,
    _ports: [Port; 3],
}

#[derive(Debug)]
struct Process {
    child: Child,
    end: Signal,
}

impl Kind {
    /// Those that are installed. nginx must be; `tools/deps test` says where there is no Caddy.
    pub fn installed() -> Vec<Self> {
        let caddy = Command::new("caddy").arg("version").stdout(Stdio::null()).status().is_ok();
        if caddy { vec![Self::Nginx, Self::Caddy] } else { vec![Self::Nginx] }
    }

    /// nginx ends its workers and drops what is open; Caddy would wait for the test's own connections.
    fn end(self) -> Signal {
        match self {
            Self::Nginx => Signal::TERM,
            Self::Caddy => Signal::KILL,
        }
    }
}

impl Behind {
    pub fn routers(one: &Client, other: &Client) -> Self {
        Self { routers: [one.address, other.address], bridge: None }
    }
}

impl Ingress {
    /// Starts `examples/ingress/nginx.conf` or `examples/ingress/Caddyfile`, and returns when it listens.
    pub async fn start(kind: Kind, behind: &Behind) -> Self {
        let (folder, ports) = (tempfile::tempdir().expect("a temporary folder can be made"), ports());
        let [public, tls, nobody] = &ports;
        let bridge = behind.bridge.unwrap_or(nobody.address);
        let upstreams = [
            ("127.0.0.1:8000", behind.routers[0].to_string()),
            ("127.0.0.1:8010", behind.routers[1].to_string()),
            ("127.0.0.1:9000", bridge.to_string()),
        ];
        let command = match kind {
            Kind::Nginx => {
                certify(folder.path());
                let conf = read(&example("ingress/nginx.conf"));
                nginx(folder.path(), &exchange(&with_tls(&conf, folder.path(), public, tls), &upstreams))
            }
            Kind::Caddy => {
                let port = format!("http_port {}\n\tdefault_bind 127.0.0.1", public.address.port());
                let conf = exchange(&read(&example("ingress/Caddyfile")), &[("http_port 80", port)]);
                caddy(folder.path(), &exchange(&conf, &upstreams))
            }
        };
        Self::run(command, kind.end(), folder, ports).await
    }

    /// Starts nginx as it stands beside the router in `examples/deploy/kubernetes/router.yaml`.
    pub async fn in_pod(router: &Client) -> Self {
        let (folder, ports) = (tempfile::tempdir().expect("a temporary folder can be made"), ports());
        let manifest = read(&example("deploy/kubernetes/router.yaml"));
        let conf = exchange(
            &block(&manifest, "nginx.conf: |"),
            &[
                ("/tmp", folder.path().display().to_string()),
                ("listen 8080;", format!("listen {} reuseport;", ports[0].address)),
                ("127.0.0.1:8000", router.address.to_string()),
            ],
        );
        Self::run(nginx(folder.path(), &conf), Kind::Nginx.end(), folder, ports).await
    }

    async fn run(mut command: Command, end: Signal, folder: TempDir, ports: [Port; 3]) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the ingress is installed: tools/deps test");
        let log = Log::read(child.stderr.take().expect("standard error is piped"));
        let mut process = Process { child, end };
        let public = ports[0].address;
        eventually("the ingress listens", || {
            let status = process.child.try_wait().expect("a child can be waited for");
            assert!(status.is_none(), "the ingress ended: {}", log.text());
            async move { TcpStream::connect(public).await.is_ok() }
        })
        .await;
        let (public, tls) = (Client::new(public), Client::new(ports[1].address));
        Self { public, tls, log, _process: process, _folder: folder, _ports: ports }
    }
}

/// The port without TLS, the port with TLS, and one without a listener.
fn ports() -> [Port; 3] {
    [Port::reserve(), Port::reserve(), Port::reserve()]
}

/// Uncomments the optional parts of nginx.conf, and replaces its ports and folders.
fn with_tls(conf: &str, folder: &Path, public: &Port, tls: &Port) -> String {
    let (public, tls, folder) = (public.address, tls.address, folder.display());
    exchange(
        conf,
        &[
            ("user www-data;", if geteuid().is_root() { "user root;".into() } else { String::new() }),
            ("/run/nginx.pid", format!("{folder}/nginx.pid")),
            ("/var/log/nginx/error.log", "stderr".into()),
            ("/var/log/nginx/access.log", "off".into()),
            ("/var/lib/nginx/body", format!("{folder}/body")),
            ("listen 80 default_server;", format!("listen {public} default_server reuseport;")),
            ("listen 80;", format!("listen {public};")),
            ("#listen 443 ssl default_server;", format!("listen {tls} ssl default_server reuseport;")),
            ("#listen 443 ssl;", format!("listen {tls} ssl;")),
            ("#ssl_certificate /etc/ssl/example.com.pem;", format!("ssl_certificate {folder}/pem;")),
            ("#ssl_certificate_key /etc/ssl/example.com.key;", format!("ssl_certificate_key {folder}/key;")),
        ],
    )
}

fn nginx(folder: &Path, conf: &str) -> Command {
    let mut command = Command::new("nginx");
    // Debian's folder for it, which is not on every PATH.
    command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()));
    // Messages before the file is read go to standard error too.
    command.args(["-e", "stderr", "-g", "daemon off;", "-c"]).arg(write(folder, "nginx.conf", conf));
    command
}

fn caddy(folder: &Path, conf: &str) -> Command {
    let mut command = Command::new("caddy");
    command.arg("run").arg("--config").arg(write(folder, "Caddyfile", conf));
    // The folder for certificates and the last configuration.
    command.env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
    command
}

/// Makes a self-signed certificate.
fn certify(folder: &Path) {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
    command.args(["-days", "1", "-subj", "/CN=example.com"]);
    command.arg("-keyout").arg(folder.join("key")).arg("-out").arg(folder.join("pem"));
    let made = command.output().expect("openssl is installed: tools/deps test");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(path)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).expect("a file can be written");
    path
}

/// Replaces each text by the other, wherever it stands.
///
/// # Panics
/// A text is missing: the example has changed and this file has not.
fn exchange(text: &str, changes: &[(&str, String)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from:?} is not in\n{text}");
        text.replace(from, to)
    })
}

/// The indented text behind a line of a YAML file.
fn block(yaml: &str, head: &str) -> String {
    let mut lines = yaml.lines().skip_while(|line| line.trim() != head);
    let indent = |line: &str| line.len() - line.trim_start().len();
    let outer = indent(lines.next().unwrap_or_else(|| panic!("no {head:?} in\n{yaml}")));
    let inner = lines.take_while(|line| line.is_empty() || indent(line) > outer);
    inner.collect::<Vec<_>>().join("\n")
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), self.end);
        let _ = self.child.wait();
    }
}

impl Drop for Ingress {
    fn drop(&mut self) {
        if std::thread::panicking() {
            show(&self.log);
        }
    }
}

#[expect(clippy::print_stderr, reason = "the log of a failed test's ingress belongs beside the failure")]
fn show(log: &Log) {
    eprintln!("---- the ingress's log ----\n{}\n---- end of the ingress's log ----", log.text());
}
