//! A network that fails in the middle of an answer.

use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::within;

/// Forwards connections to a server. Dropping it breaks all of them.
#[derive(Debug)]
pub struct CuttingProxy {
    address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

/// The fate of each connection that begins from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Closes both ends after this number of bytes from the server.
    Cut(u64),
    /// Passes no more after this number of bytes from the server, and leaves both ends open.
    Stall(u64),
}

#[derive(Debug)]
struct State {
    server: SocketAddr,
    fault: Mutex<Fault>,
    /// The most bytes from the server in one connection.
    longest: watch::Sender<u64>,
    /// The number of connections that were cut or stalled.
    failed: watch::Sender<u64>,
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Closed,
    Stalled,
}

impl CuttingProxy {
    /// Starts without a fault.
    pub async fn start(server: SocketAddr) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), server).await
    }

    /// Starts at an address where nothing listens, or no longer.
    pub async fn start_at(address: SocketAddr, server: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("the port is free");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(State {
            server,
            fault: Mutex::new(Fault::None),
            longest: watch::Sender::new(0),
            failed: watch::Sender::new(0),
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&state)));
        Self { address, state, task }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns a URL of the server as one that goes through here.
    ///
    /// # Panics
    /// It is not a URL of the server.
    pub fn url(&self, url: &str) -> String {
        let server = self.state.server.to_string();
        assert!(url.contains(&server), "{url} does not have {server}");
        url.replacen(&server, &self.address.to_string(), 1)
    }

    pub fn fail(&self, fault: Fault) {
        *self.state.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// Returns the most bytes that the server has sent in one connection so far.
    pub fn longest(&self) -> u64 {
        *self.state.longest.borrow()
    }

    /// Waits until this number of connections were cut or stalled since the start.
    pub async fn failed(&self, count: u64) {
        let mut failed = self.state.failed.subscribe();
        let reached = failed.wait_for(|failed| *failed >= count);
        within("a connection reaches the fault", reached).await.expect("the proxy runs");
    }
}

impl Drop for CuttingProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    // Ends all of them with this task.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(forward(client, Arc::clone(&state)));
    }
}

async fn forward(mut client: TcpStream, state: Arc<State>) {
    let fault = *state.fault.lock().unwrap_or_else(PoisonError::into_inner);
    let Ok(mut server) = TcpStream::connect(state.server).await else { return };
    let ((mut from_client, to_client), (from_server, mut to_server)) = (client.split(), server.split());
    let questions = async {
        let _ = copy(&mut from_client, &mut to_server).await;
        let _ = to_server.shutdown().await;
        // The answer may go on.
        pending::<()>().await;
    };
    let answers = async {
        if state.answer(from_server, to_client, fault).await == End::Stalled {
            pending::<()>().await;
        }
    };
    tokio::select! {
        () = questions => {}
        () = answers => {}
    }
}

impl State {
    async fn answer(&self, mut server: ReadHalf<'_>, mut client: WriteHalf<'_>, fault: Fault) -> End {
        let (mut buffer, mut passed) = (vec![0; 16 * 1024], 0);
        let limit = match fault {
            Fault::None => u64::MAX,
            Fault::Cut(limit) | Fault::Stall(limit) => limit,
        };
        while passed < limit {
            let length = match server.read(&mut buffer).await {
                Ok(length) if length > 0 => length,
                _ => {
                    let _ = client.shutdown().await;
                    return End::Closed;
                }
            };
            let length = length.min(usize::try_from(limit - passed).unwrap_or(usize::MAX));
            if client.write_all(&buffer[..length]).await.is_err() {
                return End::Closed;
            }
            passed += length as u64;
            self.longest.send_if_modified(|longest| {
                let is_longer = passed > *longest;
                *longest = passed.max(*longest);
                is_longer
            });
        }
        self.failed.send_modify(|failed| *failed += 1);
        if matches!(fault, Fault::Stall(_)) { End::Stalled } else { End::Closed }
    }
}
