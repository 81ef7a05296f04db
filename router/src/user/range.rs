//! The range of user ids for tenants, which no other users of the machine have.

use std::fmt;
use std::str::FromStr;

/// The lowest user id that a range may have. Lower ones belong to the system on every distribution
/// (`UID_MIN`).
const MIN_UID: u32 = 1000;

/// A range of user ids. The first one is the group of files that all projects share, and belongs to
/// no project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserRange {
    first: u32,
    last: u32,
}

impl UserRange {
    /// The default: above the ids that distributions give to people and services, and enough for
    /// 65,535 projects.
    pub const DEFAULT: Self = Self { first: 200_000, last: 265_535 };

    /// The first id, which is in use as a group only.
    pub(crate) fn first(self) -> u32 {
        self.first
    }

    /// The last id, which a project may have.
    pub(crate) fn last(self) -> u32 {
        self.last
    }

    /// The group of files that all projects share.
    pub(crate) fn shared_group(self) -> u32 {
        self.first
    }

    /// The ids that projects may have.
    pub(crate) fn users(self) -> std::ops::RangeInclusive<u32> {
        self.first + 1..=self.last
    }
}

impl fmt::Display for UserRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// A text that is not a range of user ids.
#[derive(Debug, thiserror::Error)]
#[error(
    "invalid range of users {0:?}: expected FIRST-LAST, two numbers from {MIN_UID} to {max}, \
     the second one larger, as in {default}",
    max = u32::MAX - 1,
    default = UserRange::DEFAULT
)]
pub struct InvalidUserRange(String);

impl FromStr for UserRange {
    type Err = InvalidUserRange;

    fn from_str(text: &str) -> Result<Self, InvalidUserRange> {
        let wrong = || InvalidUserRange(text.to_owned());
        let number = |text: &str| text.parse::<u32>().ok().filter(|_| !text.starts_with('+'));
        let (first, last) = text.split_once('-').ok_or_else(wrong)?;
        let (first, last) = (number(first).ok_or_else(wrong)?, number(last).ok_or_else(wrong)?);
        // The highest number means "no user" to the kernel.
        if first < MIN_UID || last <= first || last == u32::MAX {
            return Err(wrong());
        }
        Ok(Self { first, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_two_numbers_above_root_and_the_systems_users() {
        let range: UserRange = "200000-265535".parse().unwrap();
        assert_eq!(range, UserRange::DEFAULT);
        assert_eq!((range.users(), range.shared_group()), (200_001..=265_535, 200_000));
        for wrong in [
            "",
            "200000",
            "0-10",
            "999-2000",
            "2000-2000",
            "3000-2000",
            "a-b",
            "2000-4294967295",
            "+2000-3000",
        ] {
            assert!(wrong.parse::<UserRange>().unwrap_err().to_string().contains("200000-265535"), "{wrong}");
        }
    }
}
