//! The commit that the files of a version came from.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The commit that a deploy came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CommitInfo {
    /// The source's name.
    pub source: String,
    /// The commit's id: 40 or 64 hex digits.
    pub commit: String,
    /// The name of the ref that led to the commit, as in `refs/heads/main`. `null` for a commit that
    /// was asked for by its id.
    #[serde(rename = "ref")]
    pub ref_name: Option<String>,
}

impl CommitInfo {
    /// Returns true if the id is one: 40 or 64 of 0-9 and a-f.
    pub fn has_valid_id(&self) -> bool {
        let is_hex = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        matches!(self.commit.len(), 40 | 64) && self.commit.bytes().all(is_hex)
    }

    /// The first digits of the id, as in tables and texts: at most 12.
    pub fn short(&self) -> &str {
        self.commit.get(..12).unwrap_or(&self.commit)
    }
}
