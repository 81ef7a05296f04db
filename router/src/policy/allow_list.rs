//! A list of what is allowed, or everything.

use std::fmt::Display;

/// Everything of a kind, or a list of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AllowList<T> {
    All,
    Only(Vec<T>),
}

/// Stands for everything where a list is shown.
const ALL: &str = "*";

impl<T: Display> AllowList<T> {
    pub(super) fn shown(&self) -> Vec<String> {
        match self {
            Self::All => vec![ALL.to_owned()],
            Self::Only(some) => some.iter().map(ToString::to_string).collect(),
        }
    }
}

impl<T> From<bool> for AllowList<T> {
    fn from(all: bool) -> Self {
        if all { Self::All } else { Self::Only(Vec::new()) }
    }
}
