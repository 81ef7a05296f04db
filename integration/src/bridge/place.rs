//! Where a bridge is to be found: known to routers before it runs, and the same when it starts again.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use tempfile::NamedTempFile;

/// What the harness's routers sign their events with.
pub const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// Below the ports that the kernel gives to whoever asks for any (32,768 and up, `ip_local_port_range`):
/// nobody gets one of these by chance while it is reserved and not yet listened on.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// Clones are the same place.
#[derive(Debug, Clone)]
pub struct Place {
    pub listen: SocketAddr,
    pub forward: SocketAddr,
    secret: Arc<NamedTempFile>,
}

impl Place {
    /// For a bridge that nobody needs to know before it runs.
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

/// A loopback address that nobody listens on, and that is given to nobody else in this process.
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
