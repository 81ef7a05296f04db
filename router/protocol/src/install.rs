//! What the router and `switchyard-cell --install` say to each other: a line of JSON on its standard input, one on its
//! standard output.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use switchyard_contract::event::Diagnostic;

use crate::{Identity, Reach};

/// The packages that a version needs, to be fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Install {
    /// The project's directory inside the checkout, absolute and free of symbolic links.
    pub checkout: PathBuf,
    /// As in [`Start`](crate::Start).
    pub root: PathBuf,
    /// Where the project's own `node_modules` really is: taken as it is, nothing is put into it.
    pub node_modules: Option<PathBuf>,
    /// As in [`Start`](crate::Start).
    pub other_node_modules: BTreeMap<String, PathBuf>,
    /// The entry, relative to `checkout`, with `/` between.
    pub entry: String,
    /// As in [`Start`](crate::Start).
    pub import_map: Option<String>,
    /// An empty folder, absolute, for what is fetched.
    pub folder: PathBuf,
    /// Tarballs that were downloaded once, by their URL; absolute. `None`: not to be shared.
    pub downloads: Option<PathBuf>,
    /// The lock file of an earlier folder, for a project that has none of its own.
    pub lock: Option<PathBuf>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// Addresses that are not public and may be reached all the same.
    pub private_net: Vec<Reach>,
    /// Certificates (PEM) of authorities that are trusted besides Mozilla's.
    pub authorities: Option<String>,
    /// As in [`Start`](crate::Start).
    pub identity: Option<Identity>,
    /// Modules are found as wrangler's bundler finds them: what is wrong with those of the project itself is
    /// for the cell to say.
    pub as_workers: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Installed {
    /// The folder holds what the version needs.
    Done {
        /// Requests that went over the network.
        requests: u64,
    },
    Failed(Diagnostic),
}

/// Names in the folder that `Install` fills and `Start` has read.
pub mod fetched {
    /// As Deno lays it out. Always there.
    pub const NODE_MODULES: &str = "node_modules";
    /// Remote modules, as Deno caches them.
    pub const REMOTE: &str = "remote";
    /// Which URL each `jsr:` specifier stands for: one JSON object.
    pub const JSR: &str = "jsr.json";
    /// Which versions were chosen.
    pub const LOCK: &str = "deno.lock";
    /// The specifiers that could not be fetched and are not needed to start, and why: one JSON
    /// object. May be missing.
    pub const FAILED: &str = "failed.json";
    /// A link to the packages that other packages need, where npm would put them beside those of
    /// the project. May be missing.
    pub const HOISTED: &str = "hoisted";
    /// The links that a checkout needs besides one to `NODE_MODULES`: a list of
    /// [`Link`](super::Link). May be missing.
    pub const LINKS: &str = "links.json";
    /// The mentions of the modules for which it was filled. The router's own.
    pub const MENTIONS: &str = "mentions.json";
}

/// A link in a checkout to a package or to a member of the project's workspace. All paths are
/// relative, with `/` between. Folders are the project's, or beside it and included (`../_say`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Link {
    /// In the project: `packages/web/node_modules/say`.
    pub at: String,
    pub to: Target,
}

/// The folder that a [`Link`] leads to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// In the folder that `Install` has filled.
    Fetched(String),
    /// In the project.
    Project(String),
}
