//! What the router and a cell say to each other: one JSON object a line over the socketpair that
//! a cell inherits as its standard input. Private to the two, and free to change with them.

pub mod assets;
mod identity;
mod install;
mod mark;
mod platform;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use switchyard_contract::event::Diagnostic;

pub use identity::{FileRights, Identity, Probed};
pub use install::{Install, Installed, Link, Target, fetched};
pub use mark::Mark;
pub use platform::PlatformApi;

/// From the router to a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToCell {
    /// Turns a spare into the process of one version. Sent once.
    Start(Box<Start>),
    /// The result of a count: what the cell may add to `data` and `tmp`. Negative where more is in them than may be.
    Room {
        /// Bytes on the disk.
        bytes: i64,
        /// Files, folders and links.
        files: i64,
        /// The count began after [`FromCell::OutOfRoom`] was heard, and is its answer.
        is_answer: bool,
    },
    /// No request will come any more: end the project as SIGTERM ends a program, and exit 0.
    Drain {
        /// Milliseconds that its handlers, and what they begin, may take. Less than half a second
        /// counts as half a second.
        within: u64,
    },
}

/// From a cell to the router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromCell {
    /// V8 and the start-up snapshot are loaded; a `Start` will be answered at once.
    Ready,
    /// A server of this kind answers HTTP/1.1 on the socket that `Start` named. Sent again when another kind takes over.
    Serving {
        /// The kind of the server, which says how it wants to be asked.
        by: ServerKind,
    },
    /// The version cannot be served. The cell exits by itself after it.
    Failed(Diagnostic),
    /// The same, for want of something that could be fetched.
    Missing(Diagnostic),
    /// The cell has gone over one of its limits. It exits by itself after it.
    Exceeded(Limit),
    /// The cell has used the room in `data` and `tmp` that it knows of. It waits for another count.
    OutOfRoom,
}

/// The server of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerKind {
    /// `Deno.serve`, also for what a module exports by default: the target of a request is the URL that its handler sees.
    Deno,
    /// Node's servers: the target of a request is a path.
    Node,
}

/// A limit that ends a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// All memory of the process.
    Memory,
    /// One turn of the event loop went on for too long.
    EventLoop,
    /// Its folders went on growing when they were full.
    Disk,
}

/// What `switchyard-cell --walls` prints: which walls of the operating system a cell can have on this kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walls {
    /// The version of Landlock's interface: 1 confines files, 4 TCP ports, 6 signals. 0: there is none.
    pub landlock: i32,
    pub seccomp: bool,
}

impl Walls {
    /// What this kernel lacks, in words. Empty: all is there.
    pub fn missing(self) -> Vec<&'static str> {
        let landlock = [
            (
                1,
                "Landlock for files (Linux 5.13): only Deno's permissions keep a project to its own files, and links in node_modules lead out",
            ),
            (4, "Landlock for TCP (Linux 6.7): only the process itself keeps a project from opening ports"),
            (6, "Landlock for signals (Linux 6.12): only seccomp keeps a project from signalling others"),
        ];
        let missing = landlock.into_iter().filter(|(since, _)| self.landlock < *since).map(|(_, what)| what);
        let seccomp = (!self.seccomp).then_some("seccomp: a project's process may make any system call");
        missing.chain(seccomp).collect()
    }
}

/// The version that a cell is to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// `blog`
    pub project: String,
    /// `blog@3f9a1c2b7d4e`
    pub version: String,
    /// The project's directory inside the checkout, absolute and free of symbolic links; the cell's working directory.
    pub checkout: PathBuf,
    /// All of the checkout that is the version's: `checkout`, or the folder around it when the project includes others
    /// that lie beside it there. Absolute and free of symbolic links.
    pub root: PathBuf,
    /// Where the project's `node_modules` really is, when it has one.
    pub node_modules: Option<PathBuf>,
    /// Where those of its folders and of what it includes really are, by their paths relative to
    /// `checkout` (`packages/a/node_modules`, `../shared/node_modules`).
    pub other_node_modules: BTreeMap<String, PathBuf>,
    /// What was fetched for it, if anything was: see [`fetched`].
    pub packages: Option<PathBuf>,
    /// The entry, relative to `checkout`, with `/` between. `node_modules/.bin/NAME`: the program of that name,
    /// which a package brings.
    pub entry: String,
    /// The program's arguments.
    pub args: Vec<String>,
    /// Modules that are evaluated before the entry.
    pub preload: Vec<String>,
    /// The port whose server is served; `None`: the one of `PORT`.
    pub port: Option<u16>,
    /// The import map, relative to `checkout`, where no deno.json names it.
    pub import_map: Option<String>,
    /// What the platform that it was written for has beside Deno's interfaces.
    pub api: PlatformApi,
    /// Where to listen, whatever port the code names.
    pub socket: PathBuf,
    /// Where the glue answers the router's probe, by a server like the project's and without its handler.
    pub probe: PathBuf,
    /// Where to listen for debuggers, when any may attach.
    pub inspect: Option<PathBuf>,
    /// The whole environment that the project sees.
    pub env: BTreeMap<String, String>,
    /// A folder of the cell's own that goes with it: `TMPDIR`.
    pub tmp: PathBuf,
    /// The project's folder for what stays: `DATA_DIR`.
    pub data: PathBuf,
    /// Where compiled modules are kept for the project's next versions. The cell's own: no project reads or writes it.
    pub cache: Option<ModuleCache>,
    pub permissions: Permissions,
    pub limits: Limits,
    /// The user that the process becomes before it reads anything of the project. `None`: it stays the one that it was
    /// started as.
    pub identity: Option<Identity>,
}

/// A folder for compiled modules, which has one project's and is the cell's user's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleCache {
    /// Absolute and free of symbolic links.
    pub dir: PathBuf,
    /// How much one cell may write there, in bytes on the disk.
    pub bytes: u64,
}

/// What the names in a [`ModuleCache`] begin with while they are written.
pub const MODULE_CACHE_UNFINISHED: &str = ".new-";

/// What a version may reach besides its checkout, `node_modules`, `tmp` and `data`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    /// Absolute paths of files and folders.
    pub read: Vec<PathBuf>,
    /// Absolute paths of files and folders.
    pub write: Vec<PathBuf>,
    /// Names, addresses and networks, with or without a port, as Deno's `--allow-net` takes them. `None`: any.
    pub net: Option<Vec<String>>,
    /// Addresses that are not public and may be reached all the same.
    pub private_net: Vec<Reach>,
    /// Kinds of system information beyond [`TRIVIAL_SYS`], as Deno's `--allow-sys` takes them.
    pub sys: Vec<String>,
    #[serde(default)]
    pub denied: Denied,
}

/// What a version wants none of, though it would have it: as Deno's `--deny-…` take it, paths relative to the checkout.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    pub read: Vec<String>,
    pub write: Vec<String>,
    pub net: Vec<String>,
    pub sys: Vec<String>,
}

/// What every version may ask of the system: nothing in it changes anything.
pub const TRIVIAL_SYS: &[&str] = &[
    "cpus",
    "getPriority",
    "getegid",
    "gid",
    "homedir",
    "hostname",
    "loadavg",
    "osRelease",
    "osUptime",
    "statfs",
    "systemMemoryInfo",
    "uid",
    "umask",
];

/// The limits of one cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes, over all memory of the process that is its own.
    pub memory: u64,
    /// Milliseconds that one turn of the event loop may take.
    pub event_loop: u64,
    /// Web workers and worker threads at once.
    pub workers: u32,
    /// File descriptors at once, sockets among them.
    pub files: u64,
    /// Bytes in `data` and `tmp` together.
    pub disk: u64,
    /// Files, folders and links in `data` and `tmp` together.
    pub disk_files: u64,
}

/// A network, or one address of it, and a port if not all: `10.1.2.0/24`, `127.0.0.1:5432`, `[::1]:6379`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reach {
    pub net: IpNet,
    pub port: Option<u16>,
}

impl Reach {
    /// Whether it covers this address and port.
    pub fn covers(&self, address: SocketAddr) -> bool {
        self.net.contains(&address.ip()) && self.port.is_none_or(|port| port == address.port())
    }
}

impl FromStr for Reach {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(net) = text.parse::<IpNet>() {
            return Ok(Self { net: net.trunc(), port: None });
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self { net: address.into(), port: None });
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self { net: address.ip().into(), port: Some(address.port()) });
        }
        let (net, port) = text.rsplit_once(':').unwrap_or_default();
        match (net.replace(['[', ']'], "").parse::<IpNet>(), port.parse()) {
            (Ok(net), Ok(port)) => Ok(Self { net: net.trunc(), port: Some(port) }),
            _ => Err(format!(
                "{text:?} is no address or network: write 127.0.0.1:5432, 10.1.2.0/24 or [fd00::]/8:5432"
            )),
        }
    }
}

impl TryFrom<String> for Reach {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Reach> for String {
    fn from(reach: Reach) -> Self {
        reach.to_string()
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = self.net.prefix_len() == self.net.max_prefix_len();
        match (one, self.port) {
            (true, Some(port)) => SocketAddr::new(self.net.addr(), port).fmt(f),
            (true, None) => self.net.addr().fmt(f),
            (false, Some(port)) if self.net.addr().is_ipv6() => {
                write!(f, "[{}]/{}:{port}", self.net.addr(), self.net.prefix_len())
            }
            (false, Some(port)) => write!(f, "{}:{port}", self.net),
            (false, None) => self.net.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_leads_back_to_the_same() {
        for said in
            [ToCell::Drain { within: 30_000 }, ToCell::Room { bytes: 1 << 40, files: 0, is_answer: true }]
        {
            let text = serde_json::to_string(&said).unwrap();
            assert_eq!(serde_json::from_str::<ToCell>(&text).unwrap(), said);
        }
        let serving = FromCell::Serving { by: ServerKind::Node };
        for said in [FromCell::Ready, serving, FromCell::OutOfRoom, FromCell::Exceeded(Limit::EventLoop)] {
            let text = serde_json::to_string(&said).unwrap();
            assert_eq!(serde_json::from_str::<FromCell>(&text).unwrap(), said);
        }
    }

    #[test]
    fn a_reach_is_read_as_it_is_written() {
        for text in [
            "127.0.0.1:5432",
            "10.1.2.0/24",
            "10.1.2.0/24:80",
            "::1",
            "[::1]:6379",
            "fd00::/8",
            "[fd00::]/8:5432",
        ] {
            assert_eq!(text.parse::<Reach>().unwrap().to_string(), text);
        }
        for text in ["", "db.internal", "db.internal:5432", "10.1.2.0/33", "127.0.0.1:70000"] {
            assert!(text.parse::<Reach>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_reach_covers_its_network_and_port_alone() {
        let reach: Reach = "10.1.2.0/24:80".parse().unwrap();
        assert!(reach.covers("10.1.2.3:80".parse().unwrap()));
        assert!(
            !reach.covers("10.1.2.3:81".parse().unwrap()) && !reach.covers("10.1.3.3:80".parse().unwrap())
        );
    }
}
