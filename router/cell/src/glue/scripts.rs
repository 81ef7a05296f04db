//! Deno's own scripts that are wrapped before they are loaded.
//!
//! node:vm never passes a project's compiled code to V8, which does not verify bytecode: forged
//! code reads and writes the process's memory, without any bug in V8. node:wasi opens the folders
//! that were checked.

use std::sync::LazyLock;

/// Deno's scripts, each the body of a function, and the functions that are called with their
/// exports.
const GUARDED: [(&str, &str); 2] =
    [("ext:deno_node/vm.js", include_str!("vm.js")), ("ext:deno_node/wasi.ts", include_str!("wasi.js"))];

/// Deno's lazily loaded scripts, with the guarded ones wrapped.
pub(crate) static LAZY_JS: LazyLock<Vec<(&str, &str)>> = LazyLock::new(|| {
    let guarded = |&(name, source)| match GUARDED.iter().find(|(guarded, _)| *guarded == name) {
        Some((_, guard)) => (name, with_guard(source, guard)),
        None => (name, source),
    };
    deno_snapshots::RESIDUAL_LAZY_JS.iter().map(guarded).collect()
});

/// Wraps a script. Deno recognizes the body of a function by its beginning. Leaks the result: it is
/// called once for each script in a process, which uses the result to its end.
fn with_guard(source: &str, guard: &str) -> &'static str {
    // In its file the function is a statement.
    let guard = guard.trim_end().trim_end_matches(';');
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
