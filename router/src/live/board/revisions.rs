//! Values by name, with the changes since a revision.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The number of removals that are remembered: as many as `GET /events` can replay. An answer about
/// earlier ones lists every value.
const REMOVED_KEPT: usize = 1000;

/// The values. Each change has a number, the revision. The cost of a change, and of listing the
/// changes since a revision, grows with the number of changes and not with that of all values.
#[derive(Debug)]
pub(super) struct Revisions<T> {
    values: BTreeMap<String, (u64, T)>,
    /// The name of the value that each revision has changed last.
    changed: BTreeMap<u64, String>,
    /// The oldest first.
    removed: VecDeque<(u64, String)>,
    last: u64,
    /// Removals up to this revision are forgotten.
    forgotten: u64,
}

/// The changes after a revision.
#[derive(Debug)]
pub(super) struct RevisionChanges<'r, T> {
    /// By name.
    pub(super) values: Vec<&'r T>,
    pub(super) removed: Vec<String>,
}

impl<T> Default for Revisions<T> {
    fn default() -> Self {
        Self {
            values: BTreeMap::new(),
            changed: BTreeMap::new(),
            removed: VecDeque::new(),
            last: 0,
            forgotten: 0,
        }
    }
}

impl<T> Revisions<T> {
    /// Replaces a value. This is a change unless the value before is the `same`.
    pub(super) fn put(&mut self, name: &str, value: T, same: impl FnOnce(&T, &T) -> bool) {
        if let Some((_, before)) = self.values.get_mut(name)
            && same(before, &value)
        {
            *before = value;
            return;
        }
        self.last += 1;
        if let Some((revision, _)) = self.values.insert(name.to_owned(), (self.last, value)) {
            self.changed.remove(&revision);
        }
        self.changed.insert(self.last, name.to_owned());
    }

    pub(super) fn remove(&mut self, name: &str) {
        let Some((revision, _)) = self.values.remove(name) else { return };
        self.changed.remove(&revision);
        self.last += 1;
        self.removed.push_back((self.last, name.to_owned()));
        if self.removed.len() > REMOVED_KEPT
            && let Some((revision, _)) = self.removed.pop_front()
        {
            self.forgotten = revision;
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&T> {
        self.values.get(name).map(|(_, value)| value)
    }

    /// All values, by name.
    pub(super) fn all(&self) -> impl Iterator<Item = &T> {
        self.values.values().map(|(_, value)| value)
    }

    /// The number of the last change.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// The changes after `since`. `None`: not all of them are known, or there has been no such
    /// revision.
    pub(super) fn since(&self, since: u64) -> Option<RevisionChanges<'_, T>> {
        if since < self.forgotten || since > self.last {
            return None;
        }
        let changed: BTreeSet<_> = self.changed.range(since + 1..).map(|(_, name)| name.as_str()).collect();
        let from = self.removed.partition_point(|(revision, _)| *revision <= since);
        // A value that was put again is not removed.
        let removed: BTreeSet<_> = self
            .removed
            .range(from..)
            .map(|(_, name)| name)
            .filter(|name| !self.values.contains_key(*name))
            .cloned()
            .collect();
        Some(RevisionChanges {
            values: changed.into_iter().filter_map(|name| self.get(name)).collect(),
            removed: removed.into_iter().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(revisions: &mut Revisions<u32>, name: &str, value: u32) {
        revisions.put(name, value, u32::eq);
    }

    fn since(revisions: &Revisions<u32>, revision: u64) -> Option<(Vec<u32>, Vec<String>)> {
        let changes = revisions.since(revision)?;
        Some((changes.values.into_iter().copied().collect(), changes.removed))
    }

    #[test]
    fn the_changes_list_the_one_value_of_a_thousand_that_changed() {
        let mut revisions = Revisions::default();
        for n in 0..1000 {
            put(&mut revisions, &format!("p{n:04}"), n);
        }
        let before = revisions.last();
        assert_eq!(since(&revisions, before), Some((vec![], vec![])));
        put(&mut revisions, "p0500", 7);
        put(&mut revisions, "p0500", 8);
        assert_eq!(since(&revisions, before), Some((vec![8], vec![])));
        assert_eq!(since(&revisions, before + 1), Some((vec![8], vec![])));
        assert_eq!(since(&revisions, before + 2), Some((vec![], vec![])));
        assert_eq!(revisions.changed.len(), 1000, "one entry for each value");
    }

    #[test]
    fn a_value_that_is_the_same_is_no_change() {
        let mut revisions = Revisions::default();
        put(&mut revisions, "a", 1);
        put(&mut revisions, "a", 1);
        assert_eq!(revisions.last(), 1);
    }

    #[test]
    fn the_changes_list_a_removal_until_the_name_is_back() {
        let mut revisions = Revisions::default();
        put(&mut revisions, "a", 1);
        put(&mut revisions, "b", 2);
        revisions.remove("a");
        revisions.remove("never there");
        assert_eq!(since(&revisions, 2), Some((vec![], vec!["a".to_owned()])));
        assert_eq!(since(&revisions, 0), Some((vec![2], vec!["a".to_owned()])));
        put(&mut revisions, "a", 3);
        assert_eq!(since(&revisions, 2), Some((vec![3], vec![])));
    }

    #[test]
    fn changes_since_forgotten_removals_or_future_revisions_are_not_known() {
        let mut revisions = Revisions::default();
        for n in 0..=REMOVED_KEPT {
            put(&mut revisions, &n.to_string(), 1);
            revisions.remove(&n.to_string());
        }
        assert_eq!(revisions.removed.len(), REMOVED_KEPT);
        assert_eq!(since(&revisions, 1), None);
        assert_eq!(since(&revisions, 2).unwrap().1.len(), REMOVED_KEPT);
        assert_eq!(since(&revisions, revisions.last() + 1), None);
    }
}
