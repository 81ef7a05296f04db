//! Options of isolates: heap limits, what Deno's bootstrap reads, and the ops that are replaced in
//! each.

use deno_core::{Extension, v8};
use deno_runtime::colors::ColorLevel;
use deno_runtime::{BootstrapOptions, WorkerExecutionMode, WorkerLogLevel};

use super::{env_file, system_info};
use crate::deno::{DENO_VERSION, USER_AGENT};
use crate::kernel::descriptors;
use crate::modules::features::Features;
use crate::telemetry;

/// The part of a cell's memory that is left to everything but V8's heap, in bytes.
const BESIDE_HEAP: u64 = 32 << 20;

/// Returns the extensions that replace Deno's ops in each isolate.
pub(super) fn extensions() -> Vec<Extension> {
    vec![descriptors::extension(), system_info::extension(), env_file::extension()]
}

/// Returns the largest size of V8's heap (in bytes) in a cell with this much memory.
pub(crate) fn heap_limit(memory: u64) -> usize {
    let heap = memory.saturating_sub(BESIDE_HEAP).max(memory / 2);
    usize::try_from(heap).unwrap_or(usize::MAX)
}

/// Returns V8's parameters for an isolate in a cell with this much memory (in bytes).
pub(super) fn create_params(memory: u64) -> v8::CreateParams {
    v8::CreateParams::default().heap_limits(0, heap_limit(memory))
}

/// Returns the options of Deno's bootstrap. Depends on the environment: a spare's options are made
/// again once the environment is the version's.
pub(super) fn bootstrap_options(mode: WorkerExecutionMode, features: &Features) -> BootstrapOptions {
    BootstrapOptions {
        deno_version: DENO_VERSION.into(),
        user_agent: USER_AGENT.into(),
        log_level: WorkerLogLevel::Warn,
        color_level: ColorLevel::None,
        locale: v8::icu::get_language_tag(),
        has_node_modules_dir: true,
        mode,
        unstable_features: features.ids().to_vec(),
        no_legacy_abort: features.no_legacy_abort,
        node_debug: std::env::var("NODE_DEBUG").ok(),
        otel_config: telemetry::config(),
        ..BootstrapOptions::default()
    }
}
