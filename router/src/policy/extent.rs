//! All of something, or some of it.

use std::fmt::Display;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Extent<T> {
    All,
    Only(Vec<T>),
}

/// Stands for all there is, where a list is shown.
const ALL: &str = "*";

impl<T: Display> Extent<T> {
    pub(super) fn shown(&self) -> Vec<String> {
        match self {
            Self::All => vec![ALL.to_owned()],
            Self::Only(some) => some.iter().map(ToString::to_string).collect(),
        }
    }
}

impl<T> From<bool> for Extent<T> {
    fn from(all: bool) -> Self {
        if all { Self::All } else { Self::Only(Vec::new()) }
    }
}
