//! The branches that a server has, and the times of their commits.

use std::collections::BTreeMap;

use super::{MAX_REFS, Mirror, kept_ref, refs};
use crate::git::command::Call;
use crate::git::{GitError, ObjectId};

const HEADS: &str = "refs/heads/";

/// Beginnings that one question has. With more, all branches are asked for.
const MAX_BEGINNINGS: usize = 64;

/// Bound of the answer to the question for a time, in bytes.
const MAX_TIME: u64 = 64;

impl Mirror {
    /// Asks the server for the branches whose names begin with one of these texts, or with more. Only
    /// branches are found: no tags, and no requests to merge.
    ///
    /// # Errors
    /// The server cannot be reached, or has too many refs.
    pub async fn branches(&self, beginnings: &[&str]) -> Result<BTreeMap<String, ObjectId>, GitError> {
        if beginnings.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut asked: Vec<_> = beginnings.iter().map(|beginning| format!("{HEADS}{beginning}*")).collect();
        asked.sort();
        asked.dedup();
        if asked.len() > MAX_BEGINNINGS {
            asked = vec![format!("{HEADS}*")];
        }
        let mut args = vec!["ls-remote", "--quiet", "--", self.remote.url.as_str()];
        args.extend(asked.iter().map(String::as_str));
        let printed = self.ask(None, &args, MAX_REFS).await?;
        // Git matches names by their ends, too.
        let branches = refs(&printed).into_iter().filter_map(|(name, id)| {
            let branch = name.strip_prefix(HEADS)?;
            let is_asked = beginnings.iter().any(|beginning| branch.starts_with(beginning));
            is_asked.then(|| (branch.to_owned(), id))
        });
        Ok(branches.collect())
    }

    /// Returns the time at which a commit that is kept for `source` was committed, in seconds since
    /// 1970. The author of the commit can set it to any time.
    ///
    /// # Errors
    /// The commit is not kept for the source, or the mirror is damaged.
    pub async fn committed_at(&self, source: &str, commit: &ObjectId) -> Result<i64, GitError> {
        let kept = kept_ref(source, commit)?;
        let args = ["for-each-ref", "--format=%(committerdate:unix)", &kept];
        let printed = self.git.output(Call { most: MAX_TIME, ..Call::local(self.path(), &args) }).await?;
        let time = std::str::from_utf8(&printed).ok().and_then(|time| time.trim().parse().ok());
        time.ok_or_else(|| GitError::Damaged(format!("commit {} has no time", commit.short())))
    }
}
