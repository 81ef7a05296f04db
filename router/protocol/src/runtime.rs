//! The releases of the runtime that cells embed.

/// The Deno release that the pinned crates of the cell belong to.
pub const DENO_VERSION: &str = "2.9.8";

/// The version of V8 that the cell is linked with.
pub const V8_VERSION: &str = "15.0.245.2-rusty";
