//! Repositories of git: a bare mirror of each, filled and read through the git command. Knows nothing of
//! sources. There is never a work tree, so that nothing in a repository is run or written.

mod askpass;
mod blobs;
mod command;
mod error;
mod lfs;
mod mirror;
mod object_id;
mod signature;
mod submodules;
mod target;
mod tree;
mod url;

#[cfg(test)]
mod tests;

pub use self::askpass::{ASKPASS_DESCRIPTOR, Credential, answer_askpass};
pub use self::blobs::{Blob, BlobsError, Piece};
pub use self::command::{Git, GitSettings, Remote};
pub use self::error::GitError;
pub use self::lfs::{InvalidPointer, Lfs, LfsLimits, LfsOid, LfsPointer};
pub use self::mirror::{Mirror, MirrorLimits, Resolved};
pub use self::object_id::{InvalidObjectId, ObjectFormat, ObjectId};
pub use self::signature::{SignatureFault, Signer};
pub use self::submodules::Submodule;
pub use self::target::{InvalidRef, RefTarget, TagPattern};
pub use self::tree::{TreeEntry, TreeLimits, TreeMode};
pub use self::url::{GitUrl, InvalidUrl, Scheme};
