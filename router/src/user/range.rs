//! A range of users that are nobody else's on the machine.

use std::fmt;
use std::str::FromStr;

/// Users below are the system's own on every distribution (`UID_MIN`).
const LEAST: u32 = 1000;

/// The first and the last user. The number of the first one is the group of what all projects share, and no project's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserRange {
    first: u32,
    last: u32,
}

impl UserRange {
    /// The default: above what distributions give to people and services, and 65,535 projects long.
    pub const DEFAULT: Self = Self { first: 200_000, last: 265_535 };

    pub(crate) fn first(self) -> u32 {
        self.first
    }

    pub(crate) fn last(self) -> u32 {
        self.last
    }

    pub(crate) fn shared_group(self) -> u32 {
        self.first
    }

    /// The users that projects may have.
    pub(crate) fn users(self) -> std::ops::RangeInclusive<u32> {
        self.first + 1..=self.last
    }
}

impl fmt::Display for UserRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for UserRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is not a range of users: expected FIRST-LAST, two numbers from {LEAST} to {}, the second one larger, as in {}",
                u32::MAX - 1,
                Self::DEFAULT
            )
        };
        let number = |text: &str| text.parse::<u32>().ok().filter(|_| !text.starts_with('+'));
        let (first, last) = text.split_once('-').ok_or_else(wrong)?;
        let (first, last) = (number(first).ok_or_else(wrong)?, number(last).ok_or_else(wrong)?);
        // The highest number stands for no user.
        if first < LEAST || last <= first || last == u32::MAX {
            return Err(wrong());
        }
        Ok(Self { first, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_two_numbers_of_which_none_is_root_or_the_systems() {
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
            assert!(wrong.parse::<UserRange>().unwrap_err().contains("200000-265535"), "{wrong}");
        }
    }
}
