//! The decision whether and when another cell follows one that crashed. Pure: the time is passed
//! in.

use std::time::Duration;

/// Lifetime after which a cell has proven its version: earlier crashes are forgotten.
const STABLE: Duration = Duration::from_secs(60);

/// The pause before the third cell; the second follows the first at once. The pause doubles with
/// each crash. A start takes some 50 ms of a core, so a version that crashes at once uses a tenth
/// of a core after a second.
const PAUSE: Duration = Duration::from_millis(100);

/// Number of crashes at which the version is stopped: seven restarts, with 6.3 s of pauses in all.
/// A database may be away for that long, and a crash loop ends before it costs much.
const MOST: u32 = 8;

/// The crashes in a row of one version, and its state while it has no cell.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Restarts {
    crashes: u32,
    pub(super) rest: DownReason,
}

/// The reason why a live version has no cells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum DownReason {
    /// The version was idle. The next request starts a cell.
    #[default]
    Idle,
    /// A cell crashed. Another one follows without a request.
    Restarting,
    /// Cells crashed too often.
    Stopped,
}

impl Restarts {
    /// Notes the crash of one of `cells` cells, which are likely to crash together, after the
    /// lifetime `lived`. Returns the pause before the next cell. `None`: there will be no next one.
    pub(super) fn note_crash(&mut self, lived: Duration, cells: usize) -> Option<Duration> {
        if lived >= STABLE {
            self.crashes = 0;
        }
        self.crashes += 1;
        let in_a_row = self.crashes.div_ceil(u32::try_from(cells.max(1)).unwrap_or(u32::MAX));
        if in_a_row >= MOST {
            self.rest = DownReason::Stopped;
            return None;
        }
        self.rest = DownReason::Restarting;
        Some(match in_a_row {
            1 => Duration::ZERO,
            crashes => PAUSE * 2_u32.pow(crashes - 2),
        })
    }

    /// A new count for a version whose next cell is about to start.
    pub(super) fn fresh() -> Self {
        Self { crashes: 0, rest: DownReason::Restarting }
    }

    /// Notes that another cell serves. `more`: further ones are about to start.
    pub(super) fn started(&mut self, more: bool) {
        self.rest = if more { DownReason::Restarting } else { DownReason::Idle };
    }

    /// The number of crashes in a row.
    pub(super) fn crashes(&self) -> u32 {
        self.crashes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_secs(59);

    fn millis(restarts: &mut Restarts, lived: Duration) -> Option<u128> {
        restarts.note_crash(lived, 1).map(|pause| pause.as_millis())
    }

    #[test]
    fn pauses_double_until_there_is_no_other_cell() {
        let mut restarts = Restarts::default();
        let pauses: Vec<_> = std::iter::from_fn(|| millis(&mut restarts, SHORT)).collect();
        assert_eq!(pauses, [0, 100, 200, 400, 800, 1600, 3200]);
        assert_eq!((restarts.rest, restarts.crashes()), (DownReason::Stopped, MOST));
    }

    #[test]
    fn a_cell_that_lived_long_enough_makes_the_next_crash_a_first_one() {
        let mut restarts = Restarts::default();
        for _ in 1..MOST {
            assert!(restarts.note_crash(SHORT, 1).is_some());
            restarts.started(false);
        }
        assert_eq!(millis(&mut restarts, STABLE), Some(0));
        assert_eq!(millis(&mut restarts, SHORT), Some(100));
    }

    #[test]
    fn cells_that_crash_together_are_counted_as_one() {
        let mut restarts = Restarts::default();
        let pauses: Vec<_> =
            std::iter::from_fn(|| restarts.note_crash(SHORT, 4)).map(|pause| pause.as_millis()).collect();
        assert_eq!(pauses[..9], [0, 0, 0, 0, 100, 100, 100, 100, 200]);
        assert_eq!(pauses.len(), 4 * 7);
    }

    #[test]
    fn a_start_alone_forgets_nothing() {
        let mut restarts = Restarts::default();
        assert_eq!(millis(&mut restarts, SHORT), Some(0));
        assert_eq!(restarts.rest, DownReason::Restarting);
        restarts.started(false);
        assert_eq!(restarts.rest, DownReason::Idle);
        assert_eq!(millis(&mut restarts, Duration::ZERO), Some(100));
    }
}
