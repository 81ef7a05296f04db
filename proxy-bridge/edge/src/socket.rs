//! The sockets of listeners, which have an IP address or a path, and the connections that come to
//! them.

mod address;
mod file;
mod listener;
mod stream;

pub use self::address::{ListenAddress, ListenSetting, check_distinct};
pub(crate) use self::listener::AsyncListener;
pub use self::listener::{BindError, Listener};
pub(crate) use self::stream::DetachedStream;
pub use self::stream::Stream;
