//! Smart HTTP as most servers of one's own have it: `git http-backend` behind fcgiwrap and nginx.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::geteuid;
use tempfile::TempDir;
use tokio::net::UnixStream;

use super::certificate::certify;
use super::command::{git, isolate, program, run};
use super::repository::Repository;
use super::server::Server;
use crate::port::Port;

/// The statuses that the server can be set to.
const STATUSES: [u16; 9] = [401, 403, 404, 408, 429, 500, 502, 503, 504];

/// The answer to each request from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The repository.
    Repository,
    /// A refusal: one of 401, 403, 404, 408, 429, 500, 502, 503, 504; 429 and 503 with
    /// `Retry-After: 7`.
    Status(u16),
    /// A redirect to another host with the same repository, which asks for no password.
    Redirect,
}

/// Dropping it ends nginx and fcgiwrap.
#[derive(Debug)]
pub struct HttpBackend {
    // In the order in which they end.
    _nginx: Server,
    _fcgiwrap: Server,
    folder: TempDir,
    ports: Ports,
}

#[derive(Debug)]
struct Ports {
    plain: Port,
    tls: Port,
    other_plain: Port,
    other_tls: Port,
}

impl HttpBackend {
    pub async fn start(repository: &Repository) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        fs::create_dir(folder.path().join("switches")).expect("a folder can be made");
        certify(folder.path()).await;
        let ports = Ports {
            plain: Port::reserve(),
            tls: Port::reserve(),
            other_plain: Port::reserve(),
            other_tls: Port::reserve(),
        };
        let fcgiwrap = fcgiwrap(folder.path()).await;
        let folder_of_git = run(git(folder.path()).arg("--exec-path"), b"").await;
        let conf = conf(folder.path(), &ports, &location(folder.path(), repository, &folder_of_git));
        let file = folder.path().join("nginx.conf");
        fs::write(&file, conf).expect("a file can be written");
        let mut command = Command::new(program("nginx"));
        command.args(["-e", "stderr", "-g", "daemon off;", "-c"]).arg(file);
        let nginx = Server::start("nginx", command, ports.plain.address).await;
        Self { _nginx: nginx, _fcgiwrap: fcgiwrap, folder, ports }
    }

    /// The repository's URL without TLS.
    pub fn url(&self) -> String {
        format!("http://{}/repo.git", self.ports.plain.address)
    }

    /// The repository's URL with TLS: [`certificate`](Self::certificate) verifies it.
    pub fn tls_url(&self) -> String {
        format!("https://{}/repo.git", self.ports.tls.address)
    }

    /// The file with the certificate of the authority, in PEM.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The listener without TLS, for a [`CuttingProxy`](super::CuttingProxy).
    pub fn address(&self) -> SocketAddr {
        self.ports.plain.address
    }

    /// The listener with TLS.
    pub fn tls_address(&self) -> SocketAddr {
        self.ports.tls.address
    }

    /// Requires this user and password, and no others, from now on.
    pub fn require_password(&self, user: &str, password: &str) {
        self.switch("passwords", Some(&format!("{user}:{{PLAIN}}{password}\n")));
    }

    /// Answers each request like this from now on.
    ///
    /// # Panics
    /// The server cannot be set to this status.
    pub fn answer(&self, answer: Answer) {
        let name = match answer {
            Answer::Repository => None,
            Answer::Redirect => Some("redirect".to_owned()),
            Answer::Status(status) => {
                assert!(STATUSES.contains(&status), "the server has no switch for {status}");
                Some(status.to_string())
            }
        };
        let all = STATUSES.iter().map(u16::to_string).chain(["redirect".to_owned()]);
        // The new one first: no request between them gets the repository.
        if let Some(name) = &name {
            self.switch(name, Some(""));
        }
        all.filter(|other| Some(other) != name.as_ref()).for_each(|other| self.switch(&other, None));
    }

    /// Returns the requests so far, as `127.0.0.1 GET /repo.git/info/refs?… 200 Basic …`: host
    /// (`localhost` after a redirect), method, URI, status and `authorization` or `-`. A request is
    /// in it shortly after the end of its answer.
    pub fn requests(&self) -> Vec<String> {
        let log = fs::read_to_string(self.folder.path().join("requests")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    /// Writes a file that nginx looks for at each request, or removes it.
    fn switch(&self, name: &str, content: Option<&str>) {
        let file = self.folder.path().join("switches").join(name);
        let Some(content) = content else {
            let _ = fs::remove_file(file);
            return;
        };
        // Never half of it.
        let beside = self.folder.path().join(format!("{name}.new"));
        fs::write(&beside, content).expect("a file can be written");
        fs::rename(beside, file).expect("a file can be renamed");
    }
}

async fn fcgiwrap(folder: &Path) -> Server {
    let socket = folder.join("socket");
    let mut command = Command::new(program("fcgiwrap"));
    // Each process answers one request at a time.
    command.args(["-f", "-c", "8", "-s", &format!("unix:{}", socket.display())]);
    isolate(&mut command, folder);
    let mut server = Server::spawn("fcgiwrap", command);
    server.ready(|| async { UnixStream::connect(&socket).await.is_ok() }).await;
    server
}

/// The directives that hand a request to git.
fn location(folder: &Path, repository: &Repository, folder_of_git: &str) -> String {
    let mut text = format!("fastcgi_pass unix:{}/socket;\n", folder.display());
    let mut values = vec![
        ("SCRIPT_FILENAME", format!("{folder_of_git}/git-http-backend")),
        ("GIT_PROJECT_ROOT", repository.root().display().to_string()),
        ("GIT_HTTP_EXPORT_ALL", "1".to_owned()),
    ];
    for (name, variable) in [
        ("PATH_INFO", "$uri"),
        ("QUERY_STRING", "$query_string"),
        ("REQUEST_METHOD", "$request_method"),
        ("CONTENT_TYPE", "$content_type"),
        ("CONTENT_LENGTH", "$content_length"),
        ("REMOTE_USER", "$remote_user"),
        ("REMOTE_ADDR", "$remote_addr"),
    ] {
        values.push((name, variable.to_owned()));
    }
    for (name, value) in values {
        text.push_str(&format!("fastcgi_param {name} {value};\n"));
    }
    text
}

fn conf(folder: &Path, ports: &Ports, location: &str) -> String {
    let user = if geteuid().is_root() { "user root;" } else { "" };
    let Ports { plain, tls, other_plain, other_tls } = ports;
    let [plain, tls, other_plain, other_tls] = [plain, tls, other_plain, other_tls].map(Port::number);
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {}/{kind};\n", folder.display()))
        .concat();
    let (switches, folder) = (folder.join("switches"), folder.display());
    let switches = switches.display();
    let refusals = STATUSES.map(|status| refusal(status, &format!("{switches}/{status}"))).concat();
    format!(
        r#"{user}
pid {folder}/nginx.pid;
error_log stderr;
worker_processes 1;
events {{ worker_connections 512; }}
http {{
  log_format request '$host $request_method $request_uri $status "$http_authorization"';
  access_log {folder}/requests request;
  {temporary}
  client_max_body_size 0;
  ssl_certificate {folder}/pem;
  ssl_certificate_key {folder}/key;
  map $scheme $other {{
    http http://localhost:{other_plain};
    https https://localhost:{other_tls};
  }}
  server {{
    listen 127.0.0.1:{plain};
    listen 127.0.0.1:{tls} ssl;
    set $realm off;
    if (-f {switches}/passwords) {{ set $realm git; }}
    location / {{
      {refusals}
      if (-f {switches}/redirect) {{ return 302 $other$request_uri; }}
      auth_basic $realm;
      auth_basic_user_file {switches}/passwords;
      {location}
    }}
  }}
  server {{
    listen 127.0.0.1:{other_plain};
    listen 127.0.0.1:{other_tls} ssl;
    location / {{
      {location}
    }}
  }}
}}
"#
    )
}

/// The directives that answer with a status as long as a file is there.
fn refusal(status: u16, file: &str) -> String {
    let header = match status {
        401 => "add_header WWW-Authenticate 'Basic realm=\"git\"' always; ",
        429 | 503 => "add_header Retry-After 7 always; ",
        _ => "",
    };
    format!("if (-f {file}) {{ {header}return {status}; }}\n")
}
