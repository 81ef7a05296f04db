//! The program or the static site that a project's folder serves.
//!
//! - [`config`]: configuration files in JSON
//! - [`entry`]: the search for the program
//! - [`include`]: the files and folders beside a project that are part of it
//! - [`signs`]: the names of files that make a folder a project
//! - [`site`]: static sites
//! - [`wrangler`]: the configuration of Cloudflare Workers

pub mod config;
pub mod entry;
pub mod include;
pub mod signs;
pub mod site;
pub mod wrangler;
