//! The peers of measurements: `deno serve` alone, and nginx in front of it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// The time limit for the start of a peer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A child process. Dropping it ends it.
pub(crate) struct Peer {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Peer {
    fn start(mut command: Command, address: SocketAddr) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().with_context(|| format!("start {name}"))?;
        Ok(Self { child, address })
    }

    fn answering(self) -> Result<Self> {
        let began = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if began.elapsed() > PATIENCE {
                bail!("nothing listens on {}", self.address);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(self)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // SIGTERM, which nginx's master hands on to its workers.
        if let Ok(pid) = i32::try_from(self.child.id())
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

/// The path at which `tools/deps bench` installs Deno.
fn deno() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/node_modules/.bin/deno")
}

pub(crate) fn deno_serve(main: &Path) -> Result<Peer> {
    let address = free_address()?;
    let mut command = Command::new(deno());
    command.args(["serve", "--allow-all", "--host", "127.0.0.1", "--port"]);
    command.arg(address.port().to_string()).arg(main);
    Peer::start(command, address)?.answering()
}

/// The same, with its compiler cache in `cache` only.
pub(crate) fn deno_serve_with_cache(main: &Path, cache: &Path) -> Result<Peer> {
    let address = free_address()?;
    let mut command = Command::new(deno());
    command.args(["serve", "--allow-all", "--host", "127.0.0.1", "--port"]);
    command.arg(address.port().to_string()).arg(main).env("DENO_DIR", cache);
    command.current_dir(main.parent().context("find the project")?);
    Peer::start(command, address)?.answering()
}

/// nginx with kept connections to `deno serve` on a Unix socket, and as many workers as cores.
pub(crate) fn nginx_and_deno(main: &Path, dir: &Path) -> Result<(Peer, Peer)> {
    let address = free_address()?;
    let socket = dir.join("deno.sock");
    let mut command = Command::new(deno());
    command.args(["serve", "--allow-all"]).arg(main);
    command.env("DENO_SERVE_ADDRESS", format!("unix:{}", socket.display()));
    let upstream = Peer::start(command, address)?;
    let began = Instant::now();
    while !socket.exists() && began.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(20));
    }
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let config = format!(
        "{user} daemon off; worker_processes auto; pid {dir}/nginx.pid; error_log {dir}/nginx.err;
         events {{ worker_connections 1024; }}
         http {{
           access_log off; client_body_temp_path {dir}; proxy_temp_path {dir};
           upstream cell {{ server unix:{socket}; keepalive 64; }}
           server {{
             listen {address} reuseport;
             location / {{
               proxy_pass http://cell; proxy_http_version 1.1;
               proxy_set_header Connection \"\"; proxy_set_header Host $host;
               proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
             }}
           }}
         }}",
        dir = dir.display(),
        socket = socket.display(),
    );
    let path = dir.join("nginx.conf");
    fs::write(&path, config).context("write nginx's configuration")?;
    let mut command = Command::new("nginx");
    command.arg("-c").arg(&path);
    Ok((Peer::start(command, address)?.answering()?, upstream))
}

fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
    listener.local_addr().context("find a free port")
}
