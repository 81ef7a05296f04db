//! The HTTP parts that all listeners share, the router's and the bridge's.
//!
//! - [`framing`]: where requests of HTTP/1 begin and end, and what is refused because it is ambiguous
//! - [`refusal`]: why a request is refused, and the answer that says so
//! - [`guarded`]: a client's connection, of which only unambiguous requests reach hyper
//! - [`lingering`]: the end of a connection whose client may still be sending
//! - [`upload`]: a request's body, with limits on its size and pace
//! - [`upstream`]: a connection to whoever answers, and what can be wrong with an answer

pub mod framing;
pub mod guarded;
pub mod lingering;
pub mod refusal;
pub mod upload;
pub mod upstream;

/// The most headers that a request, an answer or the trailers of either may have, within the limit in
/// bytes. hyper allocates room for that many with each head; beyond this number the allocator asks the
/// kernel for it each time, which takes ten times as long as the rest of the parsing.
pub const MAX_HEADERS: usize = 4096;
