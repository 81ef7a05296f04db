//! The JSON Schemas and API documents: what there is, where it is served, and what it is true of.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use switchyard_integration::bridge::cli::run_with;
use switchyard_integration::bridge::get_as;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::schemas::{Schemas, folder, parse, read};
use switchyard_integration::volume::Volume;

const TOKEN: &str = "token-0123456789abc";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns the files below a folder, without installed packages.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("a folder can be read").path());
    let paths = paths.filter(|path| path.file_name().is_some_and(|name| name != "node_modules"));
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The schema of a file, by its place.
fn schema_of(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_str()?;
    let in_pipelines = path.parent().is_some_and(|folder| folder.ends_with("pipelines"));
    match name {
        "deno.json" => Some("deno"),
        "policy.toml" => Some("policy"),
        "sources.toml" => Some("sources"),
        "switchyard.toml" => Some("switchyard"),
        "task.yaml" => Some("task"),
        "taskset.yaml" => Some("taskset"),
        _ if in_pipelines && name.ends_with(".json") => Some("pipeline"),
        _ => None,
    }
}

#[test]
fn the_files_of_examples_templates_and_fixtures_fit_their_schemas() {
    let (schemas, mut seen) = (Schemas::read(), 0);
    for folder in ["examples", "cli/src/init", "integration/fixtures"] {
        for path in files(&root().join(folder)) {
            let Some(name) = schema_of(&path) else { continue };
            assert_eq!(schemas.complaint(name, &read(&path)), None, "{}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 8, "{seen} files are too few to be all");
}

/// One example of the documentation: where it is, and a whole file with its schema.
type Example = (String, &'static str, Value);

/// The code blocks of a page with their languages.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    let parts = page.split("\n```").skip(1).step_by(2);
    parts.filter_map(|part| part.split_once('\n')).collect()
}

/// A block of TOML as whole files. Those about sources may have a part of a source.
fn toml(place: &str, block: &str) -> Vec<Example> {
    let policy = ["[defaults", "[projects.", "shared_hosts"];
    let example = |name, text: &str| (place.to_owned(), name, parse("block.toml", text));
    if block.contains("[[token]]") {
        return Vec::new();
    }
    if policy.iter().any(|key| block.contains(key)) {
        return vec![example("policy", block)];
    }
    if block.contains("[target.") || block.contains("[router]") {
        return vec![example("switchyard", block)];
    }
    if block.contains("[[source]]") {
        return vec![example("sources", block)];
    }
    let parts = block.split("\n\n").map(|part| {
        let projects = if part.contains("projects =") { "" } else { "projects = [{ path = '.' }]\n" };
        let source = format!("[[source]]\nname = 'a'\nurl = 'https://host/a'\n{projects}{part}");
        example("sources", &source)
    });
    parts.collect()
}

/// A block of JSON as a whole file. It may have a part of a task.
fn json(place: &str, block: &str) -> Option<Example> {
    let of_task = block.starts_with('"');
    let whole = if of_task {
        format!("{{\"switchyard\": {{\"tasks\": {{\"a\": {{\"entry\": \"a.ts\", {block}}}}}}}}}")
    } else {
        block.to_owned()
    };
    let content = parse("block.json", &whole);
    let has = |key: &str| content.get(key).is_some();
    let name = if has("switchyard") {
        "deno"
    } else if has("tasks") || has("steps") {
        "pipeline"
    } else {
        return None;
    };
    Some((place.to_owned(), name, content))
}

fn yaml(place: &str, block: &str) -> Example {
    let content = parse("block.yaml", block);
    let name = if content["kind"] == "TaskSet" { "taskset" } else { "task" };
    (place.to_owned(), name, content)
}

/// The pieces of deno.json in running text: `"switchyard": {"cells": 4}`. Those with gaps (`…`) are no JSON.
fn pieces(page: &str) -> Vec<Value> {
    let text = page.replace('\n', " ");
    let spans = text.split('`').skip(1).step_by(2).map(str::trim);
    let own =
        spans.filter(|span| span.starts_with("\"switchyard\":") || span.starts_with("{ \"switchyard\":"));
    let whole = own.map(|span| if span.starts_with('{') { span.to_owned() } else { format!("{{{span}}}") });
    whole.filter_map(|text| serde_json::from_str(&text).ok()).collect()
}

#[test]
fn the_examples_in_the_documentation_fit_their_schemas() {
    let schemas = Schemas::read();
    let (mut blocks_seen, mut pieces_seen) = (0, 0);
    for path in
        files(&root().join("docs")).into_iter().filter(|path| path.extension().is_some_and(|end| end == "md"))
    {
        let page = fs::read_to_string(&path).expect("a page is text");
        let place = path.display().to_string();
        for (language, block) in blocks(&page) {
            let examples = match language {
                "toml" => toml(&place, block),
                "json" => json(&place, block).into_iter().collect(),
                "yaml" => vec![yaml(&place, block)],
                _ => continue,
            };
            for (place, name, content) in examples {
                assert_eq!(schemas.complaint(name, &content), None, "{place}, {name}: {content:#}");
                blocks_seen += 1;
            }
        }
        for piece in pieces(&page) {
            assert_eq!(schemas.complaint("deno", &piece), None, "{place}: {piece}");
            pieces_seen += 1;
        }
    }
    assert!(blocks_seen > 20 && pieces_seen > 15, "{blocks_seen} and {pieces_seen} are too few to be all");
}

#[tokio::test]
async fn schemas_and_api_documents_are_printed_written_and_served() {
    let listed = run_with(&["schema"], &[]).await;
    let names: Vec<_> = listed.stdout.lines().filter_map(|line| line.split(' ').next()).collect();
    let folder_of_all = Volume::new();
    let all = folder_of_all.path("all");
    let written = run_with(&["schema", "--dir", all.to_str().expect("a path of the test's own")], &[]).await;
    assert_eq!(written.code, Some(0), "{written:#?}");
    assert_eq!(files(&all).len(), names.len(), "{names:?}");

    let volume = Volume::new();
    let routers = Replicas::start(&volume, 1).await;
    let tokens = volume.path("_tokens.toml");
    let token =
        format!("[[token]]\nname = \"a\"\ntoken = {TOKEN:?}\nprojects = [\"*\"]\nactions = [\"*\"]\n");
    fs::write(&tokens, token).expect("a file can be written");
    let bridge = routers.bridge().flag("token-file", tokens.display()).start().await;
    let list = bridge.client.get("/schema").await.json();
    let served: Vec<_> = list["schemas"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let schemas = Schemas::read();
    assert_eq!(served.len(), schemas.names().count(), "{list}");
    for name in schemas.names() {
        let file = format!("{name}.json");
        let text = fs::read_to_string(folder().join(&file)).expect("a schema is text");
        let reply = bridge.client.get(&format!("/schema/{file}")).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")), "{name}");
        assert_eq!(reply.json(), parse(&file, &text), "{name}");
        assert_eq!(fs::read_to_string(all.join(&file)).expect("it was written"), text, "{name}");
        assert_eq!(run_with(&["schema", name], &[]).await.stdout, text, "{name}");
    }
    let unknown = bridge.client.get("/schema/polcy.json").await.assert_problem(404, "unknown-schema");
    assert!(
        unknown["detail"].as_str().is_some_and(|detail| detail.contains("did you mean \"policy.json\"?")),
        "{unknown}"
    );

    let router = routers.iter().next().expect("there is a router");
    let admin = router.admin.client.get("/openapi.json").await.json();
    let of_bridge = bridge.client.send(get_as("/openapi.json", TOKEN)).await.json();
    for (name, document) in [("admin", admin), ("bridge", of_bridge)] {
        assert_eq!(read(&root().join(format!("docs/reference/{name}.json"))), document, "{name}");
        let types = fs::read_to_string(all.join(format!("{name}.d.ts"))).expect("it was written");
        let schemas = document["components"]["schemas"].as_object().expect("a document has schemas");
        // The schema of plain text is TypeScript's own type.
        for schema in schemas.keys().filter(|schema| *schema != "String") {
            let is_there = [format!("export interface {schema} "), format!("export type {schema} =")];
            assert!(is_there.iter().any(|start| types.contains(start)), "{name}.d.ts has no {schema}");
        }
    }
}
