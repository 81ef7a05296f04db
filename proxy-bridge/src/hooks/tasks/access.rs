//! The access to a task's webhook: open, for those who know a secret, or closed.

use switchyard_edge::webhook::ForgeKind;

use super::TaskWebhook;

/// Whoever may start a task by its webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access<'h> {
    /// Anybody who reaches the listener.
    Open,
    /// Senders of this kind who know the secret in the variable of this name.
    Signed(ForgeKind, &'h str),
    /// Nobody.
    Closed(Closed),
}

/// The reason why a request starts nothing. For the log only: all are answered alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Closed {
    /// There is no webhook.
    #[error("there is no webhook at this path")]
    Unknown,
    /// The webhook has no secret, and nobody says that it is open.
    #[error("the task's webhook has no secret: give it one, or set open_webhooks = true in the policy")]
    NoSecret,
    /// The sender's kind is unknown.
    #[error("the kind of the task's webhook is unknown to this bridge")]
    Kind,
}

impl<'h> Access<'h> {
    /// The access to a webhook.
    pub(super) fn of(hook: Option<&'h TaskWebhook>) -> Self {
        let Some(hook) = hook else { return Self::Closed(Closed::Unknown) };
        match &hook.trigger.signature {
            Some(signature) => match signature.kind.parse() {
                Ok(kind) => Self::Signed(kind, &signature.secret),
                Err(_) => Self::Closed(Closed::Kind),
            },
            None if hook.trigger.open || hook.may_be_open => Self::Open,
            None => Self::Closed(Closed::NoSecret),
        }
    }
}
