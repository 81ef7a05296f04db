//! The entries that commands name: scripts, tasks, and programs of packages.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::command::{self, Command, Target};
use super::super::files::{self, Resolved, resolve};
use super::super::misses::{Kind, Setting};
use super::super::outputs::{self, Output, shortened};
use super::super::{Entry, PACKAGE_FILE, PROGRAMS, SLOPPY_IMPORTS, env, members, programs, scripts};
use super::{Search, SearchResult, Table};

/// The depth of scripts that run each other.
const MAX_SCRIPTS: usize = 8;

/// Environment files, and preloaded modules, of one command.
const MAX_ENV_FILES: usize = 4;
const MAX_PRELOADED: usize = 16;

impl<'a> Search<'a> {
    pub(super) fn script(&mut self, table: Table, name: &str) -> SearchResult {
        match self.script_text(table, name) {
            Some((named, text)) => self.command(&named, text, "", table, 0),
            None => Ok(None),
        }
    }

    fn script_text(&self, table: Table, name: &str) -> Option<(Setting, &'a str)> {
        let (config, key) = match table {
            Table::Tasks => (self.config?, "tasks"),
            Table::Scripts => (self.package?, "scripts"),
        };
        let text = scripts::text(config.value, key, name)?;
        Some((Setting { file: config.file, field: format!("{key}.{name}") }, text))
    }

    /// Returns the entry of the last command in `text` that runs a program; commands run in
    /// `folder`. Later commands with unknown programs are skipped.
    pub(super) fn command(
        &mut self,
        named: &Setting,
        text: &str,
        folder: &str,
        table: Table,
        depth: usize,
    ) -> SearchResult {
        let before = self.misses.count();
        for command in command::understand(text, folder) {
            let is_one_of_many = command.is_one_of_many;
            let found = self.run_by(named, command, table, depth)?;
            if found.is_some() {
                self.misses.forget_after(before);
                return Ok(found);
            }
            if !self.misses.is_last(Kind::Unclear) && !is_one_of_many {
                return Ok(None);
            }
        }
        if self.misses.count() == before {
            let what = format!("({:?}) does not name the file to serve", shortened(text));
            self.misses.add(named, what, Kind::Unclear);
        }
        Ok(None)
    }

    fn run_by(&mut self, named: &Setting, mut command: Command, table: Table, depth: usize) -> SearchResult {
        let Some(left) = self.commands.checked_sub(1) else { return Ok(None) };
        self.commands = left;
        let found = match &command.target {
            Target::File(name) if is_for_developers(name) => {
                let what = format!("runs {}, which is a development server", shortened(name));
                self.misses.add(named, what, Kind::Tool);
                None
            }
            Target::File(name) => self.candidate(named, "runs", name)?.map(|path| self.entry(path, named)),
            Target::Script(name) => {
                let before = self.misses.count();
                let found = self.script_of(named, name, &command, table, depth)?;
                if found.is_none() && self.misses.count() == before {
                    let what = format!("runs the script {:?}, which runs no program", shortened(name));
                    self.misses.add(named, what, Kind::Unclear);
                }
                found
            }
            Target::Program(name) if command.member.is_some() || !command.folder.is_empty() => {
                match self.script_of(named, name, &command, table, depth)? {
                    None => self.program(named, name, &command)?,
                    found => found,
                }
            }
            Target::Program(name) => match self.other_script(named, name, table, depth)? {
                None if name == "next" && is_start(&command) => self.next(named, &mut command)?,
                None => self.program(named, name, &command)?,
                found => found,
            },
        };
        Ok(found.map(|entry| self.with(entry, command, named)))
    }

    /// A script that a command runs: one of the project's, or of the folder or workspace member
    /// that it is run in.
    fn script_of(
        &mut self,
        named: &Setting,
        name: &str,
        command: &Command,
        table: Table,
        depth: usize,
    ) -> SearchResult {
        let folder = match &command.member {
            Some(member) => match self.member(member) {
                Some(folder) => folder,
                None => return Ok(None),
            },
            None => command.folder.clone(),
        };
        let Some(folder) = files::inside(&folder) else { return Ok(None) };
        if folder.is_empty() {
            return self.other_script(named, name, table, depth);
        }
        let package = files::read_object(&self.dir.join(&folder).join(PACKAGE_FILE)).unwrap_or_default();
        match scripts::text(&package, "scripts", name) {
            Some(text) if depth < MAX_SCRIPTS => {
                self.command(named, text, &folder, Table::Scripts, depth + 1)
            }
            _ => Ok(None),
        }
    }

    /// The folder of a member of the workspace. Looking for it may read many small files.
    fn member(&mut self, name: &str) -> Option<String> {
        self.lookups = self.lookups.checked_sub(1)?;
        members::find(self.dir, self.package.map(|package| package.value), name)
    }

    /// A script that another one runs, first looked for in the same table.
    fn other_script(&mut self, named: &Setting, name: &str, table: Table, depth: usize) -> SearchResult {
        let tables = match table {
            Table::Tasks => [Table::Tasks, Table::Scripts],
            Table::Scripts => [Table::Scripts, Table::Tasks],
        };
        let found = tables.into_iter().find_map(|table| Some((table, self.script_text(table, name)?)));
        let is_itself = |other: &Setting| other.field == named.field && other.file == named.file;
        match found {
            Some((table, (other, text))) if depth < MAX_SCRIPTS && !is_itself(&other) => {
                self.command(&other, text, "", table, depth + 1)
            }
            _ => Ok(None),
        }
    }

    /// A program of a package.
    fn program(&mut self, named: &Setting, name: &str, command: &Command) -> SearchResult {
        let package = self.package.map_or(&Value::Null, |package| package.value);
        if name == "nest" && is_start(command) {
            let found = self.candidate(named, "runs", "dist/main")?;
            return Ok(found.map(|path| self.entry(path, named)));
        }
        if !scripts::is_tool(name) && !command.folder.is_empty() {
            let what = format!("runs {:?} in {}", shortened(name), shortened(&command.folder));
            self.misses.add(named, what, Kind::Unclear);
            return Ok(None);
        }
        if scripts::is_tool(name) || name == "next" {
            let what = format!("runs {}, which does not name the file to serve", shortened(name));
            self.misses.add(named, what, Kind::Tool);
            return Ok(None);
        }
        self.installed(named, name, package)
    }

    fn installed(&mut self, named: &Setting, name: &str, package: &Value) -> SearchResult {
        let is_allowed = self.lookups > 0;
        self.lookups = self.lookups.saturating_sub(1);
        let found = is_allowed.then(|| programs::find(self.dir, package, name)).flatten();
        let expected = || {
            let is_expected = !name.contains('/') && programs::may_be_installed(self.dir, package);
            is_expected.then(|| format!("{PROGRAMS}{name}"))
        };
        match found.or_else(expected) {
            Some(path) => Ok(Some(self.entry(path, named))),
            None => {
                let what =
                    format!("runs {:?}, a program that no installed package provides", shortened(name));
                self.misses.add(named, what, Kind::Unclear);
                Ok(None)
            }
        }
    }

    /// The server that stands for `next start`.
    fn next(&mut self, named: &Setting, command: &mut Command) -> SearchResult {
        let package = self.package.map_or(&Value::Null, |package| package.value);
        if outputs::is_next_export(self.dir) {
            let what = "runs next start, which does not serve the output of output: \"export\"".to_owned();
            self.misses.add(named, what, Kind::Tool);
            return Ok(None);
        }
        if !self.dir.join(".next/BUILD_ID").is_file() {
            return Err(self.not_built(named, "serves", ".next"));
        }
        let Some(output) = outputs::next(self.dir, package) else {
            return self.installed(named, "next", package);
        };
        if output.args.is_empty() {
            // The standalone server accepts no arguments.
            command.args.clear();
        }
        let Output { path, folders: outputs, warnings, .. } = output;
        Ok(Some(Entry { outputs, warnings, ..self.entry(path, named) }))
    }

    /// The entry with its command's arguments, variables and preloaded modules.
    fn with(&self, mut entry: Entry, command: Command, named: &Setting) -> Entry {
        entry.args.extend(command.args);
        let folder = &command.folder;
        let preload = command.preload.iter().take(MAX_PRELOADED).map(|name| self.preloaded(folder, name));
        entry.preload = preload.chain(std::mem::take(&mut entry.preload)).collect();
        let mut variables = BTreeMap::new();
        for file in command.env_files.iter().take(MAX_ENV_FILES) {
            match env::read(self.dir, &in_folder(folder, file)) {
                Some(read) => variables.extend(read),
                None => entry.warnings.push(format!(
                    "{named} reads variables from {}, which does not exist: the operator's policy can set them",
                    shortened(file)
                )),
            }
        }
        variables.extend(command.env);
        variables.retain(|name, value| env::may_be_set(name) && !value.contains('\0'));
        if command.is_compiled {
            variables.insert(SLOPPY_IMPORTS.to_owned(), "1".to_owned());
        }
        // The innermost command takes precedence.
        variables.append(&mut entry.env);
        entry.env = variables;
        entry.outputs.extend(entry.args.iter().filter_map(|arg| files::output_folder(arg)));
        entry.outputs.sort();
        entry.outputs.dedup();
        entry
    }

    /// Returns the specifier of a preloaded module, with the extension that Node would add.
    fn preloaded(&self, folder: &str, name: &str) -> String {
        match resolve(self.dir, &in_folder(folder, name)) {
            Resolved::Program(path) if name.starts_with('.') => format!("./{path}"),
            _ => name.to_owned(),
        }
    }
}

/// Returns a path that a command in `folder` names, relative to the project.
fn in_folder(folder: &str, path: &str) -> String {
    if folder.is_empty() { path.to_owned() } else { format!("{folder}/{path}") }
}

fn is_start(command: &Command) -> bool {
    command.args.first().is_some_and(|arg| arg == "start")
}

/// `dev.ts`: the development server of Fresh.
fn is_for_developers(name: &str) -> bool {
    let name = name.rsplit('/').next().unwrap_or(name);
    name.split('.').next() == Some("dev")
}
