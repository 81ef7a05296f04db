//! The search for a project's entry: the file that is run, and how. The router and the client that
//! uploads a project share it. The search runs no code, and bounds everything that it reads from
//! the project.

mod command;
mod env;
mod fields;
mod files;
mod members;
mod misses;
mod outputs;
mod programs;
mod scripts;
mod search;
mod shell;
mod worker;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use switchyard_contract::admin::ChosenEntry;
use switchyard_contract::event::Diagnostic;

/// Deno's configuration. If both exist, the first one is used.
pub const CONFIG_FILES: [&str; 2] = ["deno.json", "deno.jsonc"];

/// Node's configuration.
pub const PACKAGE_FILE: &str = "package.json";

/// The file that names processes, on Heroku and similar hosts.
const PROCFILE: &str = "Procfile";

/// The variables of a project on a developer's machine.
const ENV_FILE: &str = ".env";

/// The folder of programs from packages. An entry below it may name a program that is not installed
/// yet.
const PROGRAMS: &str = "node_modules/.bin/";

/// The variable by which Deno looks for `a.ts` where `./a.js` or `./a` is imported. An [`Entry`]
/// sets it where its command runs a tool that does so.
pub const SLOPPY_IMPORTS: &str = "DENO_UNSTABLE_SLOPPY_IMPORTS";

/// A configuration file and the JSON object in it.
#[derive(Debug, Clone, Copy)]
pub struct Config<'a> {
    pub file: &'static str,
    pub value: &'a Value,
}

/// The file of a project that is run, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// Relative to the project, with `/` between. `node_modules/.bin/NAME`: the program of that
    /// name, which a package that is not installed yet may bring; see [`program`].
    pub path: String,
    /// The arguments of the program: `Deno.args`, and the rest of `process.argv` after the file
    /// name. Variables in them are not replaced yet; see [`arguments`].
    pub args: Vec<String>,
    /// The source that chose it, as text for the log: `main in package.json`.
    pub reason: String,
    /// Modules that are evaluated before it, as `node --import` takes them.
    pub preload: Vec<String>,
    /// Variables that the start command sets. Those of the policy take precedence.
    pub env: BTreeMap<String, String>,
    /// Folders that it serves from besides its own. Git may ignore them.
    pub outputs: Vec<String>,
    /// Warnings for the author: sources of an entry that were skipped, and files that are missing.
    pub warnings: Vec<String>,
}

/// Finds the entry of the project in `dir`, whose Deno configuration and package.json are given where it has
/// them: what is named most closely, else the server that a framework has built, else the first of the conventional
/// names. `docs/entry.md` has the whole order.
///
/// # Errors
/// `switchyard.entry` or `switchyard.args` is not as it has to be, or a named file is not there because the project
/// has not been built. Where nothing names an entry and no file has a conventional name, the error has no `file`.
pub fn find(
    dir: &Path,
    config: Option<Config<'_>>,
    package: Option<Config<'_>>,
) -> Result<Entry, Diagnostic> {
    search::Search::new(dir, config, package).run()
}

/// The file of the program that `path` (`node_modules/.bin/NAME`) stands for, relative to the
/// project in `dir`, when a package that the project's package.json names is installed and brings
/// it.
pub fn program(dir: &Path, path: &str) -> Option<String> {
    let name = path.strip_prefix(PROGRAMS)?;
    let package = files::read_object(&dir.join(PACKAGE_FILE)).unwrap_or_default();
    programs::find(dir, &package, name)
}

/// The configuration that starts a program of the project in `dir`, which therefore is not a site:
/// a start script that runs more than development servers, or a Procfile. In words: `scripts.start
/// in package.json`.
pub fn start_of_program(dir: &Path, package: Option<Config<'_>>) -> Option<String> {
    let script = package.and_then(|package| scripts::start_of_program(package.value));
    let script = script.map(|script| format!("scripts.{script} in {PACKAGE_FILE}"));
    script.or_else(|| dir.join(PROCFILE).is_file().then(|| PROCFILE.to_owned()))
}

/// Returns true for the path of a file, relative to a project, by whose name an entry may be found.
pub(crate) fn is_sign(path: &str) -> bool {
    CONFIG_FILES.contains(&path)
        || matches!(path, PACKAGE_FILE | PROCFILE)
        || files::is_conventional(path)
        || outputs::is_server(path)
}

/// Returns the variables in the file `.env` of the project in `dir`, without those that the router
/// sets. Empty if there is no such file, or it cannot be read.
pub fn env_file(dir: &Path) -> Vec<(String, String)> {
    let mut variables = env::read(dir, ENV_FILE).unwrap_or_default();
    variables.retain(|(name, value)| env::may_be_set(name) && !value.contains('\0'));
    variables
}

/// Returns true for an entry that lies in a package.
pub fn is_in_package(path: &str) -> bool {
    path.split('/').any(|part| part == "node_modules")
}

/// Returns an entry's arguments with variables replaced: `$NAME`, `${NAME}` and `${NAME:-default}`.
pub fn arguments(args: &[String], env: &BTreeMap<String, String>) -> Vec<String> {
    args.iter().map(|arg| env::expand(arg, env)).collect()
}

#[cfg(test)]
mod tests;

impl From<&Entry> for ChosenEntry {
    fn from(entry: &Entry) -> Self {
        let Entry { path, args, reason, warnings, .. } = entry.clone();
        Self { path, args, reason, warnings }
    }
}
