//! The count of a cell's bad answers, by which the prober selects the cells that it probes.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

/// Number of bad answers in a row that make a cell suspect: errors (4xx too, because Node's parser
/// of requests can be broken) and answers that never came. A suspect cell is probed, which costs it
/// as much as a request.
const SUSPECT: u32 = 3;

/// The count of a cell's bad answers. Costs every request a relaxed load.
#[derive(Debug, Default)]
pub(crate) struct AnswerTally {
    /// The number of bad answers in a row.
    bad: AtomicU32,
    is_probed: AtomicBool,
}

/// The answer to a request that is in the cell. Dropped before it comes, it counts as one that
/// never came.
pub(crate) struct PendingAnswer<'a>(Option<&'a AnswerTally>);

impl AnswerTally {
    /// Counts the outcome of a request.
    pub(crate) fn begin_request(&self) -> PendingAnswer<'_> {
        PendingAnswer(Some(self))
    }

    /// Counts a good answer.
    pub(super) fn good(&self) {
        if self.bad.load(Relaxed) != 0 {
            self.bad.store(0, Relaxed);
        }
    }

    /// Returns true if the cell is to be probed.
    pub(super) fn is_suspect(&self) -> bool {
        self.bad.load(Relaxed) >= SUSPECT
    }

    /// Returns true if no probes of the cell are under way, and notes that they are now.
    pub(super) fn begin_probes(&self) -> bool {
        !self.is_probed.swap(true, Relaxed)
    }

    /// Notes that the cell may be probed again.
    pub(super) fn end_probes(&self) {
        self.is_probed.store(false, Relaxed);
    }
}

impl PendingAnswer<'_> {
    /// Counts the answer of the cell.
    pub(crate) fn record_status(mut self, status: http::StatusCode) {
        if !status.is_client_error()
            && !status.is_server_error()
            && let Some(answers) = self.0.take()
        {
            answers.good();
        }
    }

    /// Does not count a request that the cell did not get.
    pub(crate) fn discard(mut self) {
        self.0 = None;
    }
}

impl Drop for PendingAnswer<'_> {
    fn drop(&mut self) {
        if let Some(answers) = self.0 {
            answers.bad.fetch_add(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn after(outcomes: &[Option<u16>]) -> bool {
        let answers = AnswerTally::default();
        for outcome in outcomes {
            let begin_request = answers.begin_request();
            if let Some(status) = outcome {
                begin_request.record_status(StatusCode::from_u16(*status).unwrap());
            }
        }
        answers.begin_request().discard();
        answers.is_suspect()
    }

    #[test]
    fn three_bad_answers_in_a_row_make_a_cell_suspect_and_a_good_one_clears_it() {
        assert!(!after(&[]) && !after(&[Some(500), None]));
        assert!(after(&[Some(500), None, Some(400)]));
        assert!(!after(&[Some(500), None, Some(503), Some(302)]));
        assert!(!after(&[Some(500), Some(200), None, Some(500)]));
    }
}
