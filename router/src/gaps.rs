//! The parts of the sandbox around cells that are weaker on this machine than they could be.

use std::sync::{Arc, Mutex, MutexGuard};

/// The gaps that are kept: a few of the machine's, and one for each path that projects cannot use by themselves.
const MOST: usize = 50;

/// What is missing, each in words, for the log and `/readyz`. Clones are the same list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gaps(Arc<Mutex<Vec<String>>>);

impl Gaps {
    /// Adds what is missing, and logs it the first time.
    pub(crate) fn add(&self, missing: String) {
        let mut all = self.lock();
        if all.len() < MOST && !all.contains(&missing) {
            tracing::warn!("sandbox is weaker on this kernel: missing {missing}");
            all.push(missing);
        }
    }

    /// All of them, in the order in which they were found.
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
