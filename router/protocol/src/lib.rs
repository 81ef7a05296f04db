//! What the router and a cell say to each other: one JSON object a line over the socketpair that
//! a cell inherits as its standard input. Private to the two, and free to change with them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use switchyard_bridge::event::Diagnostic;

/// From the router to a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToCell {
    /// Turns a spare into the process of one version. Sent once.
    Start(Start),
    /// No request will come any more: let the project say goodbye and exit 0.
    Drain,
}

/// From a cell to the router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromCell {
    /// V8 and the start-up snapshot are loaded; a `Start` will be answered at once.
    Ready,
    /// The handler answers HTTP/1.1 on the socket that `Start` named.
    Serving,
    /// The version cannot be served. The cell exits by itself after it.
    Failed(Diagnostic),
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
    /// Where the project's `node_modules` really is, when it has one.
    pub node_modules: Option<PathBuf>,
    /// The entry, relative to `checkout`, with `/` between.
    pub entry: String,
    /// Where to listen, whatever port the code names.
    pub socket: PathBuf,
    /// The whole environment that the project sees.
    pub env: BTreeMap<String, String>,
}
