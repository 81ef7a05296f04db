//! One attempt and its result.

use std::pin::Pin;

use tokio::task::JoinError;

use crate::user::User;

pub(crate) type Making = Pin<Box<dyn Future<Output = Verdict> + Send>>;

/// One way to hurt others.
pub(crate) struct Attempt {
    /// Number of the attempt in the table; siblings of one kind have the same number and a letter.
    /// `H`: of a class that held from the start.
    pub(crate) number: &'static str,
    pub(crate) severity: &'static str,
    /// Description of the attack.
    pub(crate) deed: &'static str,
    /// The conditions that count as broken, besides a disturbed bystander.
    pub(crate) broken: &'static str,
    /// The result depends on the user of the router and its cells.
    pub(crate) as_each: bool,
    pub(crate) make: fn(User) -> Making,
}

/// The result of an attempt, with its evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Held(String),
    Broke(String),
    NotApplicable(String),
}

impl Verdict {
    /// Held if nothing is wrong.
    pub(crate) fn of(wrong: Vec<String>, held: impl Into<String>) -> Self {
        if wrong.is_empty() { Self::Held(held.into()) } else { Self::Broke(wrong.join("; ")) }
    }

    /// Combines two verdicts: the worse one counts.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Broke(one), Self::Broke(other)) => Self::Broke(format!("{one}; {other}")),
            (Self::Broke(broke), _) | (_, Self::Broke(broke)) => Self::Broke(broke),
            (Self::Held(one), Self::Held(other)) => Self::Held(format!("{one}; {other}")),
            (one, Self::NotApplicable(_)) => one,
            (Self::NotApplicable(_), other) => other,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Held(_) => "held",
            Self::Broke(_) => "**broke**",
            Self::NotApplicable(_) => "not applicable",
        }
    }

    pub(crate) fn evidence(&self) -> &str {
        match self {
            Self::Held(text) | Self::Broke(text) | Self::NotApplicable(text) => text,
        }
    }
}

/// Returns the message of a task's panic.
pub(crate) fn panic_message(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "it was cancelled".to_owned() };
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a panic".to_owned())
}
