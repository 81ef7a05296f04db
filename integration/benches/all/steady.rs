//! A load at a fixed rate: requests are due at fixed times, whether or not earlier ones were
//! answered. A latency counts from the due time, so a server that stalls cannot hide the requests
//! that had to wait (coordinated omission).

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A server that still owes answers this long after the last request was due does not keep up. So no
/// more requests ever wait than are due in the time of the load.
const PATIENCE: Duration = Duration::from_secs(1);

/// A load of `GET` requests.
#[derive(Debug, Clone)]
pub(crate) struct Steady {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
    pub(crate) connections: usize,
    /// Requests a second.
    pub(crate) rate: f64,
    pub(crate) time: Duration,
}

/// A connection, which has at most one request in flight.
struct Connection {
    stream: TcpStream,
    /// The due time of the request in flight.
    due: Option<Instant>,
    answer: Vec<u8>,
}

impl Steady {
    /// Returns the latencies in milliseconds; `None` if the server cannot keep up. Blocks its thread.
    ///
    /// # Errors
    /// The server does not answer 200 with a Content-Length, or hangs up.
    pub(crate) fn run(&self) -> Result<Option<Vec<f64>>> {
        // The kernel's default delays each wait by 50 us.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", self.path, self.address);
        let connect = || Connection::open(self.address);
        let mut connections = (0..self.connections).map(|_| connect()).collect::<Result<Vec<_>>>()?;
        let mut free: Vec<usize> = (0..connections.len()).collect();
        let (mut waiting, mut latencies) = (VecDeque::new(), Vec::new());
        let total = (self.rate * self.time.as_secs_f64()) as usize;
        let began = Instant::now();
        let due_at = |index: usize| began + Duration::from_secs_f64(index as f64 / self.rate);
        let mut next = 0;
        while latencies.len() < total {
            let now = Instant::now();
            if now > began + self.time + PATIENCE {
                return Ok(None);
            }
            while next < total && due_at(next) <= now {
                waiting.push_back(due_at(next));
                next += 1;
            }
            while !waiting.is_empty()
                && let Some(index) = free.pop()
            {
                connections[index].send(&request, waiting.pop_front())?;
            }
            let until = if next < total { due_at(next) } else { now + Duration::from_millis(100) };
            for index in readable(&connections, until)? {
                let connection = &mut connections[index];
                let Some((due, ends)) = connection.receive()? else { continue };
                latencies.push(due.elapsed().as_secs_f64() * 1e3);
                if ends {
                    *connection = connect()?;
                }
                free.push(index);
            }
        }
        Ok(Some(latencies))
    }
}

/// Waits for answers until that time, and returns the connections that have some of one.
fn readable(connections: &[Connection], until: Instant) -> Result<Vec<usize>> {
    let busy: Vec<_> = (0..connections.len()).filter(|index| connections[*index].due.is_some()).collect();
    let mut all: Vec<_> =
        busy.iter().map(|index| PollFd::new(&connections[*index].stream, PollFlags::IN)).collect();
    let wait = until.saturating_duration_since(Instant::now());
    let timeout = Timespec::try_from(wait).context("a wait is short")?;
    match poll(&mut all, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error).context("wait for answers"),
    }
    let ready = busy.iter().zip(&all).filter(|(_, poll)| !poll.revents().is_empty());
    Ok(ready.map(|(index, _)| *index).collect())
}

impl Connection {
    fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, due: None, answer: Vec::new() })
    }

    /// A request is far smaller than a socket's buffer: it leaves at once.
    fn send(&mut self, request: &str, due: Option<Instant>) -> Result<()> {
        self.due = due;
        self.answer.clear();
        self.stream.write_all(request.as_bytes()).context("send a request")
    }

    /// Reads what has arrived. If that completes the answer, returns when the request was due, and
    /// true if the server ends the connection.
    fn receive(&mut self) -> Result<Option<(Instant, bool)>> {
        let mut piece = [0; 16 << 10];
        match self.stream.read(&mut piece) {
            Ok(0) => bail!("a server hung up on a request"),
            Ok(length) => self.answer.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error).context("read an answer"),
        }
        let Some(end) = self.answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = String::from_utf8_lossy(&self.answer[..end]).to_ascii_lowercase();
        ensure!(head.starts_with("http/1.1 200"), "a server answered {head:?}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.context("an answer has a Content-Length")?.trim().parse()?;
        if self.answer.len() < end + 4 + length {
            return Ok(None);
        }
        let ends = head.lines().any(|line| line == "connection: close");
        Ok(self.due.take().map(|due| (due, ends)))
    }
}
