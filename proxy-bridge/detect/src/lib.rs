//! The program or the static site that a project's folder serves.
//!
//! - [`entry`]: the search for the program
//! - [`site`]: static sites
//! - [`wrangler`]: the configuration of Cloudflare Workers

pub mod entry;
pub mod site;
pub mod wrangler;
