//! Servers built by frameworks, recognised by their files, and sources that have not been built.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::files::{self, inside, read_object};
use crate::config::MAX_CONFIG;

/// Folders below `dist` that are looked into for a server of Angular's.
const MAX_FOLDERS: usize = 64;

/// A built server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Output {
    /// Relative to the project.
    pub(super) path: String,
    pub(super) args: Vec<String>,
    /// The source as text: `the build of SvelteKit`.
    pub(super) reason: String,
    /// Folders that it serves from besides that of `path`.
    pub(super) folders: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// A server, and a file beside it that identifies the framework.
struct Layout {
    framework: &'static str,
    server: &'static str,
    sign: &'static str,
}

/// Layouts that identify a framework for certain.
const CERTAIN: [Layout; 8] = [
    Layout { framework: "SvelteKit", server: "build/index.js", sign: "build/handler.js" },
    Layout { framework: "SvelteKit", server: "index.js", sign: "handler.js" },
    Layout { framework: "Nitro", server: ".output/server/index.mjs", sign: ".output/nitro.json" },
    Layout { framework: "Nitro", server: "server/index.mjs", sign: "nitro.json" },
    Layout { framework: "Analog", server: "dist/analog/server/index.mjs", sign: "dist/analog/public" },
    Layout { framework: "Fresh", server: "_fresh/server.js", sign: "_fresh" },
    Layout { framework: "Astro", server: "server/entry.mjs", sign: "client" },
    Layout { framework: "Qwik", server: "server/entry.node-server.mjs", sign: "dist" },
];

/// Layouts with a server that a program of the project may import: tried after the conventional
/// names.
const POSSIBLE: [Layout; 5] = [
    Layout { framework: "Astro", server: "dist/server/entry.mjs", sign: "dist/client" },
    Layout { framework: "Qwik", server: "server/entry.express.mjs", sign: "dist" },
    Layout { framework: "Qwik", server: "server/entry.express.js", sign: "dist" },
    Layout { framework: "Angular", server: "server/server.mjs", sign: "browser" },
    Layout { framework: "TanStack Start", server: "dist/server/server.js", sign: "dist/client" },
];

/// A framework, recognised by a package that the project depends on and by one of its source files.
struct Framework {
    name: &'static str,
    package: &'static str,
    /// Any of these files. Empty: the package is enough.
    source: &'static [&'static str],
}

const FRAMEWORKS: [Framework; 18] = [
    Framework { name: "Next.js", package: "next", source: &[] },
    Framework { name: "Nuxt", package: "nuxt", source: &[] },
    Framework { name: "SvelteKit", package: "@sveltejs/kit", source: &[] },
    Framework { name: "Astro", package: "astro", source: &[] },
    Framework { name: "React Router", package: "@react-router/dev", source: &[] },
    Framework { name: "Remix", package: "@remix-run/dev", source: &[] },
    Framework { name: "SolidStart", package: "@solidjs/start", source: &[] },
    Framework { name: "TanStack Start", package: "@tanstack/react-start", source: &[] },
    Framework { name: "TanStack Start", package: "@tanstack/solid-start", source: &[] },
    Framework { name: "Analog", package: "@analogjs/platform", source: &[] },
    Framework { name: "Qwik", package: "@builder.io/qwik-city", source: &[] },
    Framework { name: "Angular", package: "@angular/cli", source: &["angular.json"] },
    Framework {
        name: "Nitro",
        package: "nitropack",
        source: &["nitro.config.ts", "nitro.config.js", "routes"],
    },
    Framework { name: "Nitro", package: "nitro", source: &["nitro.config.ts", "nitro.config.js", "routes"] },
    Framework { name: "Create React App", package: "react-scripts", source: &["public/index.html"] },
    Framework { name: "Vue CLI", package: "@vue/cli-service", source: &["public/index.html"] },
    Framework { name: "Parcel", package: "parcel", source: &["index.html", "src/index.html"] },
    Framework { name: "Vite", package: "vite", source: &["index.html"] },
];

/// The built server of a layout that identifies its framework for certain.
pub(super) fn certain(dir: &Path, package: Option<&Value>) -> Option<Output> {
    next(dir, package.unwrap_or(&Value::Null)).or_else(|| CERTAIN.iter().find_map(|layout| layout.found(dir)))
}

/// The built server of a layout that a program of the project may import.
pub(super) fn possible(dir: &Path, package: Option<&Value>) -> Option<Output> {
    let found = POSSIBLE.iter().find_map(|layout| layout.found(dir));
    found.or_else(|| angular(dir)).or_else(|| react_router(dir, package?))
}

/// Returns true for the path of a built server.
pub(super) fn is_server(path: &str) -> bool {
    CERTAIN.iter().chain(&POSSIBLE).any(|layout| layout.server == path)
}

impl Layout {
    fn found(&self, dir: &Path) -> Option<Output> {
        let Self { framework, server, sign } = self;
        let is_there = dir.join(server).is_file() && dir.join(sign).exists();
        is_there.then(|| Output {
            path: (*server).to_owned(),
            reason: format!("the build of {framework}"),
            folders: dir.join(sign).is_dir().then(|| (*sign).to_owned()).into_iter().collect(),
            ..Output::default()
        })
    }
}

/// `dist/NAME/server/server.mjs`
fn angular(dir: &Path) -> Option<Output> {
    let folders = fs::read_dir(dir.join("dist")).ok()?.take(MAX_FOLDERS).flatten();
    let mut names: Vec<_> = folders.filter_map(|folder| folder.file_name().into_string().ok()).collect();
    names.sort();
    let mut servers = names.into_iter().map(|name| format!("dist/{name}/server/server.mjs"));
    let path = servers.find(|path| dir.join(path).is_file())?;
    Some(Output { path, reason: "the build of Angular".to_owned(), ..Output::default() })
}

/// React Router and Remix: a module that one of their packages serves.
fn react_router(dir: &Path, package: &Value) -> Option<Output> {
    let server = "build/server/index.js";
    if !dir.join(server).is_file() {
        return None;
    }
    let programs = [("React Router", "react-router-serve"), ("Remix", "remix-serve")];
    programs.into_iter().find_map(|(framework, program)| {
        let path = super::programs::find(dir, package, program)?;
        let (args, folders) = (vec![server.to_owned()], vec!["build".to_owned()]);
        let reason = format!("the build of {framework}, started with {program}");
        Some(Output { path, args, reason, folders, warnings: Vec::new() })
    })
}

/// Returns `true` where Next.js has exported pages (`output: "export"`), which its server refuses
/// to serve.
pub(super) fn is_next_export(dir: &Path) -> bool {
    if !dir.join(".next/BUILD_ID").is_file() {
        return dir.join("out/index.html").is_file();
    }
    let files = read_object(&dir.join(".next/required-server-files.json"));
    files.is_some_and(|files| files.pointer("/config/output").is_some_and(|output| output == "export"))
}

/// Next.js: a standalone server with its static files, else `next start` if the package is
/// installed.
pub(super) fn next(dir: &Path, package: &Value) -> Option<Output> {
    if !dir.join(".next/BUILD_ID").is_file() || is_next_export(dir) {
        return None;
    }
    let folders = [".next", "public"].map(str::to_owned).to_vec();
    let server = standalone(dir);
    let program = || super::programs::find(dir, package, "next");
    let has_assets = server.as_ref().is_none_or(|server| has_assets(dir, server));
    match (server, program()) {
        (Some(path), program) if has_assets || program.is_none() => Some(Output {
            warnings: (!has_assets).then(|| missing_assets(&path)).into_iter().collect(),
            path,
            reason: "the standalone build of Next.js".to_owned(),
            folders,
            ..Output::default()
        }),
        (_, Some(path)) => Some(Output {
            path,
            args: vec!["start".to_owned()],
            reason: "the build of Next.js, by next start".to_owned(),
            folders,
            ..Output::default()
        }),
        (_, None) => None,
    }
}

/// The standalone server: at the root when `dir` is the output itself, and in a workspace at the
/// path that the application has there.
fn standalone(dir: &Path) -> Option<String> {
    let files = read_object(&dir.join(".next/required-server-files.json"))?;
    let folder = files.get("relativeAppDir").and_then(Value::as_str).unwrap_or_default();
    let mut paths = [format!(".next/standalone/{folder}/server.js"), "server.js".to_owned()];
    if dir.join("next.config.js").exists() || dir.join("next.config.ts").exists() {
        paths[1].clear();
    }
    let mut paths = paths.iter().filter_map(|path| inside(path));
    paths.find(|path| !path.is_empty() && is_standalone(&dir.join(path)))
}

/// Returns `true` for the server.js that Next.js generates: projects may have one of their own.
fn is_standalone(server: &Path) -> bool {
    let text = files::read_text(server, MAX_CONFIG).unwrap_or_default();
    text.contains("__NEXT_PRIVATE_STANDALONE_CONFIG")
}

/// Returns `true` if the static files are where the standalone server looks for them.
fn has_assets(dir: &Path, server: &str) -> bool {
    let beside = dir.join(server.trim_end_matches("server.js"));
    let is_there = |from: &str, to: &str| !dir.join(from).exists() || beside.join(to).exists();
    is_there(".next/static", ".next/static") && is_there("public", "public")
}

fn missing_assets(server: &str) -> String {
    let folder = server.trim_end_matches("/server.js");
    format!(
        "the standalone build of Next.js has no static files beside its server, and answers 404 for them: after \
         next build, cp -r .next/static {folder}/.next/ and cp -r public {folder}/"
    )
}

/// The message for the source of a framework's application that has not been built.
pub(super) fn unbuilt(dir: &Path, package: Option<&Value>) -> Option<String> {
    let package = package?;
    let depends = |name: &str| {
        ["dependencies", "devDependencies"]
            .iter()
            .any(|field| package.get(field).is_some_and(|dependencies| dependencies.get(name).is_some()))
    };
    let has_source = |framework: &Framework| {
        framework.source.is_empty() || framework.source.iter().any(|file| dir.join(file).exists())
    };
    let framework = FRAMEWORKS.iter().find(|known| depends(known.package) && has_source(known))?;
    let folders = [".next/BUILD_ID", ".output", "build", "dist"];
    if let Some(folder) = folders.into_iter().find(|folder| dir.join(folder).exists()) {
        let folder = folder.split('/').next().unwrap_or_default();
        return Some(format!(
            "no entry: {} has built {folder}, and there is no server in it that is known, nor a page; name the file that \
             node would run in deno.json as \"switchyard\": {{\"entry\": …}}",
            framework.name
        ));
    }
    Some(format!(
        "this is the source of a project that {} builds, and it has not been built: run {} in it and put \
         what that makes on the volume too",
        framework.name,
        build_command(Some(package)),
    ))
}

/// Returns `true` if a missing file would be made by a build.
pub(super) fn is_unbuilt(dir: &Path, package: Option<&Value>, name: &str) -> bool {
    let builds = package.is_some_and(|package| package.pointer("/scripts/build").is_some());
    let has_source = || ["tsconfig.json", "src"].iter().any(|file| dir.join(file).exists());
    files::output_folder(name).is_some() && (builds || has_source())
}

/// The message for a missing file `name` that a build would make.
pub(super) fn not_built(dir: &Path, package: Option<&Value>, name: &str) -> String {
    let name = inside(name).unwrap_or_default();
    let folder = files::output_folder(&name).unwrap_or_default();
    let source = name.strip_prefix(&folder).and_then(|rest| source(dir, rest));
    let instead = source.map(|source| {
        format!(", or name the source in deno.json: \"switchyard\": {{\"entry\": \"{source}\"}}")
    });
    format!(
        "{}, which does not exist, as the project has not been built: run {} in it and put {folder} on the volume too{}",
        shortened(&name),
        build_command(package),
        instead.unwrap_or_default()
    )
}

/// The source from which `rest` (`/server.js`) in an output folder is built, if it can be found.
fn source(dir: &Path, rest: &str) -> Option<String> {
    let stem = rest.trim_start_matches('/');
    let stem = stem.rsplit_once('.').map_or(stem, |(stem, _)| stem);
    let stem = stem.strip_prefix("src/").unwrap_or(stem);
    let mut sources = [format!("src/{stem}"), stem.to_owned()].into_iter().filter(|path| !path.is_empty());
    sources.find_map(|path| match files::resolve(dir, &path) {
        files::Resolved::Program(path) if files::output_folder(&path).is_none() => Some(path),
        _ => None,
    })
}

/// Returns the command that builds a project.
fn build_command(package: Option<&Value>) -> String {
    let script = package.and_then(|package| package.get("scripts")?.get("build")?.as_str());
    match script {
        Some(script) => format!("npm run build ({:?})", shortened(script)),
        None => "its build command".to_owned(),
    }
}

/// A text from the project, cut to a length that fits in a message.
pub(super) fn shortened(text: &str) -> String {
    const MOST: usize = 80;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
