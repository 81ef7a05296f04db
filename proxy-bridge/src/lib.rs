//! The bridge: stores uploads on the shared volume, has routers build and publish them, and forwards
//! requests to routers. ARCHITECTURE.md describes how the parts meet.

pub mod api;
pub mod config;
pub mod deploys;
mod files;
pub mod forward;
pub mod metrics;
pub mod problem;
pub mod records;
pub mod routers;
pub mod start;
pub mod tokens;
pub mod upload;
pub mod versions;
pub mod volume;
