//! Servers of the same projects, side by side: Switchyard, and what people would use instead.

use std::any::Any;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result};
use switchyard_integration::fixtures;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;
use tempfile::tempdir;

use crate::peers::{self, Listener};
use crate::stats::{cpu_time, memory, tree};

/// Projects that are alike, and served.
#[derive(Debug)]
pub(crate) struct App {
    volume: Volume,
    names: Vec<String>,
    entry: Entry,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    /// A module that exports `fetch`, in plain JavaScript.
    Fetch,
    /// A Node server.
    Node,
}

/// A way to serve an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    Deno,
    Nginx,
    Hop,
    Switchyard,
    Bun,
    Workerd,
    Wrangler,
}

/// A running server under measurement.
pub(crate) struct Lane {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    /// The path of the app, or of the first project.
    pub(crate) path: String,
    /// The process that clients connect to, and those behind it that are not its children.
    roots: Vec<u32>,
    _running: Box<dyn Any>,
}

impl App {
    /// One project with this main module.
    pub(crate) fn new(main: impl Into<String>) -> Self {
        Self::many(1, main)
    }

    /// `p0`, `p1` and so on.
    pub(crate) fn many(count: usize, main: impl Into<String>) -> Self {
        let (volume, main) = (Volume::new(), main.into());
        let names: Vec<_> = (0..count).map(|index| format!("p{index}")).collect();
        names.iter().for_each(|name| volume.project(name).file("main.js", main.as_str()).write());
        Self { volume, names, entry: Entry::Fetch }
    }

    /// The example with Express, with its packages.
    ///
    /// # Errors
    /// Its packages are not installed.
    pub(crate) fn express() -> Result<Self> {
        let folder = fixtures::examples().join("express");
        anyhow::ensure!(folder.join("node_modules").is_dir(), "run `npm ci` in {}", folder.display());
        let volume = Volume::new();
        volume.copy_in(&folder, "p0");
        let main = volume.read("p0/main.js");
        let listens = main.replace("app.listen(3000)", "app.listen(process.env.LISTEN ?? 3000)");
        anyhow::ensure!(listens != main, "{} listens elsewhere: adapt this bench", folder.display());
        volume.write("p0/main.js", listens);
        Ok(Self { volume, names: vec!["p0".to_owned()], entry: Entry::Node })
    }

    fn start(&self, name: &str, listener: &Listener) -> Result<peers::Peer> {
        let main = self.main(name);
        match self.entry {
            Entry::Fetch => peers::deno_serve(&main, listener),
            Entry::Node => peers::deno_run(&main, listener),
        }
    }

    fn main(&self, name: &str) -> std::path::PathBuf {
        self.volume.path(name).join("main.js")
    }
}

impl Server {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Deno => "Deno alone",
            Self::Nginx => "nginx in front of Deno",
            Self::Hop => "a plain hyper hop in front of Deno",
            Self::Switchyard => "`switchyard router`",
            Self::Bun => "bun alone",
            Self::Workerd => "workerd alone",
            Self::Wrangler => "`wrangler dev`",
        }
    }

    /// Starts the server, which then answers. Servers that have no prefixes serve the first project.
    pub(crate) async fn start(self, app: &App) -> Result<Lane> {
        let dir = tempdir().context("make a folder for a peer")?;
        let first = &app.names[0];
        let main = app.main(first);
        let lane = |address, roots, path: &str, running: Box<dyn Any>| Lane {
            server: self,
            address,
            path: path.to_owned(),
            roots,
            _running: running,
        };
        let one = |(peer, address): (peers::Peer, SocketAddr), dir| {
            lane(address, vec![peer.pid()], "/", Box::new((peer, dir)))
        };
        Ok(match self {
            Self::Deno => {
                let (listener, address) = Listener::free_port()?;
                one((app.start(first, &listener)?, address), dir)
            }
            Self::Bun => one(peers::bun(&main)?, dir),
            Self::Workerd => one(peers::workerd(&main, dir.path())?, dir),
            Self::Wrangler => one(peers::wrangler(&main, dir.path())?, dir),
            Self::Hop => {
                let socket = dir.path().join("deno.sock");
                let deno = app.start(first, &Listener::Unix(socket.clone()))?;
                let (hop, address) = peers::hop(&socket)?;
                lane(address, vec![hop.pid(), deno.pid()], "/", Box::new((hop, deno, dir)))
            }
            Self::Nginx => {
                let sockets = sockets(app, dir.path());
                let started =
                    sockets.iter().map(|(name, path)| app.start(name, &Listener::Unix(path.clone())));
                let upstreams = started.collect::<Result<Vec<_>>>()?;
                let (nginx, address) = peers::nginx(&sockets, dir.path())?;
                let roots = std::iter::once(&nginx).chain(&upstreams).map(peers::Peer::pid).collect();
                lane(address, roots, &format!("/{first}/"), Box::new((nginx, upstreams, dir)))
            }
            Self::Switchyard => Lane::of(router(&app.volume).start().await, &format!("/{first}/")),
        })
    }
}

fn sockets(app: &App, dir: &Path) -> Vec<(String, std::path::PathBuf)> {
    app.names.iter().map(|name| (name.clone(), dir.join(format!("{name}.sock")))).collect()
}

/// A router whose limits of connections and bodies are above those of any bench.
pub(crate) fn router(volume: &Volume) -> switchyard_integration::router::Builder {
    Router::builder(volume)
        .flag("debounce", 500)
        .flag("max-connections", 20_000)
        .flag("max-client-connections", 20_000)
        .flag("max-in-flight", 20_000)
        .flag("max-body", "200MiB")
        .flag("idle-timeout", "10m")
}

impl Lane {
    /// A router, of which this path is asked for.
    pub(crate) fn of(router: Router, path: &str) -> Self {
        Self {
            server: Server::Switchyard,
            address: router.public.address,
            path: path.to_owned(),
            roots: vec![router.pid().as_raw_nonzero().get().unsigned_abs()],
            _running: Box::new(router),
        }
    }

    /// All processes of the server: front, upstreams, cells and spares.
    pub(crate) fn processes(&self) -> Vec<u32> {
        self.roots.iter().flat_map(|root| tree(*root)).collect()
    }

    /// The processes that clients connect to: nginx with its workers, or the router without its cells.
    pub(crate) fn front(&self) -> Vec<u32> {
        let program = |pid: u32| std::fs::read_link(format!("/proc/{pid}/exe")).ok();
        let front = program(self.roots[0]);
        tree(self.roots[0]).into_iter().filter(|pid| program(*pid) == front).collect()
    }

    /// The processor time of all its processes so far, in seconds.
    pub(crate) fn cpu(&self) -> f64 {
        let times = self.processes().into_iter().filter_map(|pid| cpu_time(pid).ok());
        times.map(|time| time.own + time.children).sum()
    }

    /// The proportional memory (PSS) of all its processes, in bytes.
    pub(crate) fn memory(&self) -> f64 {
        memory(&self.processes())
    }
}
