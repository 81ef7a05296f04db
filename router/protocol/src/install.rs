//! Messages between the router and `switchyard-cell --install`: a line of JSON on its standard
//! input, and one on its standard output.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use switchyard_contract::event::Diagnostic;

use crate::identity::Identity;
use crate::net_target::NetTarget;

/// The request to fetch the packages and remote modules that a version needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallRequest {
    /// The project's directory inside the checkout, absolute and free of symbolic links.
    pub checkout: PathBuf,
    /// The same as in [`Start`](crate::Start).
    pub root: PathBuf,
    /// The real path of the project's own `node_modules`, which is used unchanged.
    pub node_modules: Option<PathBuf>,
    /// The same as in [`Start`](crate::Start).
    pub other_node_modules: BTreeMap<String, PathBuf>,
    /// The entry, relative to `checkout`, with `/` as separator. Empty: the version has none.
    pub entry: String,
    /// The modules of tasks, in the same form.
    #[serde(default)]
    pub modules: Vec<String>,
    /// The same as in [`Start`](crate::Start).
    pub import_map: Option<String>,
    /// An empty folder for the packages and modules, absolute.
    pub folder: PathBuf,
    /// The shared folder of downloaded tarballs, absolute. `None`: tarballs are not shared.
    pub downloads: Option<PathBuf>,
    /// The lock file of an earlier folder, for a project that has none of its own.
    pub lock: Option<PathBuf>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// Non-public addresses that may be reached nevertheless.
    pub private_net: Vec<NetTarget>,
    /// Certificates (PEM) of authorities that are trusted in addition to Mozilla's.
    pub authorities: Option<String>,
    /// The same as in [`Start`](crate::Start).
    pub identity: Option<Identity>,
    /// `true`: modules are found as wrangler's bundler finds them, and errors in the project's own
    /// modules are left to the cell.
    pub as_workers: bool,
}

/// The outcome of an installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum InstallOutcome {
    /// The folder holds what the version needs.
    Done {
        /// Requests that went over the network.
        requests: u64,
    },
    /// The version's packages or modules could not be fetched.
    Failed(Diagnostic),
}

/// Names in the folder that an installation fills and a cell reads.
pub mod fetched {
    /// The packages in Deno's layout. Always exists.
    pub const NODE_MODULES: &str = "node_modules";
    /// Remote modules in the layout of Deno's cache.
    pub const REMOTE: &str = "remote";
    /// The URL of each `jsr:` specifier: one JSON object.
    pub const JSR: &str = "jsr.json";
    /// The lock file with the versions that were chosen.
    pub const LOCK: &str = "deno.lock";
    /// The specifiers that could not be fetched and are not needed to start, with the reasons: one
    /// JSON object. May be missing.
    pub const FAILED: &str = "failed.json";
    /// A link to the packages that other packages need, where npm would put them beside those of
    /// the project. May be missing.
    pub const HOISTED: &str = "hoisted";
    /// The links that a checkout needs besides one to `NODE_MODULES`: a list of
    /// [`PackageLink`](super::PackageLink). May be missing.
    pub const LINKS: &str = "links.json";
    /// The mentions of modules for which the folder was filled. Used by the router alone.
    pub const MENTIONS: &str = "mentions.json";
}

/// A link in a checkout to a package or to a member of the project's workspace. All paths are
/// relative, with `/` as separator. Folders belong to the project, or lie beside it and are
/// included (`../_say`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PackageLink {
    /// The path of the link in the project: `packages/web/node_modules/say`.
    pub at: String,
    /// The folder that it leads to.
    pub to: LinkTarget,
}

/// The folder that a [`PackageLink`] leads to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkTarget {
    /// A folder in the one that the installation has filled.
    Fetched(String),
    /// A folder in the project.
    Project(String),
}
