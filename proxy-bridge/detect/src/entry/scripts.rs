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
    "11ty",
    "analog",
    "angular",
    "antora",
    "astro",
    "babel",
    "browser-sync",
    "concurrently",
    "craco",
    "cypress",
    "docsify",
    "docusaurus",
    "dumi",
    "electron",
    "electron-forge",
    "eleventy",
    "elm-app",
    "elm-land",
    "ember",
    "esbuild",
    "eslint",
    "expo",
    "farm",
    "gatsby",
    "gatsby-cli",
    "gitbook",
    "gridsome",
    "grunt",
    "gulp",
    "hexo",
    "honkit",
    "http-server",
    "hugo",
    "ionic",
    "jest",
    "lerna",
    "lite-server",
    "live-server",
    "marp",
    "max",
    "metalsmith",
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
    "poi",
    "postcss",
    "preact",
    "quasar",
    "qwik",
    "react-app-rewired",
    "react-router",
    "react-scripts",
    "remix",
    "rescripts",
    "reveal-md",
    "rollup",
    "rsbuild",
    "rspack",
    "rspress",
    "run-p",
    "run-s",
    "sass",
    "serve",
    "sirv",
    "slidev",
    "snowpack",
    "stencil",
    "storybook",
    "stylelint",
    "svelte-kit",
    "tailwindcss",
    "taro",
    "tauri",
    "tsc",
    "tsup",
    "turbo",
    "umi",
    "vercel",
    "vinxi",
    "vite",
    "vitepress",
    "vitest",
    "vue-cli-service",
    "vuepress",
    "waku",
    "webpack",
    "wmr",
];

/// Returns `true` for one of those, and for the likes of `webpack-dev-server` and
/// `start-storybook`.
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

/// Tools that run other programs of an unknown kind.
const RUNNERS: [&str; 8] = ["concurrently", "npm-run-all", "run-p", "run-s", "turbo", "nx", "lerna", "tsc"];

/// Words of start commands that are no program of the project's, as `npm init` writes them.
const NOTHING: [&str; 4] = ["echo", "exit", "open", "http.server"];

/// Scripts that are followed from one.
const MAX_FOLLOWED: usize = 16;

/// The start script of a package that runs a program of its own, and not only tools.
pub(super) fn start_of_program(package: &Value) -> Option<&'static str> {
    let runs_program =
        |name: &&str| text(package, "scripts", name).is_some_and(|command| !shows_pages(package, command));
    START.into_iter().find(runs_program)
}

/// Returns `true` if a tool that shows pages is among the words of a command, or of the scripts
/// that it runs.
fn shows_pages(package: &Value, command: &str) -> bool {
    let mut commands = vec![command];
    let mut followed = 0;
    while let Some(command) = commands.pop() {
        let words = command.split(|c: char| c.is_whitespace() || "'\"&;|()".contains(c));
        let mut before = "";
        for word in words.map(|word| word.rsplit('/').next().unwrap_or(word)) {
            // `npm run serve`, `make serve`: a script of that name, regardless of its content.
            let is_script = matches!(std::mem::replace(&mut before, word), "run" | "run-script" | "make");
            let is_tool = is_tool(word) && !is_script && !RUNNERS.contains(&word);
            if is_tool || NOTHING.contains(&word) {
                return true;
            }
            let script = word.strip_prefix("npm:").unwrap_or(word);
            if let Some(script) = text(package, "scripts", script).filter(|_| followed < MAX_FOLLOWED) {
                followed += 1;
                commands.push(script);
            }
        }
    }
    false
}
