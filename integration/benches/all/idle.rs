//! The memory of connections that do nothing: kept connections, and WebSockets.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use switchyard_integration::usage::raise_descriptors;

use crate::lane::{App, Server};
use crate::report::{Table, number, pick, text};
use crate::stats::median;

const ROUNDS: usize = 3;
const KEPT: usize = 10_000;
const WEBSOCKETS: usize = 1_000;

/// Opened and closed before the measurement, so that code and pools are there already.
const BEFORE: usize = 50;

/// Until buffers that were only needed for opening are free again.
const SETTLE: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(10);

const APP: &str = "export default { fetch(request) {
  if (request.headers.get('upgrade') !== 'websocket') return new Response('hello');
  return Deno.upgradeWebSocket(request, { idleTimeout: 0 }).response;
} };";

const WEBSOCKET: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

pub(crate) async fn run() -> Result<()> {
    raise_descriptors();
    let rounds = pick(ROUNDS, 1);
    let about = format!(
        "Proportional memory (PSS) of all processes of the server, before and after the connections are opened, per \
         connection; {rounds} rounds with new servers, medians. Each kept connection has had one answer. Memory of the \
         kernel is not in it."
    );
    let columns = [
        text("connections"),
        number("number", "", 0),
        text("server"),
        number("each", "KB", 2),
        number("all processes before", "MB", 1),
    ];
    let mut table = Table::begin("idle-connections", "Idle connections", about, columns);
    let kinds = [("kept", KEPT, "", " 200 "), ("WebSockets", WEBSOCKETS, WEBSOCKET, " 101 ")];
    for (name, count, headers, status) in kinds {
        for server in [Server::Deno, Server::Nginx, Server::Switchyard] {
            let (mut each, mut before) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                let (empty, full) = measure(server, count, headers, status).await?;
                each.push((full - empty) / count as f64 / 1e3);
                before.push(empty / 1e6);
            }
            let (each, before) = (median(&each), median(&before));
            table.row([name.into(), count.into(), server.name().into(), each.into(), before.into()]);
        }
    }
    table.end()
}

/// The memory without the connections and with them, in bytes.
async fn measure(
    server: Server,
    count: usize,
    headers: &'static str,
    status: &'static str,
) -> Result<(f64, f64)> {
    let app = App::new(APP);
    let lane = server.start(&app).await?;
    let (address, path) = (lane.address, lane.path.clone());
    let open = move |count| {
        let path = path.clone();
        let all = tokio::task::spawn_blocking(move || {
            (0..count).map(|_| connect(address, &path, headers, status)).collect::<Result<Vec<_>>>()
        });
        async move { all.await.context("open connections")? }
    };
    drop(open(BEFORE).await.with_context(|| server.name())?);
    tokio::time::sleep(SETTLE).await;
    let empty = lane.memory();
    let connections = open(count).await.with_context(|| server.name())?;
    tokio::time::sleep(SETTLE).await;
    let full = lane.memory();
    drop(connections);
    Ok((empty, full))
}

/// Opens a connection, and reads the answer to its request.
fn connect(address: SocketAddr, path: &str, headers: &str, status: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address).context("connect")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n")?;
    let (mut answer, mut piece) = (Vec::new(), [0; 1024]);
    while !is_whole(&answer) {
        let length = stream.read(&mut piece).context("read an answer")?;
        ensure!(length > 0, "a server hung up");
        answer.extend_from_slice(&piece[..length]);
    }
    let answer = String::from_utf8_lossy(&answer);
    ensure!(answer.starts_with(&format!("HTTP/1.1{status}")), "a server answered {answer}");
    Ok(stream)
}

/// Returns true for a whole head and, of an answer with status 200, its whole text.
fn is_whole(answer: &[u8]) -> bool {
    let head = answer.windows(4).any(|bytes| bytes == b"\r\n\r\n");
    head && (answer.ends_with(b"hello") || answer.starts_with(b"HTTP/1.1 101"))
}
