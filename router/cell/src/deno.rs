//! The pinned Deno release, and names for the generic types of its crates as the cell uses them.

use deno_resolver::npm::{DenoInNpmPackageChecker, NpmResolver};
use sys_traits::impls::RealSys;

/// The Deno release that the pinned crates belong to.
pub(crate) const DENO_VERSION: &str = "2.9.8";

/// The `User-Agent` of requests, as Deno's own: `fetch` and the installer send it.
pub(crate) const USER_AGENT: &str = "Deno/2.9.8";

/// The operating system as Deno's crates see it.
pub(crate) type Sys = RealSys;

/// Deno's check for modules of npm packages.
pub(crate) type Checker = DenoInNpmPackageChecker;

/// Deno's resolver of npm packages.
pub(crate) type Npm = NpmResolver<Sys>;
