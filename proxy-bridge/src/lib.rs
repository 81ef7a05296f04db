//! The bridge: stores uploads on the shared volume, has routers build and publish them, and forwards
//! requests to routers. ARCHITECTURE.md describes how the parts meet.

pub mod address;
pub mod api;
pub mod changes;
pub mod config;
pub mod deploys;
pub mod diff;
mod files;
pub mod forward;
pub mod git;
pub mod git_user;
pub mod hooks;
pub mod ledger;
pub mod locks;
pub mod metrics;
pub mod records;
pub mod routers;
pub mod runs;
pub mod schedule;
pub mod sources;
pub mod start;
pub mod storage;
pub mod tasks;
pub mod tokens;
pub mod traces;
pub mod tree;
pub mod upload;
pub mod upload_limits;
pub mod versions;
pub mod volume;
