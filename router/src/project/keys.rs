//! The keys of a project's configuration. An unknown one that is Switchyard's, or nearly one that
//! decides what a project may do, is an error: passed over, it would leave something open.

use jsonc_parser::ast::Object;
use serde_json::Value;
use switchyard_bridge::command::position::line_and_column;
use switchyard_bridge::command::suggest::{did_you_mean, distance, nearest};

use crate::policy::Wrong;

/// The keys of `"switchyard"`. Whatever reads another one has it here, or it is refused.
pub(super) const OWN: [&str; 9] =
    ["cells", "entry", "env", "healthcheck", "idle", "include", "routes", "share", "stripPrefix"];

/// The keys that Deno 2.9 reads at the top, and `switchyard` (`ConfigFileJson` in deno_config).
const TOP: [&str; 37] = [
    "$schema",
    "allowScripts",
    "bench",
    "catalog",
    "catalogs",
    "compile",
    "compilerOptions",
    "coverage",
    "deploy",
    "desktop",
    "exclude",
    "exports",
    "fmt",
    "importMap",
    "imports",
    "jsrDepsInNodeModules",
    "license",
    "links",
    "lint",
    "lock",
    "main",
    "minimumDependencyAge",
    "name",
    "nodeModulesDir",
    "nodeModulesLinker",
    "patch",
    "permissions",
    "preferPackageJson",
    "publish",
    "scopes",
    "switchyard",
    "tasks",
    "test",
    "unstable",
    "vendor",
    "workspace",
    "workspaces",
];

/// The keys at the top that decide what a project is and may do. Deno ignores unknown keys there, and
/// so do we, but for those that nearly are one of these.
const GUARDED: [&str; 8] = [
    "switchyard",
    "permissions",
    "compilerOptions",
    "exports",
    "importMap",
    "imports",
    "nodeModulesDir",
    "scopes",
];

/// A third of their letters may differ: nobody has another use for a word like these.
const CLOSELY_GUARDED: usize = 2;

/// Checks the keys at the top and those of `"switchyard"`.
///
/// # Errors
/// The first one that is unknown, or is not an object.
pub(super) fn check(config: &Value) -> Result<(), Wrong> {
    let top = config.as_object().into_iter().flat_map(|config| config.keys());
    for key in top.filter(|key| !TOP.contains(&key.as_str())) {
        if let Some(meant) = guarded(key) {
            return Err(Wrong::new(key, format!("is unknown; did you mean {meant:?}?")));
        }
    }
    let Some(own) = config.get("switchyard") else { return Ok(()) };
    let own = own.as_object().ok_or_else(|| Wrong::new("switchyard", "must be an object"))?;
    match own.keys().find(|key| !OWN.contains(&key.as_str())) {
        Some(unknown) => Err(unknown_own(unknown)),
        None => Ok(()),
    }
}

fn guarded(key: &str) -> Option<&'static str> {
    let (closely, others) = GUARDED.split_at(CLOSELY_GUARDED);
    let is_near = |known: &&&str| distance(key, known).is_some_and(|distance| distance <= 1);
    nearest(key, closely).or_else(|| others.iter().find(is_near).copied())
}

fn unknown_own(key: &str) -> Wrong {
    let fix = if TOP.contains(&key) {
        "it belongs beside \"switchyard\", not in it".to_owned()
    } else {
        format!("there are {}{}", OWN.join(", "), did_you_mean(key, &OWN))
    };
    Wrong::new(format!("switchyard.{key}"), format!("is unknown; {fix}"))
}

/// Where the key with this path (`permissions.default.net`) begins in `text`: line and column, from 1.
pub(super) fn place(text: &str, path: &str) -> Option<(u32, u32)> {
    let parsed = jsonc_parser::parse_to_ast(text, &Default::default(), &Default::default()).ok()?;
    let (line, column) = line_and_column(text, find(parsed.value?.as_object()?, path)?);
    Some((u32::try_from(line).ok()?, u32::try_from(column).ok()?))
}

/// The last key of that path, as it is the last one that counts.
fn find(object: &Object<'_>, path: &str) -> Option<usize> {
    object.properties.iter().rev().find_map(|property| {
        let name = property.name.as_str();
        if path == name {
            return Some(property.range.start);
        }
        let below = path.strip_prefix(name)?.strip_prefix('.')?;
        let inside = property.value.as_object().and_then(|object| find(object, below));
        Some(inside.unwrap_or(property.range.start))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_that_decide_what_a_project_may_do_cannot_be_misspelt() {
        for (key, meant) in [
            ("permisions", "permissions"),
            ("permission", "permissions"),
            ("Permissions", "permissions"),
            ("premissions", "permissions"),
            ("swichyard", "switchyard"),
            ("switch-yard", "switchyard"),
            ("import", "imports"),
            ("improts", "imports"),
            ("import_map", "importMap"),
            ("scope", "scopes"),
            ("compileroptions", "compilerOptions"),
        ] {
            let wrong = check(&json!({ key: {} })).unwrap_err();
            assert_eq!(wrong.field, key);
            assert_eq!(wrong.fix, format!("is unknown; did you mean {meant:?}?"), "{key}");
        }
    }

    #[test]
    fn other_unknown_keys_at_the_top_pass_as_in_deno() {
        for key in TOP.iter().filter(|key| **key != "switchyard").chain(&[
            "description",
            "author",
            "task",
            "type",
            "private",
            "//",
            "",
            "reports",
        ]) {
            assert_eq!(check(&json!({ *key: {} })), Ok(()), "{key}");
        }
    }

    #[test]
    fn every_key_of_switchyard_is_known() {
        for (key, says) in [
            ("entyr", "did you mean \"entry\"?"),
            ("health_check", "did you mean \"healthcheck\"?"),
            ("shares", "did you mean \"share\"?"),
            ("colour", "there are cells, entry, "),
            ("permissions", "it belongs beside \"switchyard\""),
        ] {
            let wrong = check(&json!({ "switchyard": { key: true } })).unwrap_err();
            assert_eq!(wrong.field, format!("switchyard.{key}"));
            assert!(wrong.fix.contains(says), "{}", wrong.fix);
        }
        for value in [json!([]), json!("x"), json!(true), json!(null)] {
            assert_eq!(check(&json!({ "switchyard": value })).unwrap_err().field, "switchyard");
        }
    }

    #[test]
    fn a_key_is_found_by_its_path() {
        let text = "{ // why\n  \"a\": { \"b.c\": { d: 1 }, \"é\": 2, \"x\": 3 }\n}";
        assert_eq!(place(text, "a"), Some((2, 3)));
        assert_eq!(place(text, "a.b.c.d"), Some((2, 19)));
        assert_eq!(place(text, "a.x"), Some((2, 35)));
        assert_eq!(place(text, "a.gone"), Some((2, 3)), "as near as there is");
        assert_eq!(place(text, "gone"), None);
    }
}
