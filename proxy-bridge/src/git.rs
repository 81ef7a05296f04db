//! Git repositories: their addresses and the commits in them.

mod askpass;
mod object_id;
mod target;
mod url;

pub use self::askpass::Credential;
pub use self::object_id::{InvalidObjectId, ObjectFormat, ObjectId};
pub use self::target::{InvalidRef, RefTarget, TagPattern};
pub use self::url::{GitUrl, InvalidUrl, Scheme};
