//! The commands that start a project: tasks of deno.json, scripts of package.json, and a Procfile.

use serde_json::Value;

/// The scripts with which hosts start a project, by precedence.
pub(super) const START: [&str; 5] = ["start", "start:prod", "start:production", "prod", "production"];

/// Scripts that start a server in a project with more parts than a server.
pub(super) const SERVE: [&str; 3] = ["serve:prod", "server", "serve"];

/// Scripts for developers: the last resort.
pub(super) const DEVELOP: [&str; 4] = ["dev", "start:dev", "develop", "watch"];

/// Programs that build, or that serve sources to developers. Their output is searched for instead.
const TOOLS: &[&str] = &[
    "analog",
    "angular",
    "astro",
    "babel",
    "browser-sync",
    "concurrently",
    "cypress",
    "eleventy",
    "electron",
    "electron-forge",
    "esbuild",
    "eslint",
    "expo",
    "gatsby",
    "grunt",
    "gulp",
    "http-server",
    "jest",
    "lerna",
    "lite-server",
    "live-server",
    "mocha",
    "netlify",
    "ng",
    "nitro",
    "nitropack",
    "npm-run-all",
    "nuxi",
    "nuxt",
    "nx",
    "parcel",
    "qwik",
    "react-router",
    "react-scripts",
    "remix",
    "rollup",
    "run-p",
    "run-s",
    "serve",
    "sirv",
    "storybook",
    "svelte-kit",
    "tsc",
    "tsup",
    "turbo",
    "vercel",
    "vinxi",
    "vite",
    "vitest",
    "vue-cli-service",
    "webpack",
];

/// Returns `true` for one of those, and for the likes of `webpack-dev-server` and `start-storybook`.
pub(super) fn is_tool(program: &str) -> bool {
    let is_known = TOOLS.contains(&program);
    is_known || program.starts_with("webpack") || program.contains("storybook") || program == "wrangler"
}

/// The text of a script or task: a string, or the `command` of an object.
pub(super) fn text<'a>(configuration: &'a Value, table: &str, name: &str) -> Option<&'a str> {
    let script = configuration.get(table)?.get(name)?;
    script.as_str().or_else(|| script.get("command")?.as_str())
}

/// The command of the process that a Procfile calls `web`.
pub(super) fn web_process(procfile: &str) -> Option<&str> {
    let mut lines = procfile.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(name, _)| name.trim() == "web").map(|(_, command)| command.trim())
}
