//! The keys of a project's configuration. An unknown key of Switchyard's, or one that nearly spells a key with an effect on
//! permissions, is an error: ignored, it would leave something open.

use std::collections::HashSet;

use jsonc_parser::ast::{Object, ObjectProp};
use serde_json::Value;
use switchyard_contract::suggest::{did_you_mean, distance, nearest};
use switchyard_program::position::line_and_column;

use crate::policy::InvalidField;

/// The keys of `"switchyard"`. All others are refused.
pub(super) const OWN: [&str; 19] = [
    "args",
    "cells",
    "compress",
    "crons",
    "entry",
    "env",
    "environment",
    "healthcheck",
    "idle",
    "include",
    "pipelines",
    "platform",
    "port",
    "registry",
    "routes",
    "share",
    "static",
    "stripPrefix",
    "tasks",
];

/// The top-level keys that Deno 2.9 reads, and `switchyard` (`ConfigFileJson` in deno_config).
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

/// The top-level keys that decide what a project is and may do. Unknown keys are ignored, as in Deno, unless they nearly
/// spell one of these.
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

/// The number of these keys for which a third of the letters may differ: no other key would look like them.
const CLOSELY_GUARDED: usize = 2;

/// Checks the top-level keys and those of `"switchyard"`.
///
/// # Errors
/// The first key that is unknown, or `switchyard` if it is not an object.
pub(super) fn check(config: &Value) -> Result<(), InvalidField> {
    let top = config.as_object().into_iter().flat_map(|config| config.keys());
    for key in top.filter(|key| !TOP.contains(&key.as_str())) {
        if let Some(meant) = guarded(key) {
            return Err(InvalidField::new(
                key,
                format!("is unknown{}; did you mean {meant:?}?", escaped_letters(key)),
            ));
        }
    }
    let Some(own) = config.get("switchyard") else { return Ok(()) };
    let own = own.as_object().ok_or_else(|| InvalidField::new("switchyard", "must be an object"))?;
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

fn unknown_own(key: &str) -> InvalidField {
    let fix = if TOP.contains(&key) {
        "move it out of \"switchyard\", to the top level".to_owned()
    } else {
        format!("expected one of {}{}", OWN.join(", "), did_you_mean(key, &OWN))
    };
    InvalidField::new(format!("switchyard.{key}"), format!("is unknown{}: {fix}", escaped_letters(key)))
}

/// Returns the escaped letters of a key that only looks right, or nothing.
fn escaped_letters(key: &str) -> String {
    if key.is_ascii() { String::new() } else { format!(" (it is {})", key.escape_default()) }
}

/// Checks that `"permissions"`, `"switchyard"` and each key in them occur once: Deno uses the last of two, and a reader of
/// the first is misled.
///
/// # Errors
/// The first repeated key. Text that does not parse is left to [`parse`].
///
/// [`parse`]: switchyard_detect::entry::parse
pub(super) fn check_once(text: &str) -> Result<(), InvalidField> {
    let Ok(parsed) = jsonc_parser::parse_to_ast(text, &Default::default(), &Default::default()) else {
        return Ok(());
    };
    let Some(top) = parsed.value.as_ref().and_then(|value| value.as_object()) else { return Ok(()) };
    let closely = |property: &&ObjectProp<'_>| GUARDED[..CLOSELY_GUARDED].contains(&property.name.as_str());
    match twice(top.properties.iter().filter(closely)) {
        Some(path) => Err(InvalidField::new(path, "occurs twice: keep one of them")),
        None => Ok(()),
    }
}

/// Returns the path of the first repeated key among these properties or in their objects.
fn twice<'a>(properties: impl Iterator<Item = &'a ObjectProp<'a>>) -> Option<String> {
    let mut seen = HashSet::new();
    for property in properties {
        let name = property.name.as_str();
        if !seen.insert(name) {
            return Some(name.to_owned());
        }
        let inside = property.value.as_object().and_then(|object| twice(object.properties.iter()));
        if let Some(below) = inside {
            return Some(format!("{name}.{below}"));
        }
    }
    None
}

/// Returns the line and column (from 1) of the key with this path (`permissions.default.net`) in `text`.
pub(super) fn position(text: &str, path: &str) -> Option<(u32, u32)> {
    let parsed = jsonc_parser::parse_to_ast(text, &Default::default(), &Default::default()).ok()?;
    let (line, column) = line_and_column(text, find(parsed.value?.as_object()?, path)?);
    Some((u32::try_from(line).ok()?, u32::try_from(column).ok()?))
}

/// Finds the last key with that path: the one that applies.
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
    fn letters_that_look_alike_are_no_way_around_them() {
        for key in [
            "permissi\u{43e}ns",
            "p\u{435}rm\u{456}ss\u{456}\u{43e}ns",
            "\u{ff50}\u{ff45}\u{ff52}\u{ff4d}\u{ff49}\u{ff53}\u{ff53}\u{ff49}\u{ff4f}\u{ff4e}\u{ff53}",
            "per\u{ad}mis\u{200b}sions",
            &format!("permissions{}", "\u{200b}".repeat(40)),
        ] {
            let fix = check(&json!({ key: {} })).unwrap_err().fix;
            assert!(fix.starts_with("is unknown (it is ") && fix.contains("\\u{"), "{fix}");
            assert!(fix.ends_with("did you mean \"permissions\"?"), "{fix}");
        }
        assert!(check(&json!({ "p\u{f6}bel": {} })).is_ok());
    }

    #[test]
    fn a_key_that_decides_what_a_project_may_do_comes_once() {
        for (text, path, place_of) in [
            (r#"{"permissions": {"default": {"net": false, "net": true}}}"#, "permissions.default.net", 44),
            (
                r#"{"permissions": {"default": {"net": false, "n\u0065t": true}}}"#,
                "permissions.default.net",
                44,
            ),
            (r#"{"permissions": {"default": {}, "default": {}}}"#, "permissions.default", 33),
            (r#"{"permissions": {}, /* again */ "permissions": {}}"#, "permissions", 33),
            (r#"{"switchyard": {}, "switchyard": {}}"#, "switchyard", 20),
            (r#"{"switchyard": {"env": {"A": "1", "A": "2"}}}"#, "switchyard.env.A", 35),
        ] {
            let wrong = check_once(text).unwrap_err();
            assert_eq!(wrong.field, path);
            assert_eq!(position(text, &wrong.field), Some((1, place_of)), "{text}");
        }
        for text in
            [r#"{"tasks": {"a": "1", "a": "2"}}"#, r#"{"permissions": {"a": {}, "b": {}}}"#, "{", "[]"]
        {
            assert_eq!(check_once(text), Ok(()), "{text}");
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
            ("colour", "expected one of args, cells, compress, crons, entry, "),
            ("permissions", "move it out of \"switchyard\""),
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
        assert_eq!(position(text, "a"), Some((2, 3)));
        assert_eq!(position(text, "a.b.c.d"), Some((2, 19)));
        assert_eq!(position(text, "a.x"), Some((2, 35)));
        assert_eq!(position(text, "a.gone"), Some((2, 3)), "as near as there is");
        assert_eq!(position(text, "gone"), None);
    }
}
