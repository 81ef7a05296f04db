//! The build of the workspace.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use switchyard_integration::router::binary;

/// deno_snapshots' build script runs deno_runtime: without levelled features and profiles Cargo compiles
/// it, and all below it, once for the host and once for the cell.
#[test]
fn nothing_is_compiled_twice() {
    let output = Command::new(env!("CARGO"))
        .args(["build", "--release", "--workspace", "--locked", "--offline"])
        .args(["--unit-graph", "-Z", "unstable-options"])
        .env("RUSTC_BOOTSTRAP", "1")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .output()
        .expect("cargo can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let graph: Value = serde_json::from_slice(&output.stdout).expect("a unit graph is JSON");
    let mut compiled: BTreeMap<String, usize> = BTreeMap::new();
    for unit in graph["units"].as_array().expect("a unit graph has units") {
        let key = [&unit["pkg_id"], &unit["target"]["name"], &unit["target"]["kind"], &unit["mode"]];
        *compiled.entry(key.map(Value::to_string).join(" ")).or_default() += 1;
    }
    assert!(compiled.keys().any(|unit| unit.contains("deno_runtime")), "the graph is the whole workspace's");
    let twins: Vec<_> = compiled.into_iter().filter(|(_, count)| *count > 1).collect();
    assert!(twins.is_empty(), "level their features in router/cell/Cargo.toml: {twins:#?}");
}

#[test]
fn binaries_have_no_debug_information() {
    for name in ["switchyard", "switchyard-cell"] {
        let output = Command::new("readelf").args(["--section-headers", "--wide"]).arg(binary(name)).output();
        let output = output.expect("readelf comes with the linker");
        let sections = String::from_utf8_lossy(&output.stdout);
        assert!(sections.contains(".symtab"), "{name}: {sections}");
        assert!(!sections.contains(".debug_"), "{name}: {sections}");
    }
}
