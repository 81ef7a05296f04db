//! The program that a start command would run: its file or script, arguments, variables and
//! preloaded modules. Nothing is run.

mod flags;

use self::flags::{
    DENO, EVERYWHERE, Flags, MANAGER, MEMBER, MONITOR, NODE, PACKAGES, PARALLEL, TS, VARIABLES, ValueFlags,
};
use super::shell;

/// The depth of commands that start another one: `cross-env A=b npx nodemon -x "ts-node app.ts"`
/// has three.
const MAX_WRAPPERS: usize = 8;

/// Commands that one command runs in parallel.
const MAX_PARALLEL: usize = 16;

/// The last part of a start command that runs a program.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Command {
    pub(super) target: Target,
    pub(super) args: Vec<String>,
    /// Variables that are set for it, in their order.
    pub(super) env: Vec<(String, String)>,
    /// Environment files, relative to the folder that it runs in.
    pub(super) env_files: Vec<String>,
    /// Modules that are evaluated before the program.
    pub(super) preload: Vec<String>,
    /// The folder, relative to the project, that it is run in.
    pub(super) folder: String,
    /// The member of the workspace that it is run in, by its name or folder.
    pub(super) member: Option<String>,
    /// `true` if its modules are written for a compiler, whose imports may leave out or differ in the extension.
    pub(super) is_compiled: bool,
    /// `true` if other commands run in parallel, one of which may be the server.
    pub(super) is_one_of_many: bool,
}

/// The thing that a command runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A file, as Node resolves the name of one.
    File(String),
    /// A script of package.json or a task of deno.json.
    Script(String),
    /// A program that a package brings, or else a script of that name.
    Program(String),
}

impl Default for Target {
    fn default() -> Self {
        Self::File(String::new())
    }
}

/// Loader modules for Node whose features cells have anyway.
const OURS: &[&str] = &[
    "tsx",
    "tsx/esm",
    "tsx/cjs",
    "tsx/esm/api",
    "ts-node",
    "ts-node/register",
    "ts-node/register/transpile-only",
    "ts-node/esm",
    "@swc-node/register",
    "@swc-node/register/esm",
    "@swc/register",
    "@babel/register",
    "babel-register",
    "esbuild-register",
    "esm",
    "source-map-support/register",
];

/// The commands of `text`, run in `folder`, that run a program, the last one first. Commands that are not understood
/// are left out.
pub(super) fn understand(text: &str, folder: &str) -> Vec<Command> {
    let mut folder = folder.to_owned();
    let mut found = Vec::new();
    for words in shell::commands(text).unwrap_or_default() {
        match words.as_slice() {
            [cd, to] if cd == "cd" => folder = join(&folder, to),
            words => {
                let command = Command { folder: folder.clone(), ..Command::default() };
                found.extend(command.read_all(words));
            }
        }
    }
    found.reverse();
    found
}

impl Command {
    /// The commands that `words` run: several where the first word runs others beside or after each other.
    fn read_all(self, words: &[String]) -> Vec<Self> {
        let Some(at) = words.iter().take(MAX_WRAPPERS).position(|word| runs_many(word)) else {
            return self.read(words, 0).into_iter().collect();
        };
        let is_wrapped =
            |word: &String| assignment(word).is_some() || matches!(word.as_str(), "npx" | "cross-env");
        if !words[..at].iter().all(is_wrapped) {
            return self.read(words, 0).into_iter().collect();
        }
        let scripts_only = words[at] != "concurrently";
        let named = words[at + 1..].iter().filter(|word| !word.starts_with('-')).take(MAX_PARALLEL);
        let one = |text: &String| {
            let script = text.strip_prefix("npm:").or_else(|| scripts_only.then_some(text.as_str()));
            let words = match script {
                Some(script) => ["npm", "run", script].map(str::to_owned).to_vec(),
                None => shell::commands(text)?.pop()?,
            };
            Self { is_one_of_many: true, ..self.clone() }.read(&words, 1)
        };
        let values = Flags::values_in(&words[at + 1..], PARALLEL);
        named.filter(|word| !values.contains(&word.as_str())).filter_map(one).collect()
    }

    fn read(mut self, words: &[String], depth: usize) -> Option<Self> {
        let (first, rest) = words.split_first()?;
        if depth > MAX_WRAPPERS {
            return None;
        }
        if let Some((name, value)) = assignment(first) {
            if name == "NODE_OPTIONS" {
                let words = shell::commands(value).unwrap_or_default().concat();
                self.take(&Flags::read(&words, NODE));
            }
            self.env.push((name.to_owned(), value.to_owned()));
            return self.read(rest, depth);
        }
        // `./node_modules/.bin/next` is the program `next`.
        let name = first.strip_prefix("./").unwrap_or(first);
        let name = name.strip_prefix("node_modules/.bin/").unwrap_or(name);
        match name {
            "node" | "nodejs" => self.node(rest),
            "deno" => self.deno(rest),
            "bun" => self.bun(rest, depth),
            "tsx" | "ts-node" | "ts-node-esm" | "ts-node-dev" | "tsnd" | "swc-node" | "esno" | "esr"
            | "jiti" | "babel-node" | "vite-node" | "node-dev" | "tsimp" => self.typescript(rest),
            "nodemon" | "supervisor" => self.monitor(rest, depth),
            "pm2" | "pm2-runtime" | "pm2-docker" | "forever" => self.manager(rest),
            "npm" | "pnpm" | "yarn" => self.package_manager(name, rest, depth),
            "npx" | "pnpx" | "bunx" => self.wrapped(rest, PACKAGES, depth),
            "cross-env" | "cross-env-shell" | "env" | "exec" | "nohup" | "time" | "sudo" | "dumb-init"
            | "tini" | "c8" | "nyc" => self.wrapped(rest, VARIABLES, depth),
            "dotenv" | "dotenvx" | "env-cmd" | "doppler" | "infisical" | "op" => {
                self.with_variables(name, rest, depth)
            }
            // Shell built-ins, and commands that are not programs of packages.
            "echo" | "mkdir" | "rm" | "cp" | "mv" | "sleep" | "true" | "false" | "wait" | "test" | "["
            | "export" | "set" | "cat" | "touch" | "sh" | "bash" | "docker" | "docker-compose" | "make"
            | "python" | "python3" | "git" | "curl" | "cd" => None,
            _ if name.contains('/') || has_extension(name) => self.with_file(first, rest),
            _ => Some(Self { target: Target::Program(name.to_owned()), args: rest.to_vec(), ..self }),
        }
    }

    fn with_file(self, file: &str, args: &[String]) -> Option<Self> {
        if let Some(package) = file.strip_prefix("npm:") {
            let target = Target::Program(program_of(package));
            return Some(Self { target, args: args.to_vec(), ..self });
        }
        let is_remote = ["jsr:", "http:", "https:"].iter().any(|scheme| file.starts_with(scheme));
        let target = Target::File(join(&self.folder, file));
        (!is_remote).then(|| Self { target, args: args.to_vec(), ..self })
    }

    fn node(mut self, words: &[String]) -> Option<Self> {
        let flags = Flags::read(words, NODE);
        if flags.has(&["-e", "--eval", "-p", "-pe", "--print", "--test", "-c", "--check", "-v", "-h"]) {
            return None;
        }
        if let Some(script) = flags.value("--run") {
            let target = Target::Script(script.to_owned());
            return Some(Self { target, args: flags.rest.to_vec(), ..self });
        }
        self.take(&flags);
        // Without a file Node reads its standard input.
        let (file, args) = flags.rest.split_first()?;
        self.with_file(file, args)
    }

    /// Applies the flags that set variables and preload modules.
    fn take(&mut self, flags: &Flags<'_>) {
        for (flag, value) in &flags.values {
            match *flag {
                "-r" | "--require" | "--import" | "--preload" if OURS.contains(value) => {
                    // All loaders in the list are compilers.
                    self.is_compiled = true;
                }
                "-r" | "--require" | "--import" | "--preload" => self.preload.push((*value).to_owned()),
                "--loader" | "--experimental-loader" => self.is_compiled |= is_compiler(value),
                "--env-file" | "--env-file-if-exists" => self.env_files.push((*value).to_owned()),
                _ => {}
            }
        }
    }

    fn deno(mut self, words: &[String]) -> Option<Self> {
        let before = Flags::read(words, DENO);
        let (first, rest) = before.rest.split_first()?;
        let words = match first.as_str() {
            "run" | "serve" => rest,
            "task" => {
                let (task, args) = Flags::read(rest, &["--cwd", "-f", "--filter"]).rest.split_first()?;
                return Some(Self { target: Target::Script(task.clone()), args: args.to_vec(), ..self });
            }
            _ if first.contains('.') || first.contains('/') => words,
            _ => return None,
        };
        let flags = Flags::read(words, DENO);
        self.take(&flags);
        if flags.flags.contains(&"--env-file") || flags.flags.contains(&"--env") {
            self.env_files.push(".env".to_owned());
        }
        let (file, args) = flags.rest.split_first()?;
        self.with_file(file, args)
    }

    fn bun(mut self, words: &[String], depth: usize) -> Option<Self> {
        self.is_compiled = true;
        let flags =
            Flags::read(words, &["--env-file", "-r", "--preload", "--cwd", "--port", "-c", "--config"]);
        self.take(&flags);
        match flags.rest.split_first()? {
            (run, rest) if run == "run" => self.bun(rest, depth + 1).filter(|_| depth < MAX_WRAPPERS),
            (x, rest) if x == "x" => self.wrapped(rest, PACKAGES, depth),
            (name, args) if name.starts_with('.') || name.contains('/') || has_extension(name) => {
                self.with_file(name, args)
            }
            (name, _) if matches!(name.as_str(), "build" | "install" | "test" | "add") => None,
            (name, args) => Some(Self { target: Target::Program(name.clone()), args: args.to_vec(), ..self }),
        }
    }

    fn typescript(mut self, words: &[String]) -> Option<Self> {
        self.is_compiled = true;
        let words = if words.first().is_some_and(|word| word == "watch") { &words[1..] } else { words };
        let flags = Flags::read(words, TS);
        if flags.has(&["-e", "--eval", "-p", "--print", "--test"]) {
            return None;
        }
        self.take(&flags);
        let (file, args) = flags.rest.split_first()?;
        self.with_file(file, args)
    }

    fn monitor(mut self, words: &[String], depth: usize) -> Option<Self> {
        let flags = Flags::read(words, MONITOR);
        self.take(&flags);
        let Some(command) = flags.value("--exec").or_else(|| flags.value("-x")) else {
            return match flags.rest.split_first() {
                Some((file, args)) => self.with_file(file, args),
                None => self.with_file(".", &[]),
            };
        };
        let mut words = shell::commands(command)?.pop()?;
        words.extend(flags.rest.iter().cloned());
        self.read(&words, depth + 1)
    }

    fn manager(self, words: &[String]) -> Option<Self> {
        let flags = Flags::read(words, MANAGER);
        let rest = match flags.rest.split_first()? {
            (start, rest) if matches!(start.as_str(), "start" | "restart" | "reload" | "startOrRestart") => {
                rest
            }
            (file, _) if has_extension(file) || file.contains('/') || is_package_manager(file) => flags.rest,
            // `pm2 save`
            _ => return None,
        };
        let flags = Flags::read(rest, MANAGER);
        let (file, rest) = flags.rest.split_first()?;
        let args = rest.iter().position(|word| word == "--").map_or(&[][..], |at| &rest[at + 1..]);
        if is_package_manager(file) {
            let script = args.iter().find(|word| *word != "run")?;
            return Some(Self { target: Target::Script(script.clone()), ..self });
        }
        // A settings file, which would need a parser of its own.
        let is_settings = file.contains("ecosystem") || file.ends_with(".json") || file.ends_with(".yml");
        if is_settings { None } else { self.with_file(file, args) }
    }

    fn package_manager(self, name: &str, words: &[String], depth: usize) -> Option<Self> {
        let flags = Flags::read(words, PACKAGES);
        let this = self.elsewhere(&flags)?;
        let (first, rest) = flags.rest.split_first()?;
        let args = |rest: &[String]| rest.strip_prefix(&["--".to_owned()]).unwrap_or(rest).to_vec();
        match first.as_str() {
            "run" | "run-script" => {
                let flags = Flags::read(rest, PACKAGES);
                let (script, rest) = flags.rest.split_first()?;
                let (this, rest) = this.elsewhere(&flags)?.elsewhere_behind(rest)?;
                Some(Self { target: Target::Script(script.clone()), args: args(rest), ..this })
            }
            "start" => {
                let (this, rest) = this.elsewhere_behind(rest)?;
                Some(Self { target: Target::Script(first.clone()), args: args(rest), ..this })
            }
            "workspace" if name == "yarn" && depth < MAX_WRAPPERS => {
                let (member, rest) = rest.split_first()?;
                Self { member: Some(member.clone()), ..this }.package_manager(name, rest, depth + 1)
            }
            "exec" | "x" | "dlx" => this.wrapped(rest, PACKAGES, depth),
            "node" => this.node(rest),
            "install" | "i" | "ci" | "build" | "test" | "add" | "workspace" | "workspaces" => None,
            _ if name != "npm" => {
                Some(Self { target: Target::Program(first.clone()), args: args(rest), ..this })
            }
            _ => None,
        }
    }

    /// The command in the folder, or the member of the workspace, that the flags of a package manager name. `None` for
    /// all members at once.
    fn elsewhere(self, flags: &Flags<'_>) -> Option<Self> {
        let value = |names: &[&str]| names.iter().find_map(|flag| flags.value(flag));
        let folder = match value(&["--prefix", "-C", "--dir", "--cwd"]) {
            Some(prefix) => join(&self.folder, prefix),
            None => self.folder.clone(),
        };
        let member = value(MEMBER).map(str::to_owned).or_else(|| self.member.clone());
        (!flags.has(EVERYWHERE)).then_some(Self { folder, member, ..self })
    }

    /// Does the same for flags behind the name of a script, where npm accepts them too.
    fn elsewhere_behind(self, words: &[String]) -> Option<(Self, &[String])> {
        let is_ours = |flag: &str| {
            let name = flag.split('=').next().unwrap_or(flag);
            MEMBER.contains(&name) || EVERYWHERE.contains(&name) || name == "--prefix"
        };
        if !words.first().is_some_and(|flag| is_ours(flag)) {
            return Some((self, words));
        }
        let flags = Flags::read(words, PACKAGES);
        Some((self.elsewhere(&flags)?, flags.rest))
    }

    /// Returns the command behind a wrapper such as `cross-env`.
    fn wrapped(self, words: &[String], values: ValueFlags, depth: usize) -> Option<Self> {
        let flags = Flags::read(words, values);
        self.read(flags.rest, depth + 1)
    }

    fn with_variables(mut self, name: &str, words: &[String], depth: usize) -> Option<Self> {
        let words = match words.split_first() {
            Some((run, rest)) if run == "run" => rest,
            _ => words,
        };
        let flags = Flags::read(words, VARIABLES);
        let named = |flag: &str| matches!(flag, "-e" | "-f" | "--file" | "--env-file");
        let mut files =
            flags.values.iter().filter(|(flag, _)| named(flag)).map(|(_, value)| *value).peekable();
        if matches!(name, "dotenv" | "dotenvx" | "env-cmd") {
            let default = files.peek().is_none().then_some(".env");
            self.env_files.extend(files.chain(default).map(str::to_owned));
        }
        let mut rest = flags.rest;
        // `env-cmd ./.env node app.js`
        if let Some((file, after)) = rest.split_first().filter(|(file, _)| file.contains(".env")) {
            self.env_files = vec![file.clone()];
            rest = after;
        }
        self.read(rest, depth + 1)
    }
}

/// `NAME=value`
fn assignment(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let is_name = |name: &str| {
        let mut bytes = name.bytes();
        bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    is_name(name).then_some((name, value))
}

/// Returns `true` for the modules by which Node runs TypeScript as compilers take it.
fn is_compiler(module: &str) -> bool {
    ["tsx", "ts-node", "@swc-node/", "esbuild-register", "jiti"].iter().any(|name| module.starts_with(name))
}

/// Returns `true` for a program that runs several commands.
fn runs_many(word: &str) -> bool {
    let name = word.strip_prefix("./").unwrap_or(word);
    let name = name.strip_prefix("node_modules/.bin/").unwrap_or(name);
    matches!(name, "concurrently" | "npm-run-all" | "npm-run-all2" | "run-p" | "run-s")
}

fn is_package_manager(name: &str) -> bool {
    matches!(name, "npm" | "yarn" | "pnpm")
}

/// The program that `npm:` names: `next` for `next@16`, `serve` for `@x/y@1/serve`.
fn program_of(package: &str) -> String {
    let unscoped = package.strip_prefix('@').and_then(|scoped| scoped.split_once('/'));
    let name = unscoped.map_or(package, |(_, name)| name);
    let (name, program) = name.split_once('/').unwrap_or((name, ""));
    let name = name.split('@').next().unwrap_or(name);
    if program.is_empty() { name.to_owned() } else { program.to_owned() }
}

fn has_extension(name: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    extension.is_some_and(|extension| super::files::EXTENSIONS.contains(&extension))
}

fn join(folder: &str, path: &str) -> String {
    if folder.is_empty() { path.to_owned() } else { format!("{folder}/{path}") }
}

#[cfg(test)]
mod tests;
