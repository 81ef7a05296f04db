//! The parts of the sandbox around cells that are weaker on this machine than they could be.

use std::sync::{Arc, Mutex, MutexGuard};

/// Gaps that are kept: a few of the machine, and one for each path that projects cannot use on their own.
const MOST: usize = 50;

/// The gaps as texts, for the log and `/readyz`. Clones share one list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gaps(Arc<Mutex<Vec<String>>>);

impl Gaps {
    /// Adds a gap, and logs it the first time.
    pub(crate) fn add(&self, missing: String) {
        let mut all = self.lock();
        if all.len() < MOST && !all.contains(&missing) {
            tracing::warn!("sandbox is weaker on this kernel: missing {missing}");
            all.push(missing);
        }
    }

    /// Returns all gaps in the order in which they were found.
    pub(crate) fn all(&self) -> Vec<String> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gap_is_there_once_and_they_are_bounded() {
        let gaps = Gaps::default();
        for number in 0..2 * MOST {
            gaps.add(format!("part {}", number / 2));
            gaps.add("part 0".to_owned());
        }
        assert_eq!(gaps.all().len(), MOST);
        gaps.add("another".to_owned());
        assert_eq!(gaps.all().len(), MOST);
    }
}
