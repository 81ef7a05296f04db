//! The path prefixes that projects claim, as a tree by segments: finding one takes as many steps as it has segments.

use std::sync::Arc;

use rpds::HashTrieMapSync;

use super::Claimants;
use crate::project::ProjectName;

/// A segment of a prefix, and those that may follow it. A clone shares all with the original.
#[derive(Debug, Clone)]
pub(super) struct Prefixes {
    /// Of the prefix that ends here.
    claimants: Claimants,
    below: HashTrieMapSync<String, Arc<Self>>,
}

impl Default for Prefixes {
    fn default() -> Self {
        Self { claimants: Claimants::new_sync(), below: HashTrieMapSync::new_sync() }
    }
}

impl Prefixes {
    /// Changes who claims `prefix`, which begins with `/` and does not end with it.
    pub(super) fn change(&mut self, prefix: &str, change: impl FnOnce(&mut Claimants)) {
        let segments: Vec<_> = prefix.split('/').skip(1).collect();
        let mut level = self.clone();
        let mut above = Vec::new();
        for segment in &segments {
            let below = level.below.get(*segment).map(|below| Self::clone(below)).unwrap_or_default();
            above.push(std::mem::replace(&mut level, below));
        }
        change(&mut level.claimants);
        for (mut parent, segment) in above.into_iter().zip(segments).rev() {
            if level.claimants.is_empty() && level.below.is_empty() {
                parent.below.remove_mut(segment);
            } else {
                parent.below.insert_mut(segment.to_owned(), Arc::new(level));
            }
            level = parent;
        }
        *self = level;
    }

    /// The project that has the longest prefix of `path` that ends with a segment, and the length of that prefix.
    pub(super) fn longest(&self, path: &str) -> Option<(&ProjectName, usize)> {
        let (mut level, mut length, mut longest) = (self, 0, None);
        for segment in path.strip_prefix('/')?.split('/') {
            let Some(below) = level.below.get(segment) else { break };
            level = below;
            length += 1 + segment.len();
            longest = level.claimants.first().map(|project| (project, length)).or(longest);
        }
        longest
    }
}
