//! The import specifiers of a version: a text search from the entry through the project's files
//! that it refers to. The search needs no parser, and finds too much rather than too little; it
//! covers lazy imports and workers.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::manifests::{self, ImportAlias};

/// Maximum number of modules that are searched. Imports of further ones are found when the version
/// starts.
const MAX_MODULES: usize = 4096;

/// Maximum number of bytes of a module that are searched. Larger modules are data, or bundles
/// without imports.
const MAX_MODULE: u64 = 2 << 20;

/// Maximum number of bytes of all modules: a tenth of a second.
const MAX_ALL: u64 = 64 << 20;

/// Maximum number of paths that are looked up in the file system: a second.
const MAX_LOOKUPS: u32 = 200_000;

/// Maximum number of specifiers of a version.
const MAX_SPECIFIERS: usize = 4096;

/// Maximum length of a specifier in bytes.
const MAX_SPECIFIER: usize = 1024;

/// File name extensions of modules.
const EXTENSIONS: [&str; 8] = ["ts", "tsx", "mts", "cts", "js", "jsx", "mjs", "cjs"];

/// The specifiers of a version that do not name its own files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Specifiers(BTreeSet<String>);

impl Specifiers {
    /// Searches the version with its project in `checkout`, and all of its files below `root`, from
    /// its `entries` on. Blocking.
    pub(crate) fn search<'e>(
        root: &Path,
        checkout: &Path,
        entries: impl IntoIterator<Item = &'e str>,
    ) -> Self {
        let mut search = ModuleSearch {
            root,
            checkout,
            aliases: manifests::aliases(checkout),
            visited: HashSet::new(),
            waiting: Vec::new(),
            specifiers: BTreeSet::new(),
            bytes_left: MAX_ALL,
            lookups_left: MAX_LOOKUPS,
        };
        for entry in entries {
            search.visit(&checkout.join(entry));
        }
        while let Some(module) = search.waiting.pop() {
            search.read(&module);
        }
        Self(search.specifiers)
    }

    /// Removes the specifiers that begin with one of `failed`, so that they are fetched again next
    /// time.
    pub(crate) fn without(mut self, failed: &BTreeSet<String>) -> Self {
        self.0.retain(|name| !failed.iter().any(|failed| name.starts_with(failed)));
        self
    }

    /// Returns `true` if all of `others` are among these specifiers.
    pub(crate) fn contains_all(&self, others: &Self) -> bool {
        others.0.is_subset(&self.0)
    }

    /// Returns `true` if there are imports by URL, or from JSR.
    pub(crate) fn have_modules(&self) -> bool {
        self.begin_with(&["jsr:", "http://", "https://"])
    }

    /// Returns `true` if there are imports with `npm:`.
    pub(crate) fn have_npm(&self) -> bool {
        self.begin_with(&["npm:"])
    }

    /// Returns `true` if there is an import of one of these packages, by its name or a path in it.
    pub(crate) fn have_any(&self, packages: &BTreeSet<String>) -> bool {
        self.0.iter().any(|name| {
            let mut ends = name.match_indices('/').map(|(end, _)| end).chain([name.len()]);
            ends.any(|end| packages.contains(&name[..end]))
        })
    }

    fn begin_with(&self, schemes: &[&str]) -> bool {
        self.0.iter().any(|name| schemes.iter().any(|scheme| name.starts_with(scheme)))
    }
}

/// State of a search.
struct ModuleSearch<'a> {
    root: &'a Path,
    checkout: &'a Path,
    aliases: Vec<ImportAlias>,
    /// The modules that were found.
    visited: HashSet<PathBuf>,
    /// The modules that are still to be read.
    waiting: Vec<PathBuf>,
    specifiers: BTreeSet<String>,
    /// Bytes that may still be read.
    bytes_left: u64,
    /// Paths that may still be looked up.
    lookups_left: u32,
}

impl ModuleSearch<'_> {
    fn read(&mut self, module: &Path) {
        let mut bytes = Vec::new();
        let limit = MAX_MODULE.min(self.bytes_left);
        let opened = File::open(module).map(|file| file.take(limit).read_to_end(&mut bytes));
        let Ok(Ok(length)) = opened else { return };
        self.bytes_left -= length as u64;
        let text = String::from_utf8_lossy(&bytes);
        let dir = module.parent().unwrap_or(self.checkout);
        for (at, name) in strings(&text) {
            self.string(dir, &text[..at], name);
        }
    }

    /// Handles a string in a module in `dir`. `before` is the text before the string.
    fn string(&mut self, dir: &Path, before: &str, name: &str) {
        let is_url = ["http://", "https://"].iter().any(|scheme| name.starts_with(scheme));
        if name.starts_with("npm:") || name.starts_with("jsr:") {
            self.add(name);
        } else if is_url {
            if is_imported(before) {
                self.add(name);
            }
        } else if let Some((begin, _)) = name.split_once("${") {
            self.visit_folder(dir, begin);
        } else if let Some(target) = self.aliases.iter().find_map(|alias| alias.target(name)) {
            self.visit_like(&self.checkout.join(target));
        } else {
            self.path_or_package(dir, before, name);
        }
    }

    fn path_or_package(&mut self, dir: &Path, before: &str, name: &str) {
        let is_relative = name.starts_with("./") || name.starts_with("../");
        if is_relative || is_code(Path::new(name)) {
            let name = name.trim_start_matches('/');
            self.visit_like(&dir.join(name));
            self.visit_like(&self.checkout.join(name));
        }
        if !is_relative && is_imported(before) {
            self.add(name);
        }
    }

    fn add(&mut self, name: &str) {
        if self.specifiers.len() < MAX_SPECIFIERS {
            self.specifiers.insert(name.to_owned());
        }
    }

    /// Visits a module at a path without its extension, without `index`, or with the extension of
    /// the compiled file.
    fn visit_like(&mut self, path: &Path) {
        if self.visit(path) {
            return;
        }
        let with = |extension: &&str| {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".{extension}"));
            PathBuf::from(name)
        };
        let index = |extension: &&str| path.join(format!("index.{extension}"));
        let instead = ["ts", "tsx"].map(|extension| path.with_extension(extension));
        let others = EXTENSIONS.iter().map(with).chain(instead).chain(EXTENSIONS.iter().map(index));
        for path in others.collect::<Vec<_>>() {
            if self.visit(&path) {
                return;
            }
        }
    }

    /// Visits the modules in the folder that a template string begins with.
    fn visit_folder(&mut self, dir: &Path, begin: &str) {
        let Some((folder, _)) = begin.rsplit_once('/').filter(|_| begin.starts_with('.')) else { return };
        let Some(folder) = inside(self.root, &dir.join(folder)) else { return };
        let entries = fs::read_dir(folder).into_iter().flatten().flatten().take(MAX_MODULES);
        for path in entries.map(|entry| entry.path()).filter(|path| is_code(path)).collect::<Vec<_>>() {
            self.visit(&path);
        }
    }

    /// Adds a module to those that are read. Returns `false` if there is no such file.
    fn visit(&mut self, path: &Path) -> bool {
        let Some(path) = inside(self.root, path) else { return false };
        if self.visited.contains(&path) {
            return true;
        }
        let Some(left) = self.lookups_left.checked_sub(1) else { return false };
        self.lookups_left = left;
        let is_file = path.symlink_metadata().is_ok_and(|status| status.is_file());
        if is_file && self.visited.len() < MAX_MODULES {
            self.visited.insert(path.clone());
            self.waiting.push(path);
        }
        is_file
    }
}

fn is_code(path: &Path) -> bool {
    path.extension().is_some_and(|extension| EXTENSIONS.iter().any(|known| extension == *known))
}

/// Returns the path without `.` and `..`, if it is below `root`.
fn inside(root: &Path, path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => _ = plain.pop(),
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain.starts_with(root).then_some(plain)
}

/// Returns each text between two equal quotes on one line, with the offset of the first quote. In
/// prose, these include texts that are not strings.
fn strings(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices(['"', '\'', '`']).filter_map(|(at, quote)| {
        let rest = &text[at + 1..];
        let end =
            rest.bytes().take(MAX_SPECIFIER).position(|byte| byte == quote.as_bytes()[0] || byte == b'\n')?;
        let name = rest.get(..end)?;
        let is_name =
            rest[end..].starts_with(quote) && !name.is_empty() && !name.contains(char::is_whitespace);
        is_name.then_some((at, name))
    })
}

/// Returns `true` if the text before a string imports it.
fn is_imported(before: &str) -> bool {
    let before = before.trim_end().trim_end_matches('(').trim_end();
    ["from", "import", "require", "resolve"].iter().any(|word| before.ends_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specifiers(files: &[(&str, &str)]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Specifiers::search(dir.path(), dir.path(), ["main.ts"]).0.into_iter().collect()
    }

    #[test]
    fn specifiers_are_found_wherever_they_are_imported() {
        let main = "import 'a'; export * from \"jsr:@b/b\"; const c = () => import( `npm:c@1` );\n\
                    import.meta.resolve('d/e'); require('f'); import 'https://g/h.ts'; fetch('https://i/');\n";
        let expected = ["a", "d/e", "f", "https://g/h.ts", "jsr:@b/b", "npm:c@1"];
        assert_eq!(specifiers(&[("main.ts", main)]), expected);
    }

    #[test]
    fn files_are_followed_however_they_are_named() {
        let names = [
            ("import './a.ts'", "a.ts"),
            ("require('./a')", "a.js"),
            ("require('./a')", "a/index.js"),
            ("import './a.js'", "a.ts"),
            ("new Worker(new URL('./w/a.js', import.meta.url))", "w/a.js"),
            ("new Worker('./w/a.js')", "w/a.js"),
            ("join(__dirname, 'a.cjs')", "a.cjs"),
            ("new Worker(`${__dirname}/x`); import(`./w/${name}.ts`)", "w/a.ts"),
        ];
        for (main, file) in names {
            let found =
                specifiers(&[("main.ts", main), (file, "import 'npm:x'"), ("other.ts", "import 'y'")]);
            assert_eq!(found, ["npm:x"], "{main}");
        }
    }

    #[test]
    fn aliases_of_files_in_deno_json_and_package_json_are_followed() {
        let main = ("main.ts", "import('@/x.ts'); import('#y/z');");
        let deno = ("deno.json", "{\"imports\": {\"@/\": \"./src/\"}} // comment");
        let package = ("package.json", r##"{"imports": {"#y/*": {"default": "./y/*.js"}}}"##);
        let files = [("src/x.ts", "import 'npm:x'"), ("y/z.js", "import 'npm:z'")];
        assert_eq!(specifiers(&[main, deno, package, files[0], files[1]]), ["npm:x", "npm:z"]);
    }

    #[test]
    fn nothing_outside_of_the_version_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let project = dir.path().join("a");
        fs::create_dir(&project).unwrap();
        fs::write(dir.path().join("b.ts"), "import 'npm:b'").unwrap();
        fs::write(project.join("main.ts"), "import '../b.ts'").unwrap();
        assert_eq!(Specifiers::search(&project, &project, ["main.ts"]), Specifiers::default());
        assert!(Specifiers::search(dir.path(), &project, ["main.ts"]).have_npm());
    }

    #[test]
    fn a_search_begins_at_several_modules() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            fs::write(dir.path().join(format!("{name}.ts")), format!("import 'npm:{name}'")).unwrap();
        }
        let found = Specifiers::search(dir.path(), dir.path(), ["a.ts", "b.ts"]);
        assert_eq!(found.0.into_iter().collect::<Vec<_>>(), ["npm:a", "npm:b"]);
    }

    #[test]
    fn a_package_is_known_by_its_name_and_its_parts() {
        let specifiers = |name: &str| Specifiers([name.to_owned()].into());
        let packages = ["a".to_owned(), "@b/c".to_owned()].into();
        assert!(["a", "a/x", "@b/c", "@b/c/x"].iter().all(|name| specifiers(name).have_any(&packages)));
        assert!(!["ab", "@b/cd", "npm:a"].iter().any(|name| specifiers(name).have_any(&packages)));
        assert!(
            specifiers("a").contains_all(&Specifiers::default())
                && !Specifiers::default().contains_all(&specifiers("a"))
        );
    }
}
