//! The start of a version: its files, sockets, environment, permissions and limits.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::identity::Identity;
use crate::job::Job;
use crate::net_target::NetTarget;
use crate::platform::PlatformApi;

/// The version that a cell runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The name of the project: `blog`.
    pub project: String,
    /// The name of the version: `blog@3f9a1c2b7d4e`.
    pub version: String,
    /// The project's directory inside the checkout, absolute and free of symbolic links; the cell's
    /// working directory.
    pub checkout: PathBuf,
    /// The part of the checkout that belongs to the version: `checkout`, or the folder around it if
    /// the project includes others beside it. Absolute and free of symbolic links.
    pub root: PathBuf,
    /// The real path of the project's `node_modules`, if it has one.
    pub node_modules: Option<PathBuf>,
    /// The real paths of the `node_modules` in its folders and in those that it includes, by their
    /// paths relative to `checkout` (`packages/a/node_modules`, `../shared/node_modules`).
    pub other_node_modules: BTreeMap<String, PathBuf>,
    /// The folder of the packages that were fetched for it: see [`fetched`](crate::fetched).
    pub packages: Option<PathBuf>,
    /// The entry, relative to `checkout`, with `/` as separator. `node_modules/.bin/NAME`: the
    /// program of that name, which a package brings.
    pub entry: String,
    /// The program's arguments.
    pub args: Vec<String>,
    /// Modules that are evaluated before the entry.
    pub preload: Vec<String>,
    /// The port whose server is served. `None`: the one that `PORT` names.
    pub port: Option<u16>,
    /// `true`: responses are compressed for clients that accept it.
    #[serde(default)]
    pub compress: bool,
    /// The import map, relative to `checkout`, if no deno.json names it.
    pub import_map: Option<String>,
    /// The interfaces of the platform that the project was written for, besides Deno's.
    pub api: PlatformApi,
    /// The path to listen on, whatever port the code names.
    pub socket: PathBuf,
    /// The path to listen on for connections of the [framed transport](crate::frame), each of which
    /// carries any number of requests.
    pub transport: PathBuf,
    /// The path on which the cell answers the router's probe: with a server like the project's, and
    /// without its handler.
    pub probe: PathBuf,
    /// The path to listen on for debuggers. `None`: none may attach.
    pub inspect: Option<PathBuf>,
    /// The whole environment that the project sees.
    pub env: BTreeMap<String, String>,
    /// The cell's own temporary folder (`TMPDIR`), removed with it.
    pub tmp: PathBuf,
    /// The project's persistent folder (`DATA_DIR`).
    pub data: PathBuf,
    /// The cache of compiled modules for the project's next versions. No project reads or writes
    /// it.
    pub cache: Option<ModuleCache>,
    /// The permissions beyond those of every version.
    pub permissions: Permissions,
    /// The limits of this cell.
    pub limits: Limits,
    /// The user that the process becomes before it reads anything of the project. `None`: it stays
    /// the user that it was started as.
    pub identity: Option<Identity>,
    /// Work that is done instead of serving. The entry is its module.
    #[serde(default)]
    pub job: Option<Job>,
}

/// A folder for the compiled modules of one project, owned by the cell's user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleCache {
    /// The folder, absolute and free of symbolic links.
    pub dir: PathBuf,
    /// The bytes on the disk that one cell may write to it.
    pub max_bytes: u64,
}

/// The prefix of names in a [`ModuleCache`] while they are written.
pub const MODULE_CACHE_UNFINISHED: &str = ".new-";

/// The permissions of a version beyond its checkout, `node_modules`, `tmp` and `data`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    /// Absolute paths of files and folders that it may read.
    pub read: Vec<PathBuf>,
    /// Absolute paths of files and folders that it may write.
    pub write: Vec<PathBuf>,
    /// Names, addresses and networks, with or without a port, in the form of Deno's `--allow-net`.
    /// `None`: any.
    pub net: Option<Vec<String>>,
    /// Non-public addresses that may be reached nevertheless.
    pub private_net: Vec<NetTarget>,
    /// Kinds of system information beyond [`TRIVIAL_SYS`], in the form of Deno's `--allow-sys`.
    pub sys: Vec<String>,
    /// Permissions that the project denies itself.
    #[serde(default)]
    pub denied: DeniedPermissions,
    /// `true`: the task that runs lists the hosts itself, so `net` is less than the project may.
    #[serde(default)]
    pub net_of_task: bool,
}

/// Permissions that a project denies itself although it would have them, in the form of Deno's
/// `--deny-…`; paths are relative to the checkout.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeniedPermissions {
    /// Paths that it does not read.
    pub read: Vec<String>,
    /// Paths that it does not write.
    pub write: Vec<String>,
    /// Hosts that it does not reach.
    pub net: Vec<String>,
    /// Kinds of system information that it does not request.
    pub sys: Vec<String>,
}

/// System information that every version may request: reading it changes nothing.
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
    /// Bytes of private memory of the process.
    pub memory: u64,
    /// Milliseconds that one turn of the event loop may take.
    pub event_loop_ms: u64,
    /// Web workers and worker threads at once.
    pub workers: u32,
    /// File descriptors at once, sockets among them.
    pub files: u64,
    /// Bytes in `data` and `tmp` together.
    pub disk: u64,
    /// Files, folders and links in `data` and `tmp` together.
    pub disk_files: u64,
}
