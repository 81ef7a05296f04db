//! Deno's own scripts that are changed before they are loaded. Compiled code that a project brings
//! to node:vm is kept from V8, which believes its bytecode: code that is made up reads and writes
//! the process's memory, without any bug in V8. And node:wasi opens what was checked.

use std::sync::LazyLock;

/// Deno's modules, each a function's body, and what is called with their exports.
const GUARDED: [(&str, &str); 2] =
    [("ext:deno_node/vm.js", include_str!("scripts.js")), ("ext:deno_node/wasi.ts", include_str!("wasi.js"))];

/// Deno's scripts that are loaded when they are needed, with those guarded.
pub(crate) static LAZY_JS: LazyLock<Vec<(&str, &str)>> = LazyLock::new(|| {
    let guarded = |&(name, source)| match GUARDED.iter().find(|(guarded, _)| *guarded == name) {
        Some((_, guard)) => (name, with_guard(source, guard)),
        None => (name, source),
    };
    deno_snapshots::RESIDUAL_LAZY_JS.iter().map(guarded).collect()
});

/// Once in a process, which uses it to its end. Deno knows a script that is a function's body by how
/// it begins.
fn with_guard(source: &str, guard: &str) -> &'static str {
    format!("\"use strict\"; return ((\n{guard})((function () {{ {source} }})()));").leak()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guarded_scripts_are_changed_and_no_other_ones() {
        let changed = deno_snapshots::RESIDUAL_LAZY_JS.iter().zip(LAZY_JS.iter());
        let changed =
            changed.filter(|(was, is)| was != is).map(|(_, (name, source))| (*name, source.is_ascii()));
        let mut changed: Vec<_> = changed.collect();
        changed.sort_unstable();
        assert_eq!(changed, GUARDED.map(|(name, _)| (name, true)));
    }
}
