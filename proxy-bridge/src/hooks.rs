//! Webhooks of git forges: deliveries that say that a repository has changed. A delivery is a hint
//! only: it names a ref, and git is asked for the rest.
//!
//! - `forge`: the forges, and the headers in which they sign and name their deliveries
//! - `secret`: the secrets of a source's webhook
//! - `verify`: the check of a signature while the body streams
//! - `payload`: the refs that a delivery names
//! - `deliveries`: the ids of past deliveries, so that none counts twice
//! - `rate`: the number of deliveries per minute and source
//! - `listener`: the HTTP listener

mod deliveries;
mod forge;
mod listener;
mod payload;
mod rate;
#[cfg(test)]
mod recorded;
mod secret;
mod verify;

pub use self::deliveries::Deliveries;
pub use self::forge::{ForgeKind, UnknownForge};
pub use self::listener::{HookTarget, Hooks};
pub use self::payload::{Event, Payload, Push};
pub use self::rate::{Rate, TooMany};
pub use self::secret::{InvalidSecret, WebhookSecret};
pub use self::verify::{Refused, Verifier};
