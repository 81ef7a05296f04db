//! The addresses of a bridge: known to routers before it runs, and the same when it starts again.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use tempfile::NamedTempFile;

/// The secret with which the harness's routers sign events.
pub const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// The first port. It is below the kernel's ephemeral ports (32,768 and up, `ip_local_port_range`),
/// so that no other process gets it by chance.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// The addresses of one bridge, with the file of its event secret. Clones share the file.
#[derive(Debug, Clone)]
pub struct BridgeAddresses {
    pub listen: SocketAddr,
    pub forward: SocketAddr,
    secret: Arc<NamedTempFile>,
}

impl BridgeAddresses {
    /// Returns addresses for a bridge that no router has to know before it runs.
    pub fn anywhere() -> Self {
        Self::with((Ipv4Addr::LOCALHOST, 0).into(), (Ipv4Addr::LOCALHOST, 0).into())
    }

    pub fn reserve() -> Self {
        Self::with(reserve(), reserve())
    }

    fn with(listen: SocketAddr, forward: SocketAddr) -> Self {
        let secret = NamedTempFile::new().expect("a temporary file can be made");
        std::fs::write(secret.path(), format!("{SECRET}\n")).expect("a file can be written");
        Self { listen, forward, secret: Arc::new(secret) }
    }

    /// For `--event-secret-file`, at both ends.
    pub fn secret_file(&self) -> &Path {
        self.secret.path()
    }

    /// For a router's `--event-url`.
    pub fn events_url(&self) -> String {
        format!("http://{}/events", self.listen)
    }
}

/// Returns a free loopback address that is not given out twice in this process.
pub fn reserve() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes that run side by side begin far from each other.
    let start = (std::process::id() as usize * 101) % PORTS.len();
    for _ in PORTS {
        let index = start + usize::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + (index % PORTS.len()) as u16;
        let address = (Ipv4Addr::LOCALHOST, port).into();
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port of {PORTS:?} is free");
}
