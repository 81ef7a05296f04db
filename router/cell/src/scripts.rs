//! Compiled code that a project brings to node:vm, kept from V8, which believes its bytecode: code
//! that is made up reads and writes the process's memory, without any bug in V8.

use std::sync::LazyLock;

/// Deno's module of node:vm, a function's body.
const VM: &str = "ext:deno_node/vm.js";

/// Deno's scripts that are loaded when they are needed, with that one guarded.
pub(crate) static LAZY_JS: LazyLock<Vec<(&str, &str)>> = LazyLock::new(|| {
    let guarded = |&(name, source)| (name, if name == VM { guarded(source) } else { source });
    deno_snapshots::RESIDUAL_LAZY_JS.iter().map(guarded).collect()
});

/// Once in a process, which uses it to its end. Deno knows a script that is a function's body by how
/// it begins.
fn guarded(source: &str) -> &'static str {
    const GUARD: &str = include_str!("scripts.js");
    format!("\"use strict\"; return ((\n{GUARD})((function () {{ {source} }})()));").leak()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_of_scripts_is_guarded_and_no_other_one_is_changed() {
        let changed = deno_snapshots::RESIDUAL_LAZY_JS.iter().zip(LAZY_JS.iter());
        let changed =
            changed.filter(|(was, is)| was != is).map(|(_, (name, source))| (*name, source.is_ascii()));
        assert_eq!(changed.collect::<Vec<_>>(), [(VM, true)]);
    }
}
