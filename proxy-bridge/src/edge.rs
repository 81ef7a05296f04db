//! The HTTP parts that all listeners share, the router's and the bridge's.
//!
//! - [`framing`]: where requests of HTTP/1 begin and end, and what is refused because it is ambiguous
//! - [`refusal`]: why a request is refused, and the answer that says so
//! - [`guarded`]: a client's connection, of which only unambiguous requests reach hyper
//! - [`lingering`]: the end of a connection whose client may still be sending
//! - [`fair`]: a body that is copied in turns with others
//! - [`upload`]: a request's body, with limits on its size and pace
//! - [`upstream`]: a connection to whoever answers, and what can be wrong with an answer

pub mod fair;
pub mod framing;
pub mod guarded;
pub mod lingering;
pub mod refusal;
mod turn;
pub mod upload;
pub mod upstream;
