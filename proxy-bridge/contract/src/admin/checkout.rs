//! Checkouts that a router keeps, and the lines that cells print.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /projects/{name}/checkouts`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Checkouts {
    /// The newest first.
    pub checkouts: Vec<CheckoutInfo>,
}

/// A version whose files a router still has. `GET /projects/{name}/checkouts/{short}` answers them as
/// a tar.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CheckoutInfo {
    /// The version's name: `blog@3f9a1c2b7d4e`.
    pub version: String,
    /// The first 12 digits of the version's digest.
    pub short: String,
    /// The time at which the checkout was made.
    pub at: Timestamp,
    /// `true`: the version gets new requests.
    pub live: bool,
}

/// One line that a cell printed: the data of the events of `GET /projects/{name}/logs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// The time at which the router read the line.
    pub timestamp: Timestamp,
    /// The project's name.
    pub project: String,
    /// The name of the version that printed the line.
    pub version: String,
    /// The process that printed the line.
    pub pid: u32,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// The `x-request-id` of the request that the line is about. Absent when it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// `true`: the line was longer than 64 KiB, and the next line of the same process and stream
    /// continues it. Absent otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continues: bool,
    /// The text without its line end.
    pub line: String,
}
