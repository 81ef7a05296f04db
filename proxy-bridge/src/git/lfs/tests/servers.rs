//! Servers on loopback: one of HTTP, and one of HTTPS by openssl.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use reqwest::Certificate;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) path: String,
    /// With names of headers in lower case.
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

/// An answer that ends its connection.
pub(super) fn answer(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Answers each request by `answers`, which gets the address too. Returns the address, and what asked.
pub(super) fn server(
    answers: impl Fn(&str, &Asked) -> Vec<u8> + Send + 'static,
) -> (String, Receiver<Asked>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, receiver) = mpsc::channel();
    let own = address.clone();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let Some(asked) = request(&connection) else { continue };
            let answer = answers(&own, &asked);
            if sender.send(asked).is_err() {
                break;
            }
            let _ = connection.write_all(&answer);
        }
    });
    (address, receiver)
}

fn request(connection: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(connection);
    let lines = (&mut reader).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    let lines = lines.collect::<Vec<_>>();
    let path = lines.first()?.split(' ').nth(1)?.to_owned();
    let length = lines.iter().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { path, head: lines.join("\n"), body })
}

/// A server with TLS for one request.
pub(super) struct Secure {
    pub(super) port: u16,
    pub(super) certificate: Certificate,
    _dir: tempfile::TempDir,
    process: tokio::process::Child,
    request: tokio::task::JoinHandle<(String, tokio::process::ChildStdin)>,
}

/// Starts a server with a certificate of its own for localhost, which answers `body`.
pub(super) async fn secure(body: &[u8]) -> Secure {
    let dir = tempfile::tempdir().unwrap();
    let openssl = || {
        let mut command = tokio::process::Command::new("openssl");
        command.current_dir(dir.path()).stderr(Stdio::null()).kill_on_drop(true);
        command
    };
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key"];
    let subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    let mut made = openssl();
    made.args(["req", "-x509", "-days", "2", "-out", "pem"]).args(key).args(subject);
    made.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    assert!(made.status().await.unwrap().success());
    let pem = std::fs::read(dir.path().join("pem")).unwrap();
    let certificate = Certificate::from_pem(&pem).unwrap();
    let mut server = openssl();
    server.args(["s_server", "-accept", "127.0.0.1:0", "-cert", "pem", "-key", "key", "-naccept", "1"]);
    let mut process = server.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut printed = tokio::io::BufReader::new(process.stdout.take().unwrap()).lines();
    let mut port = None;
    while port.is_none() {
        let line = printed.next_line().await.unwrap().expect("it says where it listens");
        port = line.strip_prefix("ACCEPT 127.0.0.1:").map(|port| port.parse().unwrap());
    }
    let (mut input, body) = (process.stdin.take().unwrap(), super::answer("200 OK", body));
    // It sends what it reads at once: the answer must not come before the request.
    let request = tokio::spawn(async move {
        let mut text = String::new();
        while let Some(line) = printed.next_line().await.unwrap() {
            text.push_str(&line);
            text.push('\n');
            if line.is_empty() && text.contains("GET ") {
                input.write_all(&body).await.unwrap();
                break;
            }
        }
        // The connection lasts until the answer was read.
        (text, input)
    });
    let port = port.unwrap();
    Secure { port, certificate, _dir: dir, process, request }
}

impl Secure {
    /// The request, after the connection has ended.
    pub(super) async fn request(mut self) -> String {
        let (text, _input) = (&mut self.request).await.unwrap();
        let _ = self.process.kill().await;
        text
    }
}
