//! The path prefixes that projects claim, as a tree of segments: a lookup takes one step per
//! segment.

use std::cmp::Ordering;
use std::sync::Arc;

use rpds::HashTrieMapSync;

use super::claimants::{Claimants, TopClaim};
use switchyard_contract::project::ProjectName;
use switchyard_contract::route::upper_hex;

/// A segment of a prefix, and those that may follow it. A clone shares everything with the
/// original.
#[derive(Debug, Clone)]
pub(super) struct Prefixes {
    /// The claimants of the prefix that ends here.
    claimants: Claimants,
    below: HashTrieMapSync<String, Arc<Self>>,
}

/// The claim that gets the requests of a path.
#[derive(Debug, Clone, Copy)]
pub(super) struct PrefixMatch<'a> {
    pub(super) top: TopClaim<'a>,
    /// The length of the prefix, in bytes of the path.
    pub(super) length: usize,
}

impl Default for Prefixes {
    fn default() -> Self {
        Self { claimants: Claimants::default(), below: HashTrieMapSync::new_sync() }
    }
}

impl Prefixes {
    /// Changes the claimants of `prefix`, which begins with `/` and does not end with it.
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

    /// Returns the claim that gets the requests of `path`: see [`PrefixMatch::over`].
    pub(super) fn best(&self, path: &str) -> Option<PrefixMatch<'_>> {
        let mut best: Option<PrefixMatch<'_>> = None;
        for (level, length) in self.along(path) {
            let Some(top) = level.claimants.top() else { continue };
            let next = PrefixMatch { top, length };
            best = Some(best.map_or(next, |shorter| next.over(shorter)));
        }
        best
    }

    /// Returns the levels that lead to `path`, each with the length of its prefix.
    fn along<'a, 'p>(&'a self, path: &'p str) -> impl Iterator<Item = (&'a Self, usize)> + use<'a, 'p> {
        let segments = path.strip_prefix('/').into_iter().flat_map(|path| path.split('/'));
        segments.scan((self, 0), |(level, length), segment| {
            *level = level.below.get(&*upper_hex(segment))?;
            *length += 1 + segment.len();
            Some((*level, *length))
        })
    }

    /// Returns the number of levels that a lookup of `path` visits.
    #[cfg(test)]
    pub(super) fn steps(&self, path: &str) -> usize {
        self.along(path).count()
    }

    /// Returns the claimants of `prefix` and of the prefixes above it.
    pub(super) fn above<'a>(&'a self, prefix: &str) -> impl Iterator<Item = &'a ProjectName> + use<'a> {
        let levels: Vec<_> = self.along(prefix).map(|(level, _)| level).collect();
        levels.into_iter().flat_map(|level| level.claimants.projects())
    }

    /// Returns `prefix` and the prefixes below it, each with its claimants.
    pub(super) fn within<'a>(
        &'a self,
        prefix: &str,
    ) -> impl Iterator<Item = (String, &'a Claimants)> + use<'a> {
        let mut levels = Vec::new();
        if let Some((level, length)) = self.along(prefix).last().filter(|(_, length)| *length == prefix.len())
        {
            levels.push((prefix[..length].to_owned(), level));
        }
        std::iter::from_fn(move || {
            let (prefix, level) = levels.pop()?;
            levels
                .extend(level.below.iter().map(|(segment, below)| (format!("{prefix}/{segment}"), &**below)));
            Some((prefix, &level.claimants))
        })
    }
}

impl PrefixMatch<'_> {
    /// Returns the one of two claims that gets a path which both lead to. `self` has the longer
    /// prefix, and gets the path if both belong to one project, if it is assigned by the policy, or
    /// if it is the earlier one. Otherwise it would take a part of another project's prefix.
    fn over(self, shorter: Self) -> Self {
        let (longer, short) = (self.top, shorter.top);
        if longer.first == short.first && short.rival.is_none() {
            let rival = longer.rival.filter(|_| longer.rank <= short.rank);
            let rank = longer.rank.min(short.rank);
            return Self { top: TopClaim { rank, rival, ..longer }, ..self };
        }
        if longer.rank.is_assigned() {
            return self;
        }
        match longer.rank.cmp(&short.rank) {
            Ordering::Less => self,
            Ordering::Equal => {
                let rival = [short.first].into_iter().chain(short.rival);
                let rival = rival.into_iter().find(|project| *project != longer.first);
                Self { top: TopClaim { rival: longer.rival.or(rival), ..longer }, ..self }
            }
            Ordering::Greater => shorter,
        }
    }
}
