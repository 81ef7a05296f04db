//! From a directory on the volume to an immutable checkout: read what is there, tell its digest,
//! keep a read-only copy. Blocking; knows neither cells nor requests.

mod scan;
mod snapshot;
mod store;
mod tar;
mod times;

pub(crate) use snapshot::{HashCache, SnapshotError};
pub(crate) use store::{Checkout, CheckoutError, Store};
