//! The program or the static site that a project's folder serves.
//!
//! - [`config`]: configuration files in JSON
//! - [`entry`]: the search for the program
//! - [`signs`]: the names of files that make a folder a project
//! - [`site`]: static sites
//! - [`wrangler`]: the configuration of Cloudflare Workers

pub mod config;
pub mod entry;
pub mod signs;
pub mod site;
pub mod wrangler;
