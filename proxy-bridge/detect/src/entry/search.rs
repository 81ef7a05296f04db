//! The search for the entry, through all sources that may name it, by precedence.

mod commands;

use std::path::Path;

use serde_json::Value;

use super::files::{self, Resolved, resolve};
use super::misses::{Kind, Misses, Setting};
use super::outputs::{self, Output, shortened};
use super::{Config, Entry, PROCFILE, PROGRAMS, fields, scripts, worker};
use crate::config::in_file;
use switchyard_contract::event::Diagnostic;

/// Warnings that are shown of one entry.
const MAX_WARNINGS: usize = 16;

/// Commands that are followed in one search: scripts may run each other many times over.
const MAX_COMMANDS: usize = 64;

/// Searches for a program in the packages, each of which may read megabytes.
const MAX_LOOKUPS: usize = 4;

/// Bytes in a Procfile.
const MAX_PROCFILE: u64 = 64 << 10;

type SearchResult = Result<Option<Entry>, Diagnostic>;

pub(super) struct Search<'a> {
    dir: &'a Path,
    config: Option<Config<'a>>,
    package: Option<Config<'a>>,
    misses: Misses,
    /// Commands that may still be followed.
    commands: usize,
    /// Programs that may still be searched for in packages.
    lookups: usize,
}

/// The kinds of commands of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Table {
    Tasks,
    Scripts,
}

impl<'a> Search<'a> {
    pub(super) fn new(dir: &'a Path, config: Option<Config<'a>>, package: Option<Config<'a>>) -> Self {
        Self { dir, config, package, misses: Misses::default(), commands: MAX_COMMANDS, lookups: MAX_LOOKUPS }
    }

    pub(super) fn run(mut self) -> Result<Entry, Diagnostic> {
        let args = self.own_args()?;
        let found = match self.own()? {
            Some(entry) => entry,
            None => self.chosen()?,
        };
        let warnings = self.misses.sentences().chain(found.warnings).take(MAX_WARNINGS).collect();
        Ok(Entry { args: args.unwrap_or(found.args), warnings, ..found })
    }

    /// Reads `switchyard.entry`, which is never skipped.
    fn own(&self) -> SearchResult {
        let Some((file, value)) = self.own_field("entry") else { return Ok(None) };
        let named = Setting { file, field: "switchyard.entry".to_owned() };
        let Some(name) = value.as_str() else {
            return Err(in_file(file, format!("\"{}\" in {file} must be a string", named.field)));
        };
        let what = match resolve(self.dir, name) {
            // Another kind of file, such as a page, is left to the caller.
            Resolved::Program(path) | Resolved::NoProgram(path) => {
                return Ok(Some(self.entry(path, &named)));
            }
            Resolved::Missing if name.starts_with(PROGRAMS) => {
                return Ok(Some(self.entry(name.to_owned(), &named)));
            }
            Resolved::Missing if self.is_unbuilt(name) => return Err(self.not_built(&named, "names", name)),
            Resolved::Missing => "does not exist",
            Resolved::Outside => "is outside the project",
        };
        let message = format!("the entry {:?} {what}: fix \"{}\" in {file}", shortened(name), named.field);
        Err(in_file(file, message))
    }

    fn own_args(&self) -> Result<Option<Vec<String>>, Diagnostic> {
        let Some((file, value)) = self.own_field("args") else { return Ok(None) };
        let wrong = || {
            let shape = "must be a list of strings (at most 100, and 16 KiB together): the entry's arguments";
            in_file(file, format!("\"switchyard.args\" in {file} {shape}"))
        };
        fields::arguments(value).map(Some).ok_or_else(wrong)
    }

    fn own_field(&self, name: &str) -> Option<(&'static str, &'a Value)> {
        let Config { file, value } = self.config?;
        Some((file, value.get("switchyard")?.get(name)?))
    }

    fn chosen(&mut self) -> Result<Entry, Diagnostic> {
        let is_worker = self.own_field("platform").is_some_and(|(_, platform)| platform == "workers");
        let steps: [fn(&mut Self) -> SearchResult; 5] =
            [Self::deployed, Self::started, Self::worker, Self::modules, Self::unnamed];
        if is_worker && let Some(entry) = self.worker()? {
            return Ok(entry);
        }
        for step in steps {
            if let Some(entry) = step(self)? {
                return Ok(entry);
            }
        }
        Err(std::mem::take(&mut self.misses).into_error())
    }

    /// The entrypoint of Deno Deploy.
    fn deployed(&mut self) -> SearchResult {
        let Some(Config { file, value }) = self.config else { return Ok(None) };
        let Some((field, path, args)) = fields::deployed(value) else { return Ok(None) };
        let named = Setting { file, field: field.to_owned() };
        let found = self.candidate(&named, "names", path)?;
        Ok(found.map(|path| Entry { args, ..self.entry(path, &named) }))
    }

    /// The program that the project's start commands run.
    fn started(&mut self) -> SearchResult {
        if let Some(entry) = self.script(Table::Tasks, "start")? {
            return Ok(Some(entry));
        }
        let procfile = files::read_text(&self.dir.join(PROCFILE), MAX_PROCFILE).unwrap_or_default();
        if let Some(command) = scripts::web_process(&procfile) {
            let named = Setting { file: PROCFILE, field: "web".to_owned() };
            if let Some(entry) = self.command(&named, command, "", Table::Scripts, 0)? {
                return Ok(Some(entry));
            }
        }
        for name in scripts::START {
            if let Some(entry) = self.script(Table::Scripts, name)? {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    fn worker(&mut self) -> SearchResult {
        let Some((file, main)) = worker::main(self.dir) else { return Ok(None) };
        let named = Setting { file, field: "main".to_owned() };
        let found = self.candidate(&named, "names", &main)?;
        Ok(found.map(|path| self.entry(path, &named)))
    }

    /// `exports` and `main`.
    fn modules(&mut self) -> SearchResult {
        for Config { file, value } in self.config.into_iter().chain(self.package) {
            let main = value.get("main").and_then(Value::as_str);
            let fields = [("exports", fields::exported(value)), ("main", main)];
            for (field, name) in fields {
                let Some(name) = name else { continue };
                let named = Setting { file, field: field.to_owned() };
                if let Some(path) = self.candidate(&named, "names", name)? {
                    return Ok(Some(self.entry(path, &named)));
                }
            }
        }
        Ok(None)
    }

    /// Finds an entry that nothing names: a built server, or a conventional name.
    fn unnamed(&mut self) -> SearchResult {
        let built = |output: Output| Entry {
            path: output.path,
            args: output.args,
            reason: output.reason,
            outputs: output.folders,
            warnings: output.warnings,
            ..Entry::default()
        };
        let by_name = |path: String| Entry { path, reason: "its name".to_owned(), ..Entry::default() };
        let package = self.package.map(|package| package.value);
        if let Some(output) = outputs::certain(self.dir, package) {
            return Ok(Some(built(output)));
        }
        if let Some(path) = files::conventional(self.dir, "") {
            return Ok(Some(by_name(path)));
        }
        if let Some(entry) = self.quietly(&scripts::SERVE)? {
            return Ok(Some(entry));
        }
        if let Some(output) = outputs::possible(self.dir, package) {
            return Ok(Some(built(output)));
        }
        if let Some(message) = outputs::unbuilt(self.dir, package) {
            return Err(Diagnostic { message, ..Diagnostic::default() });
        }
        if let Resolved::Program(path) = resolve(self.dir, files::PROGRAM_FILE) {
            return Ok(Some(by_name(path)));
        }
        if let Some(path) = files::conventional(self.dir, "src/") {
            return Ok(Some(by_name(path)));
        }
        self.quietly(&scripts::DEVELOP)
    }

    /// Returns the file that one of these commands runs. Unusable commands are not reported.
    fn quietly(&mut self, names: &[&str]) -> SearchResult {
        let before = self.misses.count();
        for name in names {
            for table in [Table::Tasks, Table::Scripts] {
                let found = self.script(table, name).unwrap_or_default();
                if let Some(entry) = found.filter(|entry| !super::is_in_package(&entry.path)) {
                    return Ok(Some(entry));
                }
                self.misses.forget_after(before);
            }
        }
        Ok(None)
    }

    /// Returns `true` if a missing build is a library's, beside a program with a conventional name, or if the project is a
    /// built server itself, whose package.json was copied beside it.
    fn may_be_passed_over(&self, named: &Setting) -> bool {
        let is_librarys = matches!(named.field.as_str(), "main" | "exports");
        (is_librarys && files::conventional(self.dir, "").is_some()) || self.is_output()
    }

    /// Returns `true` if the project is the output of a framework, without its source.
    fn is_output(&self) -> bool {
        let package = self.package.map(|package| package.value);
        let is_here = |output: Output| {
            files::output_folder(&output.path).is_none() && !super::is_in_package(&output.path)
        };
        outputs::certain(self.dir, package).is_some_and(is_here)
            || outputs::possible(self.dir, package).is_some_and(is_here)
    }

    fn not_built(&self, named: &Setting, verb: &str, name: &str) -> Diagnostic {
        let package = self.package.map(|package| package.value);
        in_file(named.file, format!("{named} {verb} {}", outputs::not_built(self.dir, package, name)))
    }

    fn is_unbuilt(&self, name: &str) -> bool {
        outputs::is_unbuilt(self.dir, self.package.map(|package| package.value), name)
    }

    fn entry(&self, path: String, named: &Setting) -> Entry {
        Entry { path, reason: named.to_string(), ..Entry::default() }
    }

    /// Returns the program that a source names, or `None` with a warning.
    ///
    /// # Errors
    /// It is missing because the project has not been built.
    fn candidate(&mut self, named: &Setting, verb: &str, name: &str) -> Result<Option<String>, Diagnostic> {
        let shown = shortened(name);
        let what = match resolve(self.dir, name) {
            Resolved::Program(path) => return Ok(Some(path)),
            Resolved::NoProgram(path) if is_page(&path) => {
                format!("{verb} {path}, an HTML page, which cannot be run")
            }
            Resolved::NoProgram(path) => format!("{verb} {path}, which is not JavaScript"),
            Resolved::Missing if self.is_unbuilt(name) && !self.may_be_passed_over(named) => {
                return Err(self.not_built(named, verb, name));
            }
            Resolved::Missing => format!("{verb} {shown}, which does not exist"),
            Resolved::Outside => format!("{verb} {shown}, which is outside the project"),
        };
        let is_left_over = named.field == "main" && matches!(name, "index.js" | "./index.js");
        let kind = if is_left_over || is_page(name) { Kind::LeftOver } else { Kind::File };
        self.misses.add(named, what, kind);
        Ok(None)
    }
}

fn is_page(path: &str) -> bool {
    path.ends_with(".html") || path.ends_with(".htm")
}
