//! Flow control: the bytes of body that may be under way in one direction of a stream.

use super::{FrameError, WINDOW};

/// The credit of a sender: the bytes that the receiver still takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendCredit(u32);

/// The credit that a receiver has given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiveCredit {
    /// Bytes that the sender may still send.
    left: u32,
    /// Bytes that the reader has taken since the last top-up.
    taken: u32,
}

impl Default for SendCredit {
    fn default() -> Self {
        Self(WINDOW)
    }
}

impl SendCredit {
    /// The bytes that may be sent.
    #[must_use]
    pub const fn left(self) -> usize {
        self.0 as usize
    }

    /// Counts `bytes` that are sent: at most those that are left.
    pub const fn spend(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.left());
        self.0 = self.0.saturating_sub(bytes as u32);
    }

    /// Adds the credit of a frame.
    ///
    /// # Errors
    /// There would be more than a [`WINDOW`].
    pub fn add(&mut self, bytes: u32) -> Result<(), FrameError> {
        let sum = self.0.checked_add(bytes).filter(|sum| *sum <= WINDOW);
        self.0 = sum.ok_or(FrameError::Credit)?;
        Ok(())
    }
}

impl Default for ReceiveCredit {
    fn default() -> Self {
        Self { left: WINDOW, taken: 0 }
    }
}

impl ReceiveCredit {
    /// Counts `bytes` that have come.
    ///
    /// # Errors
    /// The sender had no credit for them.
    pub fn receive(&mut self, bytes: usize) -> Result<(), FrameError> {
        let left = u32::try_from(bytes).ok().and_then(|bytes| self.left.checked_sub(bytes));
        self.left = left.ok_or(FrameError::Credit)?;
        Ok(())
    }

    /// Counts `bytes` that the reader has taken. Returns the credit to send, once it is worth a
    /// frame.
    #[must_use]
    pub fn take(&mut self, bytes: usize) -> Option<u32> {
        // No more can be taken than has come.
        self.taken = self.taken.saturating_add(bytes as u32).min(WINDOW - self.left);
        if self.taken < WINDOW / 2 {
            return None;
        }
        self.left += self.taken;
        Some(std::mem::take(&mut self.taken))
    }

    /// The bytes that the sender may still send.
    #[must_use]
    pub const fn left(self) -> u32 {
        self.left
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_sender_gets_credit_again_when_half_of_it_was_taken() {
        let mut credit = ReceiveCredit::default();
        credit.receive(WINDOW as usize).unwrap();
        assert_eq!(credit.receive(1), Err(FrameError::Credit));
        let half = WINDOW as usize / 2;
        assert_eq!(credit.take(half - 1), None);
        assert_eq!(credit.take(1), Some(WINDOW / 2));
        assert_eq!(credit.receive(half + 1), Err(FrameError::Credit));
        credit.receive(half).unwrap();
    }

    #[test]
    fn no_sender_has_more_credit_than_a_window() {
        let mut credit = SendCredit::default();
        assert_eq!(credit.add(1), Err(FrameError::Credit));
        credit.spend(10);
        assert_eq!(credit.add(11), Err(FrameError::Credit));
        assert_eq!(credit.add(u32::MAX), Err(FrameError::Credit));
        credit.add(10).unwrap();
        assert_eq!(credit.left(), WINDOW as usize);
    }

    proptest! {
        #![proptest_config(crate::fuzz())]

        #[test]
        fn both_ends_agree_about_the_credit(steps in prop::collection::vec((0..200_000_usize, 0..200_000_usize), 0..100)) {
            let (mut sender, mut receiver, mut held) = (SendCredit::default(), ReceiveCredit::default(), 0);
            for (sent, taken) in steps {
                let sent = sent.min(sender.left());
                sender.spend(sent);
                receiver.receive(sent).unwrap();
                held += sent;
                let taken = taken.min(held);
                held -= taken;
                if let Some(credit) = receiver.take(taken) {
                    sender.add(credit).unwrap();
                }
                prop_assert_eq!(sender.left(), receiver.left() as usize);
                prop_assert!(held <= WINDOW as usize);
                prop_assert!(held > 0 || sender.left() > WINDOW as usize / 2, "an empty stream always goes on");
            }
        }
    }
}
