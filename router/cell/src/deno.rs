//! The pinned Deno release, and names for the generic types of its crates as the cell uses them.

use deno_resolver::npm::{DenoInNpmPackageChecker, NpmResolver};
pub(crate) use switchyard_protocol::DENO_VERSION;
use sys_traits::impls::RealSys;

/// The `User-Agent` of requests, as Deno's own: `fetch` and the installer send it.
pub(crate) const USER_AGENT: &str = "Deno/2.9.8";

/// The operating system as Deno's crates see it.
pub(crate) type Sys = RealSys;

/// Deno's check for modules of npm packages.
pub(crate) type Checker = DenoInNpmPackageChecker;

/// Deno's resolver of npm packages.
pub(crate) type Npm = NpmResolver<Sys>;

#[cfg(test)]
mod tests {
    use switchyard_protocol::V8_VERSION;

    use super::*;

    #[test]
    fn the_versions_that_a_router_reports_are_those_of_the_cell() {
        assert_eq!(deno_core::v8::V8::get_version(), V8_VERSION);
        assert_eq!(USER_AGENT, format!("Deno/{DENO_VERSION}"));
    }
}
