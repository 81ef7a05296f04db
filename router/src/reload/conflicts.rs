//! The order of claims, and an index of the refused ones. Pure but for the clock.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use switchyard_contract::project::ProjectName;

/// The claims that concern several projects.
#[derive(Debug)]
pub(super) struct ClaimIndex {
    /// The projects with refused claims, by the project that holds the claimed routes.
    refused: BTreeMap<ProjectName, BTreeSet<ProjectName>>,
    /// The time of the last claim. During the scan at start: the time of all claims that are first
    /// seen by it.
    last: Timestamp,
}

impl Default for ClaimIndex {
    fn default() -> Self {
        Self { refused: BTreeMap::new(), last: Timestamp::MIN }
    }
}

impl ClaimIndex {
    /// Makes all further claims later than those that earlier runs have recorded.
    pub(super) fn begin_after<'a>(&mut self, recorded: impl Iterator<Item = &'a Timestamp>) {
        let last = recorded.max().copied().map(after);
        self.last = Timestamp::now().max(last.unwrap_or(Timestamp::MIN));
    }

    /// The time of the claims of versions that become live now: later than all claims before,
    /// whatever the clock says.
    pub(super) fn next(&mut self) -> Timestamp {
        self.last = Timestamp::now().max(after(self.last));
        self.last
    }

    /// The time of the last claim.
    pub(super) fn last(&self) -> Timestamp {
        self.last
    }

    /// The projects whose claims are refused in favor of `holder`.
    pub(super) fn claimants(&self, holder: &ProjectName) -> impl Iterator<Item = &ProjectName> {
        self.refused.get(holder).into_iter().flatten()
    }

    /// Notes that the claims of `project` are refused in favor of the projects `now`, not `before`.
    pub(super) fn update(
        &mut self,
        project: &ProjectName,
        before: &BTreeSet<ProjectName>,
        now: &BTreeSet<ProjectName>,
    ) {
        for holder in before.difference(now) {
            if let Some(claimants) = self.refused.get_mut(holder) {
                claimants.remove(project);
                if claimants.is_empty() {
                    self.refused.remove(holder);
                }
            }
        }
        for holder in now {
            self.refused.entry(holder.clone()).or_default().insert(project.clone());
        }
    }
}

/// The next representable moment.
fn after(moment: Timestamp) -> Timestamp {
    moment.checked_add(SignedDuration::from_nanos(1)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<ProjectName> {
        names.iter().map(|name| ProjectName::parse(name).unwrap()).collect()
    }

    #[test]
    fn claims_are_later_than_recorded_ones_and_than_each_other_whatever_the_clock_says() {
        let mut index = ClaimIndex::default();
        let future = Timestamp::now().checked_add(SignedDuration::from_hours(1)).unwrap();
        index.begin_after([future].iter());
        assert!(index.last() > future);
        let first = index.next();
        assert!(index.next() > first && first > future);
    }

    #[test]
    fn a_holder_knows_the_projects_whose_claims_it_refuses() {
        let mut index = ClaimIndex::default();
        let all = names(&["a", "b", "c"]);
        let [a, b, c]: [ProjectName; 3] = all.into_iter().collect::<Vec<_>>().try_into().unwrap();
        index.update(&a, &names(&[]), &names(&["b", "c"]));
        assert_eq!(index.claimants(&b).collect::<Vec<_>>(), [&a]);
        index.update(&a, &names(&["b", "c"]), &names(&["c"]));
        assert_eq!(index.claimants(&b).count(), 0);
        assert_eq!(index.claimants(&c).collect::<Vec<_>>(), [&a]);
    }
}
