//! Deno's unstable features: some are part of every cell, others are enabled by `unstable` in
//! deno.json, as for `deno run`.

use std::sync::Arc;

use deno_runtime::{FeatureChecker, UNSTABLE_FEATURES};

use crate::kernel::process;

/// Features of every cell: key-value storage in `DATA_DIR`, cron jobs, and datagrams.
const ALWAYS: [&str; 3] = ["cron", "kv", "net"];

/// Features of Deno's other commands, which `unstable` may name without an effect here.
const OF_OTHER_COMMANDS: [&str; 3] = ["fmt-component", "fmt-sql", "npm-lazy-caching"];

/// Warnings about unknown names: more of them would repeat the same mistake.
const MAX_WARNINGS: usize = 16;

/// The features of one project.
#[derive(Clone)]
pub(crate) struct Features {
    ids: Vec<i32>,
    checker: Arc<FeatureChecker>,
    /// `true`: a request's signal is aborted only if its client disconnects.
    pub(crate) no_legacy_abort: bool,
}

impl Features {
    /// Returns the features of a project with this `unstable` in deno.json.
    pub(crate) fn new(unstable: &[String]) -> Self {
        let is_named = |name: &str| unstable.iter().any(|named| named == name);
        let on = UNSTABLE_FEATURES
            .iter()
            .filter(|feature| ALWAYS.contains(&feature.name) || is_named(feature.name));
        let mut checker = FeatureChecker::default();
        checker.set_exit_cb(Box::new(missing_feature));
        on.clone().for_each(|feature| checker.enable_feature(feature.name));
        Self {
            ids: on.map(|feature| feature.id).collect(),
            checker: Arc::new(checker),
            no_legacy_abort: is_named("no-legacy-abort"),
        }
    }

    /// Logs Deno's warning for each unknown name in `unstable`.
    pub(crate) fn warn_of_unknown(unstable: &[String]) {
        let is_known = |name: &str| {
            UNSTABLE_FEATURES.iter().any(|feature| feature.name == name) || OF_OTHER_COMMANDS.contains(&name)
        };
        for name in unstable.iter().filter(|name| !is_known(name)).take(MAX_WARNINGS) {
            log::warn!("Warning '{name}' isn't a valid unstable feature (\"unstable\" in deno.json)");
        }
    }

    /// Returns the numbers of the features in JavaScript.
    pub(crate) fn ids(&self) -> &[i32] {
        &self.ids
    }

    /// Returns the checker that ops use.
    pub(crate) fn checker(&self) -> Arc<FeatureChecker> {
        Arc::clone(&self.checker)
    }
}

/// Ends the process, as Deno ends a program that uses a feature without its flag.
fn missing_feature(feature: &str, call: &str) {
    log::error!("{call} is unstable: set \"unstable\": [\"{feature}\"] in deno.json");
    process::exit_now(FEATURE_IS_MISSING)
}

/// Deno's exit status for a missing feature.
const FEATURE_IS_MISSING: i32 = 70;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(features: &Features) -> Vec<&'static str> {
        let on = UNSTABLE_FEATURES.iter().filter(|feature| features.ids().contains(&feature.id));
        on.map(|feature| feature.name).collect()
    }

    #[test]
    fn what_deno_json_names_comes_to_what_every_cell_has() {
        assert_eq!(names(&Features::new(&[])), ALWAYS);
        let named = ["unsafe-proto", "kv", "no-such-thing", "no-legacy-abort"].map(str::to_owned);
        let features = Features::new(&named);
        assert_eq!(names(&features), ["cron", "kv", "net", "no-legacy-abort", "unsafe-proto"]);
        assert!(features.no_legacy_abort && features.checker().check("unsafe-proto"));
        assert!(!features.checker().check("vsock"));
    }
}
