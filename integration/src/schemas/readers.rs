//! The readers of the files that have a schema, asked by the program's own commands.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;
use switchyard_bridge::sources::settings::SourcesFile;

use crate::bridge::cli::{Outcome, run_with};
use crate::fixtures::hello;
use crate::volume::Volume;

/// Returns what the reader of the files with the schema `name` has against each of these texts, if it
/// has anything.
pub async fn problems(name: &str, texts: &[&str]) -> Vec<Option<String>> {
    if name == "deno" {
        return of_projects(texts).await;
    }
    let mut problems = Vec::new();
    for text in texts {
        problems.push(match name {
            "policy" => of_policy(text).await,
            "sources" => of_sources(text),
            "switchyard" => of_config(text).await,
            "task" => of_tasks("tasks/x/task.yaml", text).await,
            "taskset" => of_tasks("taskset.yaml", text).await,
            "pipeline" => of_tasks("pipelines/p.json", text).await,
            other => panic!("no reader is known for the schema {other}"),
        });
    }
    problems
}

/// The paths that texts may name: `main.ts`, `a.ts`, `www`, `../_shared`.
fn write_project(volume: &Volume, name: &str) {
    volume.write("_shared/x.ts", "");
    let project = volume.project(name).file("main.ts", hello("")).file("a.ts", "export default () => 1;\n");
    let project = project.file("www/index.html", "").file("www/404.html", "").file("www/app.html", "");
    project.file("tasks/index.js", "export default { a: './a.ts' };\n").write();
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of the test's own")
}

/// All texts are the deno.json of a project each, and all projects are built at once.
async fn of_projects(texts: &[&str]) -> Vec<Option<String>> {
    let volume = Volume::new();
    let name = |index: usize| format!("d{index:03}");
    for (index, text) in texts.iter().enumerate() {
        write_project(&volume, &name(index));
        volume.write(&format!("{}/deno.json", name(index)), text);
    }
    let checked = run_with(&["check", text(volume.root()), "--all", "--json"], &[]).await;
    let events =
        checked.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON"));
    let events =
        events.map(|event| (event["data"]["project"].as_str().unwrap_or_default().to_owned(), event));
    let events: BTreeMap<_, _> = events.collect();
    let outcomes = (0..texts.len()).map(|index| {
        let event = events.get(&name(index)).unwrap_or_else(|| panic!("{}: {checked:#?}", texts[index]));
        let error = event["data"]["error"]["message"].as_str().map(str::to_owned);
        assert_eq!(error.is_none(), event["type"] == "reload.live", "{event}");
        error
    });
    outcomes.collect()
}

async fn of_policy(policy: &str) -> Option<String> {
    let volume = Volume::new();
    volume.project("site").file("index.html", "").write();
    volume.write("_policy/policy.toml", policy);
    volume.write("_policy/secret", "s3cret");
    let (site, policy) = (volume.path("site"), volume.path("_policy/policy.toml"));
    let Outcome { code, stderr, .. } =
        run_with(&["check", text(&site), "--policy", text(&policy)], &[]).await;
    assert!(matches!(code, Some(0 | 64)), "{code:?}: {stderr}");
    (code == Some(64)).then_some(stderr)
}

fn of_sources(sources: &str) -> Option<String> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let write =
        |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("a file can be written");
    write("secret", "s3cret");
    write("sources.toml", sources);
    let read = SourcesFile::open(&folder.path().join("sources.toml"), &[]);
    read.err().map(|faults| faults.iter().map(|fault| format!("{}\n", fault.0)).collect())
}

/// A required flag is missing, so the command ends in any case. Problems of the file have its name.
async fn of_config(config: &str) -> Option<String> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("switchyard.toml");
    fs::write(&file, config).expect("a file can be written");
    let Outcome { code, stderr, .. } = run_with(&["router", "--config", text(&file)], &[]).await;
    assert_eq!(code, Some(64), "{stderr}");
    let own: Vec<_> = stderr.lines().filter(|line| line.contains(text(&file))).collect();
    (!own.is_empty()).then(|| own.join("\n"))
}

async fn of_tasks(file: &str, content: &str) -> Option<String> {
    let volume = Volume::new();
    write_project(&volume, "p");
    volume.write("p/tasks/x/task.ts", "");
    volume.write("p/a/task.ts", "");
    volume.write("p/a/task.yaml", "kind: Task\nname: A\ntrigger: { manual: true }\n");
    volume.write(&format!("p/{file}"), content);
    let linted = run_with(&["task", "lint", text(&volume.path("p")), "--json"], &[]).await;
    let report = linted.json();
    let problems = report["problems"].as_array().expect("a report has problems");
    let messages = problems.iter().filter_map(|problem| problem["message"].as_str());
    let messages: String = messages.map(|message| format!("{message}\n")).collect();
    (!problems.is_empty()).then_some(messages)
}
