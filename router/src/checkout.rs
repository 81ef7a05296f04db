//! Checkouts: the way from a project's directory on the volume to an immutable copy. Reads the
//! files, computes their digest, and keeps a read-only copy. Blocking; knows neither cells nor
//! requests.

mod bounds;
mod hashes;
mod node_modules;
mod scan;
mod snapshot;
mod source_folders;
mod store;
mod tar;
mod times;

pub(crate) use bounds::{Interruption, Pace, ReadBounds};
pub(crate) use hashes::{FileHash, FileHashes, HashCache};
pub(crate) use node_modules::NodeModules;
pub(crate) use snapshot::{Snapshot, SnapshotError};
pub(crate) use store::{Checkout, CheckoutError, ReceiveError, ReceivedFiles, Store, StoredVersion};
