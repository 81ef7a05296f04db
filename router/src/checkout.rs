//! From a directory on the volume to an immutable checkout: read what is there, tell its digest,
//! keep a read-only copy. Blocking; knows neither cells nor requests.

mod bounds;
mod packages;
mod scan;
mod snapshot;
mod store;
mod tar;
mod times;
mod tops;

pub(crate) use bounds::{Bounds, Interrupted};
pub(crate) use packages::NodeModules;
pub(crate) use snapshot::{FileHash, Files, HashCache, SnapshotError};
pub(crate) use store::{Checkout, CheckoutError, Kept, Store};
