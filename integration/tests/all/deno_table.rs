//! The table in `docs/deno.md` has all that Deno's command line sets up before a program runs, as the
//! pinned release has it: what its crates take and read is looked up in their sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The options with which Deno's runtime is created.
const STRUCTS: [(&str, &str); 5] = [
    ("worker_bootstrap.rs", "BootstrapOptions"),
    ("worker.rs", "WorkerOptions"),
    ("worker.rs", "WorkerServiceOptions"),
    ("web_worker.rs", "WebWorkerOptions"),
    ("web_worker.rs", "WebWorkerServiceOptions"),
];

/// The texts before the name of a variable where Rust or JavaScript reads it.
const READS: [&str; 8] = [
    "env::var(",
    "env::var_os(",
    "env_var(",
    "env_var_os(",
    "has_flag_env_var(",
    "op_get_env_no_permission_check(",
    "env.get(",
    "env?.get(",
];

/// The possible states of an item. The second needs a reason.
const STATES: [&str; 3] = ["done", "refused", "not yet"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The sources of the pinned crates that are Deno's, by their names.
fn crates() -> BTreeMap<String, PathBuf> {
    // Crates of other platforms are not downloaded by a build.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", &platform])
        .current_dir(root())
        .output()
        .expect("cargo can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let packages = metadata["packages"].as_array().expect("packages are listed");
    let denos = packages.iter().filter_map(|package| {
        let name = package["name"].as_str()?;
        let is_denos = name.starts_with("deno_") || name.starts_with("denokv") || name == "node_resolver";
        let manifest = Path::new(package["manifest_path"].as_str()?);
        is_denos.then(|| (name.to_owned(), manifest.parent().unwrap_or(manifest).to_owned()))
    });
    denos.collect()
}

/// The rows of the tables: what each item's state is, and what is said of it.
fn table() -> BTreeMap<String, (String, String)> {
    let text = read(&root().join("docs/deno.md"));
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [items, state, note] = cells[..] else { panic!("three columns: {line}") };
        for item in items.split(", ") {
            let item = item.trim_matches('`').to_owned();
            let before = rows.insert(item, (state.to_owned(), note.to_owned()));
            assert_eq!(before, None, "an item has one row: {line}");
        }
    }
    rows
}

fn assert_all_in_table(kind: &str, items: BTreeSet<String>) {
    assert!(!items.is_empty(), "no {kind} is found in the sources: they are written otherwise now");
    let table = table();
    let missing: Vec<_> = items.iter().filter(|item| !table.contains_key(*item)).collect();
    assert!(missing.is_empty(), "docs/deno.md does not cover these {kind}: {missing:#?}");
}

/// The public fields of a struct.
fn fields(source: &str, name: &str) -> Vec<String> {
    let begin = source.find(&format!("pub struct {name}")).unwrap_or_else(|| panic!("there is a {name}"));
    let lines = source[begin..].lines().skip(1).take_while(|line| *line != "}");
    let fields = lines.filter_map(|line| line.strip_prefix("  pub ")?.split_once(':'));
    fields.map(|(field, _)| field.to_owned()).collect()
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_')
}

/// The variables that a source reads, by their names.
fn variables(source: &str) -> impl Iterator<Item = String> {
    let quoted = READS.iter().flat_map(move |read| source.split(read).skip(1)).filter_map(|rest| {
        let (name, _) = rest.trim_start().strip_prefix('"')?.split_once('"')?;
        Some(name.to_owned())
    });
    let named =
        source.split("env_var: Some(\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()));
    let properties = source
        .split("process.env.")
        .skip(1)
        .map(|rest| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>());
    quoted.chain(named).chain(properties).filter(|name| is_variable(name))
}

/// The files below a crate that are part of the runtime: neither its tests nor its build.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let left_out = ["tests", "testdata", "benches", "benchmarks", "examples", "build.rs"];
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let entries = entries.map(|entry| entry.expect("a folder can be read"));
    let kept = entries.filter(|entry| !left_out.iter().any(|name| entry.file_name() == *name));
    kept.flat_map(|entry| {
        let path = entry.path();
        if path.is_dir() { sources(&path) } else { vec![path] }
    })
    .collect()
}

#[test]
fn every_option_of_the_runtime_is_in_the_table() {
    let runtime = crates().remove("deno_runtime").expect("it is pinned");
    let options = STRUCTS.iter().flat_map(|(file, name)| {
        let fields = fields(&read(&runtime.join(file)), name);
        assert!(fields.len() > 10, "{name}: {fields:?}");
        fields.into_iter().map(move |field| format!("{name}.{field}"))
    });
    assert_all_in_table("options", options.collect());
}

#[test]
fn every_unstable_feature_is_in_the_table() {
    let features = crates().remove("deno_features").expect("it is pinned");
    let data = read(&features.join("data.rs"));
    let names = data.split("name: \"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0));
    assert_all_in_table("features", names.map(|name| format!("unstable: {name}")).collect());
}

#[test]
fn every_variable_that_the_runtime_reads_is_in_the_table() {
    let mut read_by_any = BTreeSet::new();
    for path in crates().values().flat_map(|folder| sources(folder)) {
        let is_code =
            path.extension().is_some_and(|kind| ["rs", "js", "ts", "mjs"].iter().any(|it| kind == *it));
        if is_code {
            let text = read(&path);
            let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
            read_by_any.extend(variables(code));
        }
    }
    assert!(read_by_any.contains("NODE_EXTRA_CA_CERTS"), "{read_by_any:?}");
    assert_all_in_table("variables", read_by_any);
}

/// Flags, and variables that the command line alone reads, are not in the pinned crates: the table says
/// of which release it has them.
#[test]
fn the_flags_in_the_table_are_those_of_the_pinned_release() {
    let runtime = read(&root().join("router/protocol/src/runtime.rs"));
    let (_, version) = runtime.split_once("DENO_VERSION: &str = \"").expect("it is listed there");
    let (version, _) = version.split_once('"').expect("it is listed there");
    let table = read(&root().join("docs/deno.md"));
    let statement = format!("`deno run` and `deno serve` of {version}");
    assert!(
        table.contains(&statement),
        "read the flags and variables of Deno {version}, and state it: {statement}"
    );
}

#[test]
fn every_row_has_a_state_and_a_refusal_its_reason() {
    let table = table();
    assert!(table.len() > 200, "{}", table.len());
    for (item, (state, note)) in table {
        assert!(STATES.contains(&state.as_str()), "{item}: {state:?}");
        assert!(state != "refused" || !note.is_empty(), "{item} is refused: why?");
    }
}
