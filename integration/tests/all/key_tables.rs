//! The tables of keys in docs/policy.md and docs/projects.md have exactly the keys that the router
//! knows.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use switchyard_integration::fixtures::hello;
use switchyard_integration::house::{rows, spans};
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

/// Not a key of any table, and not similar to one.
const UNKNOWN: &str = "zzzz";

fn documented(page: &str, table: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let keys: BTreeSet<_> =
        rows(&text, &format!("<!-- keys: {table} -->")).iter().flat_map(|row| spans(&row[0])).collect();
    assert!(!keys.is_empty(), "{page} has no table <!-- keys: {table} -->");
    keys
}

/// The keys that an error about an unknown one lists: `…: unknown key: expected one of a, b, c`.
fn listed(error: &str) -> BTreeSet<String> {
    let parts: Vec<_> = error.split(", ").collect();
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let names = parts.iter().enumerate().filter_map(|(at, part)| {
        let part = part.trim();
        if at == 0 { part.rsplit(|c| !is_part(c)).next() } else { part.split(|c| !is_part(c)).next() }
    });
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[tokio::test]
async fn every_key_of_the_policy_is_documented_and_no_other() {
    let volume = Volume::new();
    let tables = [
        ("policy", UNKNOWN, "zzzz = 1\n"),
        ("layer", "defaults.zzzz", "[defaults]\nzzzz = 1\n"),
        ("permissions", "defaults.permissions.zzzz", "[defaults.permissions]\nzzzz = 1\n"),
        ("limits", "defaults.limits.zzzz", "[defaults.limits]\nzzzz = 1\n"),
    ];
    for (table, key, policy) in tables {
        volume.write("_policy/policy.toml", policy);
        let router = Router::builder(&volume).unwatched();
        let ended = router.flag("policy", volume.path("_policy/policy.toml").display()).run_to_end().await;
        let text = ended.log.text();
        let line = text.lines().find(|line| line.contains(&format!("{key}: ")));
        let line = line.unwrap_or_else(|| panic!("no error names {key}: {text}"));
        let (_, error) = line.split_once(&format!("{key}: ")).unwrap_or_default();
        assert_eq!(
            documented("docs/policy.md", table),
            listed(error),
            "docs/policy.md, keys: {table}: {error}"
        );
    }
}

#[tokio::test]
async fn every_key_of_switchyard_in_deno_json_is_documented_and_no_other() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::builder(&volume).unwatched().start().await;
    volume.write("a/deno.json", "{ \"switchyard\": {\"zzzz\": 1} }");
    let error = router.admin.reload("a").await.error.expect("an unknown key fails the reload");
    let (_, message) = error.message.split_once(UNKNOWN).unwrap_or_default();
    assert_eq!(documented("docs/projects.md", "switchyard"), listed(message), "{}", error.message);
}
