//! Read your own deploy: which router still serves a project as it was before a deploy that is over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::state::Serves;

/// The marks, by the router's name and the project's. They are kept by name, so that a router that is
/// away for a while, and comes back, still lags.
#[derive(Debug, Default)]
pub(super) struct Lags(RwLock<BTreeMap<String, BTreeMap<String, Mark>>>);

/// One project that one router lags in.
#[derive(Debug)]
struct Mark {
    /// What the deploy made of it.
    published: Serves,
    /// What is older than that: a digest more for each deploy that the router has missed.
    older: BTreeSet<Serves>,
    /// The router has said what it serves.
    told: bool,
}

impl Lags {
    /// Marks `router`. `serves` is what it is known to serve, `others` what other routers are: that, too,
    /// may be what this one was about to serve. A router that serves what was published is not marked.
    pub(super) fn mark(
        &self,
        router: &str,
        project: &str,
        published: Serves,
        serves: Serves,
        others: impl IntoIterator<Item = Serves>,
    ) {
        let mut all = self.write();
        let marks = all.entry(router.to_owned()).or_default();
        let earlier = marks.remove(project);
        if serves != published {
            let mut mark =
                Mark { published, told: serves != Serves::Unknown, older: BTreeSet::from([serves]) };
            mark.older.extend(others);
            if let Some(earlier) = earlier {
                mark.told |= earlier.told;
                mark.older.extend(earlier.older);
                mark.older.insert(earlier.published);
            }
            mark.older.remove(&mark.published);
            marks.insert(project.to_owned(), mark);
        }
        if marks.is_empty() {
            all.remove(router);
        }
    }

    /// Takes away the marks of what `router` has caught up with, by what it `serves` of a project now.
    /// Returns whether there was one.
    pub(super) fn settle(&self, router: &str, serves: impl Fn(&str) -> Serves) -> bool {
        if self.of(router).is_empty() {
            return false;
        }
        let mut all = self.write();
        let Some(marks) = all.get_mut(router) else { return false };
        let before = marks.len();
        marks.retain(|project, mark| !mark.is_over(serves(project)));
        let settled = marks.len() != before;
        if marks.is_empty() {
            all.remove(router);
        }
        settled
    }

    pub(super) fn lags(&self, router: &str, project: &str) -> bool {
        self.read().get(router).is_some_and(|marks| marks.contains_key(project))
    }

    /// The projects that `router` lags in.
    pub(super) fn of(&self, router: &str) -> Vec<String> {
        self.read().get(router).map(|marks| marks.keys().cloned().collect()).unwrap_or_default()
    }

    /// Every project that a router lags in.
    pub(super) fn projects(&self) -> BTreeSet<String> {
        self.read().values().flat_map(|marks| marks.keys().cloned()).collect()
    }

    /// Forgets routers that are not `known`.
    pub(super) fn keep(&self, known: impl Fn(&str) -> bool) {
        self.write().retain(|router, _| known(router));
    }

    /// How many routers lag.
    pub(super) fn len(&self) -> usize {
        self.read().len()
    }

    // The map is whole between any two of its calls.
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, BTreeMap<String, Mark>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, BTreeMap<String, Mark>>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mark {
    /// Whether `serves` is newer than what was live before the deploy.
    fn is_over(&mut self, serves: Serves) -> bool {
        if serves == Serves::Unknown {
            return false;
        }
        if serves == self.published {
            return true;
        }
        // The first word of a router that had never said anything: nothing tells that it is newer.
        if !std::mem::replace(&mut self.told, true) {
            self.older.insert(serves);
            return false;
        }
        !self.older.contains(&serves)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Serves {
        Serves::Digest(text.to_owned())
    }

    /// Marks r1 and blog.
    fn mark(lags: &Lags, published: &Serves, serves: Serves) {
        lags.mark("r1", "blog", published.clone(), serves, []);
    }

    fn lags_with(lags: &Lags, serves: Serves) -> bool {
        lags.settle("r1", |_| serves.clone());
        lags.lags("r1", "blog")
    }

    #[test]
    fn a_router_lags_until_it_serves_another_version_than_before() {
        for newer in [digest("new"), digest("newer still"), Serves::Nothing] {
            let lags = Lags::default();
            mark(&lags, &digest("new"), digest("old"));
            assert!(lags_with(&lags, digest("old")));
            assert!(lags_with(&lags, Serves::Unknown), "as after a restart");
            assert!(lags_with(&lags, digest("old")));
            assert_eq!(lags.of("r1"), ["blog"]);
            assert!(!lags_with(&lags, newer));
            assert_eq!(lags.len(), 0);
        }
    }

    #[test]
    fn a_router_that_serves_what_was_published_does_not_lag() {
        let lags = Lags::default();
        mark(&lags, &digest("new"), digest("new"));
        mark(&lags, &Serves::Nothing, Serves::Nothing);
        assert_eq!(lags.len(), 0);
    }

    #[test]
    fn a_project_that_is_new_or_deleted_is_lagged_in_too() {
        let lags = Lags::default();
        mark(&lags, &digest("new"), Serves::Nothing);
        assert!(lags_with(&lags, Serves::Nothing));
        assert!(!lags_with(&lags, digest("new")));
        mark(&lags, &Serves::Nothing, digest("old"));
        assert!(lags_with(&lags, digest("old")));
        assert!(!lags_with(&lags, Serves::Nothing));
    }

    #[test]
    fn a_router_that_had_said_nothing_lags_in_what_it_says_first_unless_that_was_published() {
        let lags = Lags::default();
        mark(&lags, &digest("new"), Serves::Unknown);
        assert!(lags_with(&lags, digest("old")));
        assert!(!lags_with(&lags, digest("newer")));
        mark(&lags, &digest("new"), Serves::Unknown);
        assert!(!lags_with(&lags, digest("new")));
    }

    #[test]
    fn what_deploys_before_the_last_one_published_is_older_too() {
        let lags = Lags::default();
        mark(&lags, &digest("2"), digest("1"));
        mark(&lags, &digest("3"), digest("1"));
        assert!(lags_with(&lags, digest("2")));
        // Back to what was first.
        mark(&lags, &digest("1"), digest("2"));
        assert!(lags_with(&lags, digest("3")));
        assert!(!lags_with(&lags, digest("1")));
    }

    #[test]
    fn what_other_routers_served_is_older_too() {
        let lags = Lags::default();
        for serves in [digest("1"), Serves::Unknown] {
            lags.mark("r1", "blog", digest("3"), serves, [digest("2"), digest("3"), Serves::Unknown]);
            assert!(lags_with(&lags, digest("1")));
            assert!(lags_with(&lags, digest("2")), "told late");
            assert!(!lags_with(&lags, digest("3")));
        }
    }
}
