//! JavaScript of the cell's own around the project's code, and the Rust code that loads it.

pub(crate) mod begin;
pub(crate) mod crons;
pub(crate) mod ending;
pub(crate) mod job;
pub(crate) mod platform;
pub(crate) mod requests;
pub(crate) mod scripts;
pub(crate) mod servers;
mod transport;
pub(crate) mod workers;
