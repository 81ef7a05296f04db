//! The router: watches a volume of projects, builds each version in a cell of its own, publishes
//! it with one pointer swap and forwards requests to it. ARCHITECTURE.md describes how the parts meet.

pub mod admin;
pub mod config;
pub mod inspect;
pub mod server;

mod access_log;
mod build;
mod cells;
mod checkout;
mod crons;
mod drain;
mod folder;
mod gaps;
mod health;
mod http;
mod links;
mod live;
mod metrics;
mod packages;
mod pickup;
mod pieces;
mod policy;
mod project;
mod reload;
mod requests;
mod root;
mod runs;
mod slots;
mod token;
mod transport;
pub mod user;
mod version;
mod watch;
