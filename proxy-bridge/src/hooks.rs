//! Webhooks of forges.

mod forge;

pub use self::forge::{ForgeKind, UnknownForge};
