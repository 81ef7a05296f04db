//! The processes of other servers: Deno, nginx, bun, workerd, wrangler, and a plain hop.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::report::root;

/// The time limit for the start of a peer. The slowest is wrangler, which starts two other programs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The time limit for the end of a peer, after which it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// Pause between two looks at a peer that starts or ends.
const PAUSE: Duration = Duration::from_millis(2);

/// A process with all that it starts, which are a process group. Dropping it ends them.
pub(crate) struct Peer(Child);

/// The listener of a peer.
#[derive(Debug, Clone)]
pub(crate) enum Listener {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Peer {
    /// Starts a peer, and returns once it listens.
    pub(crate) fn start(mut command: Command, listener: &Listener) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut peer =
            Self(command.spawn().with_context(|| format!("start {name} (run `tools/deps bench`)"))?);
        let began = Instant::now();
        while !listener.accepts() {
            if let Some(status) = peer.0.try_wait().context("look at a peer")? {
                bail!("{name} ended before it listened on {listener:?}: {status}");
            }
            if began.elapsed() > PATIENCE {
                bail!("{name} does not listen on {listener:?} within {PATIENCE:?}");
            }
            std::thread::sleep(PAUSE);
        }
        Ok(peer)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.0);
        let _ = kill_process_group(group, Signal::TERM);
        let began = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) && began.elapsed() < GRACE {
            std::thread::sleep(PAUSE);
        }
        // Also those of the group that outlive their parent.
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.0.wait();
    }
}

impl Listener {
    pub(crate) fn free_port() -> Result<(Self, SocketAddr)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
        let address = listener.local_addr().context("find a free port")?;
        Ok((Self::Tcp(address), address))
    }

    fn accepts(&self) -> bool {
        match self {
            Self::Tcp(address) => TcpStream::connect(address).is_ok(),
            Self::Unix(path) => UnixStream::connect(path).is_ok(),
        }
    }
}

/// A program that `tools/deps bench` installs from npm.
pub(crate) fn tool(name: &str) -> Command {
    Command::new(root().join("target/tools/node_modules/.bin").join(name))
}

/// `deno serve` on this listener.
pub(crate) fn deno_serve(main: &Path, listener: &Listener) -> Result<Peer> {
    Peer::start(serve(main, listener), listener)
}

/// The same, with its compiler cache in `cache` only; and its address.
pub(crate) fn deno_serve_with_cache(main: &Path, cache: &Path) -> Result<(Peer, SocketAddr)> {
    let (listener, address) = Listener::free_port()?;
    let mut command = serve(main, &listener);
    command.env("DENO_DIR", cache).current_dir(main.parent().context("find the project")?);
    Ok((Peer::start(command, &listener)?, address))
}

fn serve(main: &Path, listener: &Listener) -> Command {
    let mut command = tool("deno");
    command.args(["serve", "--allow-all"]);
    match listener {
        Listener::Tcp(address) => {
            command.args(["--host", "127.0.0.1", "--port", &address.port().to_string()]);
        }
        Listener::Unix(path) => {
            command.env("DENO_SERVE_ADDRESS", format!("unix:{}", path.display()));
        }
    }
    command.arg(main);
    command
}

/// `deno run` of a Node server that listens where the variable `LISTEN` says: a port or a path.
pub(crate) fn deno_run(main: &Path, listener: &Listener) -> Result<Peer> {
    let mut command = tool("deno");
    command.args(["run", "--allow-all"]).arg(main);
    command.current_dir(main.parent().context("find the project")?);
    match listener {
        Listener::Tcp(address) => command.env("LISTEN", address.port().to_string()),
        Listener::Unix(path) => command.env("LISTEN", path),
    };
    Peer::start(command, listener)
}

/// nginx with a prefix `/NAME/` for each upstream, kept connections to it, and as many workers as
/// cores.
pub(crate) fn nginx(upstreams: &[(String, PathBuf)], dir: &Path) -> Result<(Peer, SocketAddr)> {
    let (listener, address) = Listener::free_port()?;
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let mut blocks = String::new();
    let mut locations = String::new();
    for (name, socket) in upstreams {
        let socket = socket.display();
        blocks += &format!(
            "upstream {name} {{ server unix:{socket}; keepalive 64; keepalive_requests 100000; }}\n"
        );
        locations += &format!("location /{name}/ {{ proxy_pass http://{name}/; }}\n");
    }
    // Requests per connection as the router has them; no copy of a body on the disk.
    let config = format!(
        "{user} daemon off; worker_processes auto; worker_rlimit_nofile 20000;
         pid {dir}/nginx.pid; error_log {dir}/nginx.err;
         events {{ worker_connections 20000; }}
         http {{
           access_log off; client_body_temp_path {dir}; proxy_temp_path {dir};
           keepalive_requests 10000; keepalive_timeout 600s; proxy_read_timeout 600s;
           client_max_body_size 0; proxy_request_buffering off; proxy_max_temp_file_size 0;
           proxy_http_version 1.1;
           map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
           proxy_set_header Connection $connection_upgrade; proxy_set_header Upgrade $http_upgrade;
           proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
           proxy_set_header X-Forwarded-Proto $scheme;
           {blocks}
           server {{ listen {address} reuseport backlog=4096; {locations} }}
         }}",
        dir = dir.display(),
    );
    let path = dir.join("nginx.conf");
    fs::write(&path, config).context("write nginx's configuration")?;
    let mut command = Command::new("nginx");
    command.arg("-e").arg(dir.join("nginx.err")).arg("-c").arg(&path);
    Ok((Peer::start(command, &listener)?, address))
}

/// [`crate::hop`] in a process of its own.
pub(crate) fn hop(socket: &Path) -> Result<(Peer, SocketAddr)> {
    let (listener, address) = Listener::free_port()?;
    let mut command = Command::new(std::env::current_exe().context("find this program")?);
    command.arg("hop").arg(address.to_string()).arg(socket);
    Ok((Peer::start(command, &listener)?, address))
}

pub(crate) fn bun(main: &Path) -> Result<(Peer, SocketAddr)> {
    let (listener, address) = Listener::free_port()?;
    let mut command = tool("bun");
    command.arg(format!("--port={}", address.port())).arg(main).env("NODE_ENV", "production");
    Ok((Peer::start(command, &listener)?, address))
}

pub(crate) fn workerd(main: &Path, dir: &Path) -> Result<(Peer, SocketAddr)> {
    let (listener, address) = Listener::free_port()?;
    // workerd reads files relative to its configuration.
    fs::copy(main, dir.join("worker.js")).context("copy the worker")?;
    let config = format!(
        "using Workerd = import \"/workerd/workerd.capnp\";
         const config :Workerd.Config = (
           services = [(name = \"main\", worker = .worker)],
           sockets = [(name = \"http\", address = \"{address}\", http = (), service = \"main\")]
         );
         const worker :Workerd.Worker = (
           modules = [(name = \"worker.js\", esModule = embed \"worker.js\")],
           compatibilityDate = \"{COMPATIBILITY}\"
         );"
    );
    let path = dir.join("workerd.capnp");
    fs::write(&path, config).context("write workerd's configuration")?;
    let mut command = tool("workerd");
    command.arg("serve").arg(&path);
    Ok((Peer::start(command, &listener)?, address))
}

pub(crate) fn wrangler(main: &Path, dir: &Path) -> Result<(Peer, SocketAddr)> {
    let (listener, address) = Listener::free_port()?;
    fs::copy(main, dir.join("main.js")).context("copy the worker")?;
    let config =
        format!(r#"{{"name": "bench", "main": "main.js", "compatibility_date": "{COMPATIBILITY}"}}"#);
    fs::write(dir.join("wrangler.json"), config).context("write wrangler's configuration")?;
    let mut command = tool("wrangler");
    command.args([
        "dev",
        "--ip",
        "127.0.0.1",
        "--show-interactive-dev-session=false",
        "--log-level",
        "error",
    ]);
    command.arg("--port").arg(address.port().to_string()).current_dir(dir);
    command.env("WRANGLER_SEND_METRICS", "false").env("CI", "1");
    Ok((Peer::start(command, &listener)?, address))
}

/// The date of the behaviour of workerd and wrangler, known to the versions that are installed.
const COMPATIBILITY: &str = "2026-01-01";
