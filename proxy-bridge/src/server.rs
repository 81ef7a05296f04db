//! The bridge: stores uploads on the shared volume, has routers build and publish them, forwards
//! requests to routers.

pub mod client;
pub mod forward;
pub mod routers;
pub mod upload;
pub mod volume;
