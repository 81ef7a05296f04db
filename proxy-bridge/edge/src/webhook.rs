//! The proofs that webhooks carry: who signs what in which header, and the check.
//!
//! - `forge`: the senders, and the headers in which they sign and name their deliveries
//! - `secret`: the secrets of a webhook
//! - `verify`: the check of a signature while the body streams
//! - `testing`: signed deliveries, for tests

mod forge;
mod secret;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod verify;

pub use self::forge::{
    ForgeKind, UnknownForge, has_proof, is_checked, is_delivery_id, is_form, is_unsigned_ping, single,
};
pub use self::secret::{InvalidSecret, WebhookSecret};
pub use self::verify::{Refused, Verifier};
