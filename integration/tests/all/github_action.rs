//! examples/github-action: its script deploys, and its files fit each other.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value};
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::fixtures::hello;
use switchyard_integration::router::binary;
use switchyard_integration::volume::Volume;
use switchyard_integration::within;

/// A file of the example.
fn read(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/github-action").join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn table<'v>(value: &'v Value, key: &str) -> &'v Map<String, Value> {
    value[key].as_object().unwrap_or_else(|| panic!("no {key} in {value}"))
}

fn keys(table: &Map<String, Value>) -> BTreeSet<&str> {
    table.keys().map(String::as_str).collect()
}

/// The only step of the action.
fn step(action: &Value) -> &Value {
    assert_eq!(action["runs"]["using"], "composite");
    let steps = action["runs"]["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    assert_eq!(steps.len(), 1, "{action}");
    &steps[0]
}

#[test]
fn the_workflow_gives_the_action_the_inputs_that_it_has() {
    let (action, workflow) = (read("action.yml"), read("workflow.yml"));
    let inputs = table(&action, "inputs");
    let steps = workflow["jobs"]["deploy"]["steps"].as_array().expect("the job has steps");
    let used = steps.iter().find(|step| step["uses"] == "./.github/actions/switchyard");
    let with = table(used.expect("the action is used"), "with");
    let required: BTreeSet<_> =
        inputs.iter().filter(|(_, input)| input["required"] == true).map(|(name, _)| name.as_str()).collect();
    assert!(keys(with).is_superset(&required) && keys(with).is_subset(&keys(inputs)), "{with:?}");
    assert!(with["token"].as_str().is_some_and(|token| token.contains("secrets.")), "{with:?}");

    let step = step(&action);
    let script = step["run"].as_str().expect("the step has a script");
    assert!(!script.contains("${{"), "an input is part of the script: {script}");
    let given: BTreeSet<_> = table(step, "env").values().filter_map(|value| input(value.as_str()?)).collect();
    assert_eq!(given, keys(inputs));
}

/// The input that `${{ inputs.NAME }}` stands for.
fn input(text: &str) -> Option<&str> {
    Some(text.strip_prefix("${{ inputs.")?.trim_end_matches("}}").trim())
}

#[tokio::test]
async fn the_script_of_the_action_deploys_and_says_where_the_project_is() {
    let (volume, source) = (Volume::new(), Volume::new());
    source.project("apps/blog").file("main.ts", hello("from a runner")).write();
    let routers = Replicas::start(&volume, 1).await;
    let token = source.path("tokens.toml");
    let tokens = "[[token]]\nname = \"ci\"\ntoken = \"ci-token-0123456789\"\nprojects = [\"blog\"]\nactions = [\"deploy\"]\n";
    fs::write(&token, tokens).expect("a file can be written");
    let bridge = routers.bridge().flag("token-file", token.display()).start().await;

    let action = read("action.yml");
    let step = step(&action);
    let given = |name: &str| match name {
        "project" => "blog".to_owned(),
        "directory" => "apps/blog".to_owned(),
        "target" => format!("http://{}", bridge.client.address),
        "token" => "ci-token-0123456789".to_owned(),
        other => panic!("a new input {other}: give it a value here"),
    };
    let environment = table(step, "env").iter().map(|(name, value)| {
        let input = value.as_str().and_then(input).expect("the environment has the inputs");
        (name.clone(), given(input))
    });
    let output: PathBuf = source.path("output");
    let (program, own) = (binary("switchyard"), std::env::var("PATH").unwrap_or_default());
    let folder = program.parent().expect("a program is in a folder");
    let mut runner = Command::new("bash");
    // A runner starts bash with these arguments.
    runner.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"].as_str().unwrap_or_default()]);
    runner.env_clear().envs(environment).env("PATH", format!("{}:{own}", folder.display()));
    runner.env("GITHUB_OUTPUT", &output).env("GITHUB_REPOSITORY", "acme/site").env("GITHUB_SHA", "1234abc");
    let ended = tokio::process::Command::from(runner).current_dir(source.root()).kill_on_drop(true).output();
    let ended = within("the script ends", ended).await.expect("bash can be run");
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(routers.texts("/blog/").await, ["from a runner"]);
    let text = fs::read_to_string(&output).unwrap_or_default();
    assert!(text.starts_with("url=http://blog.localhost:") && text.lines().count() == 1, "{text:?}");
}
