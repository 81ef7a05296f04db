//! The modules of a version: which files it may load, how specifiers resolve, and what V8 is given.

pub(crate) mod bun;
pub(crate) mod code;
pub(crate) mod entry;
pub(crate) mod failures;
pub(crate) mod features;
mod import_errors;
mod imports;
pub(crate) mod loader;
pub(crate) mod names;
mod package_files;
mod phantoms;
mod pnpm;
pub(crate) mod project;
pub(crate) mod project_paths;
pub(crate) mod remote;
mod resolve;
pub(crate) mod resolver;
pub(crate) mod roots;
pub(crate) mod source;
mod tsconfig;
mod vendor;
pub(crate) mod wrangler;
mod written;
