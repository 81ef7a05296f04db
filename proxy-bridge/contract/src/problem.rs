//! Problem documents (RFC 9457) as a client reads them.

use serde::Deserialize;

use crate::deploy::RouterReport;
use crate::event::Diagnostic;

/// The body of an answer `application/problem+json` of router and bridge. Members that a problem does
/// not have are `None`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct ProblemDocument {
    /// `urn:switchyard:problem:` and the problem's stable name. Empty in documents of others.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The phrase that belongs to the HTTP status.
    pub title: Option<String>,
    /// A sentence that says what is wrong and how to fix it.
    pub detail: Option<String>,
    /// The file or entry of an upload that the problem is about, as it was named.
    pub part: Option<String>,
    /// The header, query parameter, flag or property that the problem is about.
    pub field: Option<String>,
    /// The project that the problem is about.
    pub project: Option<String>,
    /// The reason why the version does not build.
    pub error: Option<Diagnostic>,
    /// The last report of each router in the deploy that failed. Empty otherwise.
    #[serde(default)]
    pub routers: Vec<RouterReport>,
}

impl ProblemDocument {
    /// The problem's stable name: the end of its type.
    pub fn name(&self) -> &str {
        self.kind.rsplit(':').next().unwrap_or_default()
    }
}
