//! Grants that several versions have. Most of thousands of projects request nothing, so their grants
//! are equal, and a grant is larger than everything else of an idle project.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::Grant;

/// Maximum number of grants that are compared with a new one.
const MAX: usize = 32;

/// The grants that were given last.
#[derive(Debug, Default)]
pub(super) struct SharedGrants(Mutex<Vec<Weak<Grant>>>);

impl SharedGrants {
    /// Returns a grant that equals `grant`: one that was given before, or `grant` itself.
    pub(super) fn share(&self, grant: Grant) -> Arc<Grant> {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(equal) = given.iter().filter_map(Weak::upgrade).find(|given| **given == grant) {
            return equal;
        }
        let grant = Arc::new(grant);
        given.retain(|given| given.strong_count() > 0);
        if given.len() < MAX {
            given.push(Arc::downgrade(&grant));
        }
        grant
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_grants_are_one_while_somebody_has_it_and_others_are_bounded() {
        let shared = SharedGrants::default();
        let first = shared.share(Grant::default());
        assert!(Arc::ptr_eq(&first, &shared.share(Grant::default())));
        let others: Vec<_> = (1..2 * MAX)
            .map(|cells| shared.share(Grant { cells: 100 + cells, ..Grant::default() }))
            .collect();
        assert!(Arc::ptr_eq(&others[0], &shared.share((*others[0]).clone())));
        assert_eq!(shared.0.lock().unwrap().len(), MAX);
        drop((first, others));
        shared.share(Grant::default());
        assert_eq!(shared.0.lock().unwrap().len(), 1);
    }
}
