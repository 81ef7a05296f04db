//! Each object of a schema has exactly the keys, and each choice exactly the words, that the reader
//! of the file accepts.

use std::collections::BTreeSet;

use serde_json::Value;
use switchyard_integration::schemas::readers::problems;
use switchyard_integration::schemas::{Schemas, listed};

/// For each object: the schema, the object in it, and a file with the unknown key `zzzz` in it.
const OBJECTS: &[(&str, &str, &str)] = &[
    ("deno", "/$defs/switchyard", r#"{"switchyard": {"zzzz": 1}}"#),
    ("deno", "/$defs/static", r#"{"switchyard": {"static": {"zzzz": 1}}}"#),
    ("deno", "/$defs/task", r#"{"switchyard": {"tasks": {"a": {"entry": "a.ts", "zzzz": 1}}}}"#),
    (
        "deno",
        "/$defs/webhook",
        r#"{"switchyard": {"tasks": {"a": {"entry": "a.ts", "webhook": {"zzzz": 1}}}}}"#,
    ),
    (
        "deno",
        "/$defs/daemon",
        r#"{"switchyard": {"tasks": {"a": {"entry": "a.ts", "daemon": {"zzzz": 1}}}}}"#,
    ),
    ("deno", "/$defs/after", r#"{"switchyard": {"tasks": {"a": {"entry": "a.ts", "after": {"zzzz": 1}}}}}"#),
    ("deno", "/$defs/retry", r#"{"switchyard": {"tasks": {"a": {"entry": "a.ts", "retry": {"zzzz": 1}}}}}"#),
    (
        "deno",
        "/$defs/param",
        r#"{"switchyard": {"tasks": {"a": {"entry": "a.ts", "params": {"b": {"zzzz": 1}}}}}}"#,
    ),
    (
        "deno",
        "/$defs/permissions",
        r#"{"switchyard": {"tasks": {"a": {"entry": "a.ts", "permissions": {"zzzz": 1}}}}}"#,
    ),
    ("deno", "/$defs/pipeline", r#"{"switchyard": {"pipelines": {"p": {"tasks": ["a"], "zzzz": 1}}}}"#),
    ("deno", "/$defs/step", r#"{"switchyard": {"pipelines": {"p": {"tasks": [{"name": "a", "zzzz": 1}]}}}}"#),
    ("policy", "", "zzzz = 1"),
    ("policy", "/$defs/layer", "[projects.a]\nzzzz = 1"),
    ("policy", "/$defs/permissions", "[defaults.permissions]\nzzzz = 1"),
    ("policy", "/$defs/limits", "[defaults.limits]\nzzzz = 1"),
    ("sources", "", "zzzz = 1"),
    ("sources", "/properties/defaults", "[defaults]\nzzzz = 1"),
    ("sources", "/$defs/source", "[[source]]\nzzzz = 1"),
    ("sources", "/$defs/credential", "[[source]]\ncredential = { zzzz = 1 }"),
    ("sources", "/$defs/secret", "[[source]]\nwebhook = { secret = { zzzz = 1 } }"),
    ("sources", "/$defs/source/properties/webhook", "[[source]]\nwebhook = { zzzz = 1 }"),
    ("sources", "/$defs/source/properties/projects/items", "[[source]]\nprojects = [{ zzzz = 1 }]"),
    ("sources", "/$defs/source/properties/previews", "[[source]]\npreviews = { zzzz = 1 }"),
    ("sources", "/$defs/source/properties/verify", "[[source]]\nverify = { zzzz = 1 }"),
    ("sources", "/$defs/source/properties/windows/items", "[[source]]\nwindows = [{ zzzz = 1 }]"),
    ("switchyard", "", "zzzz = 1"),
    ("switchyard", "/properties/target/additionalProperties", "[target.a]\nzzzz = 1"),
    ("task", "/$defs/fields", "kind: Task\nzzzz: 1"),
    ("task", "/$defs/triggerFields", "kind: Task\ntrigger: { zzzz: 1 }"),
    ("task", "/$defs/triggerFields/properties/chain", "kind: Task\ntrigger: { chain: { zzzz: 1 } }"),
    ("task", "/$defs/param", "kind: Task\nparams: { a: { zzzz: 1 } }"),
    ("task", "/$defs/permissions", "kind: Task\npermissions: { zzzz: 1 }"),
    ("task", "/$defs/permissions/properties/fs/items", "kind: Task\npermissions: { fs: [{ zzzz: 1 }] }"),
    ("task", "/$defs/env/items/anyOf/1", "kind: Task\npermissions: { env: [{ name: A, zzzz: 1 }] }"),
    ("task", "/$defs/notify", "kind: Task\nnotify: { zzzz: 1 }"),
    ("task", "/$defs/fields/properties/run_inputs", "kind: Task\nrun_inputs: { zzzz: 1 }"),
    (
        "task",
        "/$defs/fields/properties/on_failure_chain/anyOf/1",
        "kind: Task\non_failure_chain: { zzzz: 1 }",
    ),
    ("taskset", "", "kind: TaskSet\nzzzz: 1"),
    ("taskset", "/properties/spec", "kind: TaskSet\nspec: { zzzz: 1 }"),
    ("taskset", "/properties/spec/properties/defaults", "kind: TaskSet\nspec: { defaults: { zzzz: 1 } }"),
    ("taskset", "/$defs/entry", "kind: TaskSet\nspec: { entries: { x: { zzzz: 1 } } }"),
    (
        "taskset",
        "/$defs/entry/properties/ref",
        "kind: TaskSet\nspec: { entries: { x: { ref: { zzzz: 1 } } } }",
    ),
    ("taskset", "/$defs/overrides", "kind: TaskSet\nspec: { entries: { x: { overrides: { zzzz: 1 } } } }"),
];

/// Objects whose keys no error of the reader lists. Those of a server's flags are made from them.
const UNLISTED: &[(&str, &str)] = &[
    ("policy", "/$defs/env/additionalProperties/anyOf/2"),
    ("switchyard", "/properties/bridge"),
    ("switchyard", "/properties/dev"),
    ("switchyard", "/properties/router"),
    ("switchyard", "/properties/serve"),
];

/// For each choice: the schema, the choice in it, and a file with the word `zzzz` for it.
const CHOICES: &[(&str, &str, &str)] = &[
    (
        "deno",
        "/$defs/task/properties/overlap",
        r#"{"switchyard": {"tasks": {"a": {"entry": "a.ts", "overlap": "zzzz"}}}}"#,
    ),
    (
        "deno",
        "/$defs/task/properties/catchUp",
        r#"{"switchyard": {"tasks": {"a": {"entry": "a.ts", "cron": "@daily", "catchUp": "zzzz"}}}}"#,
    ),
    (
        "deno",
        "/$defs/pipeline/properties/overlap",
        r#"{"switchyard": {"pipelines": {"p": {"tasks": ["a"], "overlap": "zzzz"}}}}"#,
    ),
    (
        "deno",
        "/$defs/pipeline/properties/catchUp",
        r#"{"switchyard": {"pipelines": {"p": {"tasks": ["a"], "cron": "@daily", "catchUp": "zzzz"}}}}"#,
    ),
    ("deno", "/$defs/version", r#"{"switchyard": {"tasks": {"a": {"entry": "a.ts", "version": "zzzz"}}}}"#),
    (
        "deno",
        "/$defs/daemon/properties/restart",
        r#"{"switchyard": {"tasks": {"a": {"entry": "a.ts", "daemon": {"restart": "zzzz"}}}}}"#,
    ),
    (
        "deno",
        "/$defs/after/properties/on",
        r#"{"switchyard": {"tasks": {"a": {"entry": "a.ts", "after": {"task": "b", "on": "zzzz"}}}}}"#,
    ),
    (
        "deno",
        "/$defs/webhook/properties/kind",
        r#"{"switchyard": {"tasks": {"a": {"entry": "a.ts", "webhook": {"path": "x", "secret": "S", "kind": "zzzz"}}}}}"#,
    ),
    (
        "deno",
        "/$defs/param/properties/type",
        r#"{"switchyard": {"tasks": {"a": {"entry": "a.ts", "params": {"b": {"type": "zzzz"}}}}}}"#,
    ),
    ("policy", "/$defs/permissions/properties/sys/items", "[defaults.permissions]\nsys = [\"zzzz\"]"),
    ("sources", "/properties/defaults/properties/together", "[defaults]\ntogether = \"zzzz\""),
    ("sources", "/properties/defaults/properties/publish", "[defaults]\npublish = \"zzzz\""),
    ("sources", "/properties/defaults/properties/removed", "[defaults]\nremoved = \"zzzz\""),
    ("sources", "/properties/defaults/properties/drift", "[defaults]\ndrift = \"zzzz\""),
    (
        "task",
        "/$defs/triggerFields/properties/restart",
        "kind: Task\nname: A\ntrigger: { daemon: true, restart: zzzz }",
    ),
    (
        "task",
        "/$defs/triggerFields/properties/chain/properties/on",
        "kind: Task\nname: A\ntrigger: { chain: { from: b, on: zzzz } }",
    ),
    (
        "task",
        "/$defs/param/properties/type",
        "kind: Task\nname: A\ntrigger: { manual: true }\nparams: { b: { type: zzzz } }",
    ),
    (
        "task",
        "/$defs/permissions/properties/fs/items/properties/permission",
        "kind: Task\nname: A\ntrigger: { manual: true }\npermissions: { fs: [{ path: /x, permission: zzzz }] }",
    ),
];

/// Returns the paths of the parts for which `is_wanted`.
fn parts(schema: &Value, path: &str, is_wanted: &impl Fn(&Value) -> bool) -> Vec<String> {
    let mut found: Vec<_> = is_wanted(schema).then(|| path.to_owned()).into_iter().collect();
    let below: Vec<(String, &Value)> = match schema {
        Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    found.extend(below.iter().flat_map(|(key, value)| parts(value, &format!("{path}/{key}"), is_wanted)));
    found
}

/// The words that the error about `zzzz` lists, for each row of a table.
async fn expected(table: &[(&str, &str, &str)]) -> Vec<Vec<String>> {
    let mut words = Vec::new();
    let mut rows = table;
    while let Some((name, _, _)) = rows.first() {
        let (own, rest) = rows.split_at(rows.iter().take_while(|(other, _, _)| other == name).count());
        let texts: Vec<_> = own.iter().map(|(_, _, text)| *text).collect();
        for (problem, text) in problems(name, &texts).await.into_iter().zip(texts) {
            let problem = problem.unwrap_or_else(|| panic!("{name}: {text} is accepted"));
            let lists = |line: &&str| line.contains("one of ");
            let unknown = problem.lines().filter(lists).find(|line| line.contains("unknown"));
            let line = unknown.or_else(|| problem.lines().find(lists)).unwrap_or(&problem);
            words.push(listed(line));
        }
        rows = rest;
    }
    words
}

#[tokio::test]
async fn each_object_of_a_schema_has_the_keys_that_its_reader_knows() {
    let schemas = Schemas::read();
    for ((name, at, text), keys) in OBJECTS.iter().zip(expected(OBJECTS).await) {
        let object = schemas.document(name).pointer(at).unwrap_or_else(|| panic!("{name} has no {at}"));
        let known = object["properties"].as_object().into_iter().flat_map(|known| known.keys().cloned());
        let known: BTreeSet<_> = known.collect();
        assert_eq!(known, keys.into_iter().collect(), "docs/reference/schema/{name}.json, {at}: {text}");
    }
    let covered: BTreeSet<_> =
        OBJECTS.iter().map(|(name, at, _)| (*name, *at)).chain(UNLISTED.iter().copied()).collect();
    for name in schemas.names() {
        for at in parts(schemas.document(name), "", &|part| part["additionalProperties"] == false) {
            assert!(covered.contains(&(name, at.as_str())), "{name}, {at}: add it to OBJECTS");
        }
    }
}

#[tokio::test]
async fn each_choice_of_a_schema_has_the_words_that_its_reader_knows() {
    let schemas = Schemas::read();
    for ((name, at, text), words) in CHOICES.iter().zip(expected(CHOICES).await) {
        let choice = schemas.document(name).pointer(at).unwrap_or_else(|| panic!("{name} has no {at}"));
        let known: BTreeSet<_> = choice["enum"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        assert_eq!(known, words.into_iter().collect(), "docs/reference/schema/{name}.json, {at}: {text}");
    }
}
