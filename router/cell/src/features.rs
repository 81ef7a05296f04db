//! The features of Deno that a project may use beyond those that every program has: some are part of
//! every cell, others are turned on by `unstable` in deno.json, as for `deno run`.

use std::sync::Arc;

use deno_runtime::{FeatureChecker, UNSTABLE_FEATURES};

use crate::process;

/// Part of every cell: key-value storage in `DATA_DIR`, jobs at set times, and datagrams.
const ALWAYS: [&str; 3] = ["cron", "kv", "net"];

/// What `unstable` may name besides: these are for Deno's other commands.
const OF_OTHER_COMMANDS: [&str; 3] = ["fmt-component", "fmt-sql", "npm-lazy-caching"];

/// So many unknown names are warned of: more would be the same mistake once more.
const MOST_WARNINGS: usize = 16;

#[derive(Clone)]
pub(crate) struct Features {
    ids: Vec<i32>,
    checker: Arc<FeatureChecker>,
    /// Whether a request's signal is aborted only when its client has gone.
    pub(crate) no_legacy_abort: bool,
}

impl Features {
    /// Those of a project whose deno.json has this `unstable`.
    pub(crate) fn of(unstable: &[String]) -> Self {
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

    /// Warns of each name in `unstable` that this Deno does not know, in Deno's words.
    pub(crate) fn warn_of_unknown(unstable: &[String]) {
        let is_known = |name: &str| {
            UNSTABLE_FEATURES.iter().any(|feature| feature.name == name) || OF_OTHER_COMMANDS.contains(&name)
        };
        for name in unstable.iter().filter(|name| !is_known(name)).take(MOST_WARNINGS) {
            log::warn!("Warning '{name}' isn't a valid unstable feature (\"unstable\" in deno.json)");
        }
    }

    /// The numbers by which JavaScript knows them.
    pub(crate) fn ids(&self) -> &[i32] {
        &self.ids
    }

    /// What ops ask.
    pub(crate) fn checker(&self) -> Arc<FeatureChecker> {
        Arc::clone(&self.checker)
    }
}

/// Deno ends a program that uses a feature which it was not given, too.
fn missing_feature(feature: &str, call: &str) {
    log::error!("{call} is unstable: set \"unstable\": [\"{feature}\"] in deno.json");
    process::exit_now(FEATURE_IS_MISSING)
}

/// As Deno's.
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
        assert_eq!(names(&Features::of(&[])), ALWAYS);
        let named = ["unsafe-proto", "kv", "no-such-thing", "no-legacy-abort"].map(str::to_owned);
        let features = Features::of(&named);
        assert_eq!(names(&features), ["cron", "kv", "net", "no-legacy-abort", "unsafe-proto"]);
        assert!(features.no_legacy_abort && features.checker().check("unsafe-proto"));
        assert!(!features.checker().check("vsock"));
    }
}
