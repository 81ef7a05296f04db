//! A stream of 100 MB each way: bytes a second, and the memory of the server in front.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::lane::{App, Lane, Server};
use crate::report::{Table, number, pick, text};
use crate::stats::{median, ratios};

const ROUNDS: usize = 7;
const CHUNK: usize = 64 << 10;
const CHUNKS: usize = 1600;
const TOTAL: usize = CHUNK * CHUNKS;

/// The longest pause of a stream.
const PATIENCE: Duration = Duration::from_secs(30);

/// Answers `GET` with the stream, and `POST` with the number of bytes that it received.
const APP: &str = "const chunk = new Uint8Array(CHUNK).fill(120);
export default { async fetch(request) {
  if (request.method === 'POST') {
    let length = 0;
    for await (const part of request.body) length += part.length;
    return new Response(String(length));
  }
  let left = CHUNKS;
  return new Response(new ReadableStream({
    pull(controller) { left-- > 0 ? controller.enqueue(chunk) : controller.close(); },
  }));
} };";

#[derive(Debug, Clone, Copy)]
enum Way {
    Down,
    Up,
}

struct Sample {
    /// MB of 10^6 bytes a second.
    rate: f64,
    /// Milliseconds of processor time per MB.
    cpu: f64,
    /// The memory of the front (RSS) before, and the most meanwhile, in MB.
    before: f64,
    most: f64,
}

pub(crate) async fn run() -> Result<()> {
    let rounds = pick(ROUNDS, 2);
    let about = format!(
        "One client, {rounds} rounds in turn; medians. CPU is that of all processes of the server. Memory (RSS) is that \
         of the server in front (the router without its cells, nginx with its workers) before the stream, and the most \
         while it lasts."
    );
    let columns = [
        text("stream"),
        text("server"),
        number("rate", "MB/s", 0),
        number("to nginx", "", 2),
        number("CPU", "ms/MB", 2),
        number("memory before", "MB", 1),
        number("most", "MB", 1),
    ];
    let mut table = Table::begin("streams", "A stream of 100 MB", about, columns);
    let app = App::new(APP.replace("CHUNKS", &CHUNKS.to_string()).replace("CHUNK", &CHUNK.to_string()));
    let mut lanes = Vec::new();
    for server in [Server::Deno, Server::Nginx, Server::Switchyard] {
        lanes.push(server.start(&app).await?);
    }
    let nginx = 1;
    for (name, way) in [("to the client", Way::Down), ("to the project", Way::Up)] {
        let mut samples: Vec<Vec<Sample>> = lanes.iter().map(|_| Vec::new()).collect();
        for round in 0..=rounds {
            for (lane, samples) in lanes.iter().zip(&mut samples) {
                let sample = stream(lane, way).await.with_context(|| lane.server.name())?;
                // The first round warms up.
                if round > 0 {
                    samples.push(sample);
                }
            }
        }
        let values = |lane: usize, of: fn(&Sample) -> f64| samples[lane].iter().map(of).collect::<Vec<_>>();
        let rates = |lane| values(lane, |sample| sample.rate);
        for (index, lane) in lanes.iter().enumerate() {
            table.row([
                name.into(),
                lane.server.name().into(),
                median(&rates(index)).into(),
                median(&ratios(&rates(index), &rates(nginx))).into(),
                median(&values(index, |sample| sample.cpu)).into(),
                median(&values(index, |sample| sample.before)).into(),
                median(&values(index, |sample| sample.most)).into(),
            ]);
        }
    }
    table.end()
}

async fn stream(lane: &Lane, way: Way) -> Result<Sample> {
    let front = lane.front();
    let before = status(&front, "VmRSS:")?;
    for pid in &front {
        fs::write(format!("/proc/{pid}/clear_refs"), "5").context("reset the most memory")?;
    }
    let (cpu, began) = (lane.cpu(), Instant::now());
    let (address, path) = (lane.address, lane.path.clone());
    tokio::task::spawn_blocking(move || match way {
        Way::Down => download(address, &path),
        Way::Up => upload(address, &path),
    })
    .await??;
    let megabytes = TOTAL as f64 / 1e6;
    Ok(Sample {
        rate: megabytes / began.elapsed().as_secs_f64(),
        cpu: (lane.cpu() - cpu) * 1e3 / megabytes,
        before,
        most: status(&front, "VmHWM:")?,
    })
}

fn download(address: SocketAddr, path: &str) -> Result<()> {
    let mut stream = connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let (mut piece, mut length) = (vec![0; CHUNK], 0);
    loop {
        match stream.read(&mut piece).context("read a stream")? {
            0 => break,
            read => length += read,
        }
    }
    // With the head, and with the lengths of chunks.
    ensure!(length > TOTAL, "a stream ended after {length} of {TOTAL} bytes");
    Ok(())
}

fn upload(address: SocketAddr, path: &str) -> Result<()> {
    let mut stream = connect(address)?;
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {TOTAL}\r\nConnection: close\r\n\r\n"
    )?;
    let chunk = vec![b'x'; CHUNK];
    for _ in 0..CHUNKS {
        stream.write_all(&chunk).context("send a stream")?;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("read an answer")?;
    ensure!(answer.contains(&TOTAL.to_string()), "a server received less: {answer}");
    Ok(())
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).context("connect")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// The sum of a field of `/proc/PID/status`, in MB of 10^6 bytes.
fn status(pids: &[u32], field: &str) -> Result<f64> {
    let mut sum = 0.0;
    for pid in pids {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).context("read a process's memory")?;
        let value = text.lines().find_map(|line| line.strip_prefix(field)).context("find its memory")?;
        let kilobytes: f64 = value.trim().trim_end_matches(" kB").parse().context("parse its memory")?;
        sum += kilobytes * 1024.0 / 1e6;
    }
    Ok(sum)
}
