//! The files by whose names a folder can be recognised as a project, before there is a folder to
//! search: those of a commit, by their paths.

use crate::{entry, site, wrangler};

/// The most folders between a project and such a file.
const MAX_DEPTH: usize = 4;

/// Returns true for the path of a file, relative to a folder, that makes the folder a project: a
/// configuration, a program with a conventional name, a built server, the page of a site, or a task
/// or pipeline. The search for the entry may still find that nothing can be served.
pub fn is_sign_of_project(path: &str) -> bool {
    if path.bytes().filter(|c| *c == b'/').take(MAX_DEPTH + 1).count() > MAX_DEPTH {
        return false;
    }
    wrangler::FILES.contains(&path) || entry::is_sign(path) || site::is_sign(path) || is_of_tasks(path)
}

/// Returns true for the path of a file that declares tasks or pipelines.
fn is_of_tasks(path: &str) -> bool {
    match path.split('/').collect::<Vec<_>>().as_slice() {
        ["taskset.yaml" | "pipeline.json"] | ["tasks", _, "task.yaml"] => true,
        ["pipelines", name] => name.ends_with(".json"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_recognised_by_the_names_of_its_files() {
        for path in [
            "deno.json",
            "deno.jsonc",
            "package.json",
            "Procfile",
            "wrangler.toml",
            "main.ts",
            "server.cjs",
            "src/index.tsx",
            "bin/www",
            "index.html",
            "dist/index.html",
            "docs/index.html",
            "build/index.js",
            ".output/server/index.mjs",
            "dist/server/entry.mjs",
            "taskset.yaml",
            "pipeline.json",
            "tasks/digest/task.yaml",
            "pipelines/reports.json",
        ] {
            assert!(is_sign_of_project(path), "{path}");
        }
        for path in [
            "",
            "README.md",
            "main.rs",
            "util.ts",
            "main.test.ts",
            "lib/main.ts",
            "src/lib/index.ts",
            "a/deno.json",
            "Main.ts",
            "main.ts/x",
            "a/b/c/d/e/main.ts",
            "task.yaml",
            "tasks/task.yaml",
            "tasks/a/b/task.yaml",
            "pipelines/README.md",
        ] {
            assert!(!is_sign_of_project(path), "{path}");
        }
    }
}
