//! The bridge: stores uploads on the shared volume, has routers build and publish them, forwards
//! requests to routers.

pub mod api;
pub mod client;
pub mod config;
pub mod deploys;
mod files;
pub mod forward;
pub mod metrics;
pub mod problem;
pub mod records;
pub mod routers;
pub mod sse;
pub mod start;
pub mod tokens;
pub mod upload;
pub mod versions;
pub mod volume;
