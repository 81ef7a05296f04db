//! What a platform offers to the programs written for it, beside Deno's and Node's interfaces.

use serde::{Deserialize, Serialize};
use switchyard_bridge::platform::Platform;

/// The interfaces that a version gets.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum PlatformApi {
    /// Deno's and Node's alone.
    #[default]
    Plain,
    /// Those of Supabase's edge runtime: `EdgeRuntime`.
    Supabase,
    /// Those of Cloudflare's Workers.
    Workers(Box<Worker>),
}

/// What a Worker is configured with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Worker {}

impl From<Platform> for PlatformApi {
    fn from(platform: Platform) -> Self {
        match platform {
            Platform::Plain | Platform::Static => Self::Plain,
            Platform::Supabase => Self::Supabase,
            Platform::Workers => Self::Workers(Box::default()),
        }
    }
}
