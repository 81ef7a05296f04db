//! The specifiers that a version's modules mention: a search in their text, from the entry along
//! the files of the project that they mention. It needs no parser and finds too much rather than
//! too little, lazy imports and workers included.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::manifests::{self, Alias};

/// Modules of one version. What lies behind more of them is found when it is asked for.
const MAX_MODULES: usize = 4096;

/// Bytes of one module. Larger ones are data, or bundles that name nothing any more.
const MAX_MODULE: u64 = 2 << 20;

/// Bytes of all modules: a tenth of a second.
const MAX_ALL: u64 = 64 << 20;

/// Looks at the file system: a second.
const MAX_LOOKS: u32 = 200_000;

const MAX_NAMES: usize = 4096;

/// Bytes of one specifier.
const MAX_NAME: usize = 1024;

const EXTENSIONS: [&str; 8] = ["ts", "tsx", "mts", "cts", "js", "jsx", "mjs", "cjs"];

/// All specifiers of a version that are not files of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Mentions(BTreeSet<String>);

impl Mentions {
    /// Returns those of the version whose project is in `checkout`, and all of whose files are
    /// below `root`.
    pub(crate) fn of(root: &Path, checkout: &Path, entry: &str) -> Self {
        let mut walk = Walk {
            root,
            checkout,
            aliases: manifests::aliases(checkout),
            seen: HashSet::new(),
            waiting: Vec::new(),
            names: BTreeSet::new(),
            left: MAX_ALL,
            looks: MAX_LOOKS,
        };
        walk.follow(&checkout.join(entry));
        while let Some(module) = walk.waiting.pop() {
            walk.read(&module);
        }
        Self(walk.names)
    }

    /// Leaves out those of them that begin with one of `failed`: they are tried again.
    pub(crate) fn without(mut self, failed: &BTreeSet<String>) -> Self {
        self.0.retain(|name| !failed.iter().any(|failed| name.starts_with(failed)));
        self
    }

    /// Returns whether what was fetched for these is enough for `others`.
    pub(crate) fn cover(&self, others: &Self) -> bool {
        others.0.is_subset(&self.0)
    }

    /// Returns whether there are modules that are imported by their URL, or from JSR.
    pub(crate) fn have_modules(&self) -> bool {
        self.begin_with(&["jsr:", "http://", "https://"])
    }

    pub(crate) fn have_npm(&self) -> bool {
        self.begin_with(&["npm:"])
    }

    /// Returns whether there is an import of one of these packages.
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

struct Walk<'a> {
    root: &'a Path,
    checkout: &'a Path,
    aliases: Vec<Alias>,
    seen: HashSet<PathBuf>,
    waiting: Vec<PathBuf>,
    names: BTreeSet<String>,
    /// Bytes that may still be read.
    left: u64,
    looks: u32,
}

impl Walk<'_> {
    fn read(&mut self, module: &Path) {
        let mut bytes = Vec::new();
        let limit = MAX_MODULE.min(self.left);
        let opened = File::open(module).map(|file| file.take(limit).read_to_end(&mut bytes));
        let Ok(Ok(length)) = opened else { return };
        self.left -= length as u64;
        let text = String::from_utf8_lossy(&bytes);
        let dir = module.parent().unwrap_or(self.checkout);
        for (at, name) in strings(&text) {
            self.mention(dir, &text[..at], name);
        }
    }

    fn mention(&mut self, dir: &Path, before: &str, name: &str) {
        let is_url = ["http://", "https://"].iter().any(|scheme| name.starts_with(scheme));
        if name.starts_with("npm:") || name.starts_with("jsr:") {
            self.name(name);
        } else if is_url {
            if is_imported(before) {
                self.name(name);
            }
        } else if let Some((begin, _)) = name.split_once("${") {
            self.follow_all(dir, begin);
        } else if let Some(target) = self.aliases.iter().find_map(|alias| alias.target(name)) {
            self.follow_like(&self.checkout.join(target));
        } else {
            self.path_or_package(dir, before, name);
        }
    }

    fn path_or_package(&mut self, dir: &Path, before: &str, name: &str) {
        let is_relative = name.starts_with("./") || name.starts_with("../");
        if is_relative || is_code(Path::new(name)) {
            let name = name.trim_start_matches('/');
            self.follow_like(&dir.join(name));
            self.follow_like(&self.checkout.join(name));
        }
        if !is_relative && is_imported(before) {
            self.name(name);
        }
    }

    fn name(&mut self, name: &str) {
        if self.names.len() < MAX_NAMES {
            self.names.insert(name.to_owned());
        }
    }

    /// Follows a path in one of the ways in which its extension may be left out.
    fn follow_like(&mut self, path: &Path) {
        if self.follow(path) {
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
            if self.follow(&path) {
                return;
            }
        }
    }

    /// The modules in the folder that a template begins with.
    fn follow_all(&mut self, dir: &Path, begin: &str) {
        let Some((folder, _)) = begin.rsplit_once('/').filter(|_| begin.starts_with('.')) else { return };
        let Some(folder) = inside(self.root, &dir.join(folder)) else { return };
        let entries = fs::read_dir(folder).into_iter().flatten().flatten().take(MAX_MODULES);
        for path in entries.map(|entry| entry.path()).filter(|path| is_code(path)).collect::<Vec<_>>() {
            self.follow(&path);
        }
    }

    /// Returns whether there is such a file.
    fn follow(&mut self, path: &Path) -> bool {
        let Some(path) = inside(self.root, path) else { return false };
        if self.seen.contains(&path) {
            return true;
        }
        let Some(left) = self.looks.checked_sub(1) else { return false };
        self.looks = left;
        let is_file = path.symlink_metadata().is_ok_and(|status| status.is_file());
        if is_file && self.seen.len() < MAX_MODULES {
            self.seen.insert(path.clone());
            self.waiting.push(path);
        }
        is_file
    }
}

fn is_code(path: &Path) -> bool {
    path.extension().is_some_and(|extension| EXTENSIONS.iter().any(|known| extension == *known))
}

/// The path without `.` and `..`, when it is below `root`.
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

/// All that stands between two like quotes on one line, with where it begins (the quote). In prose
/// that is too much.
fn strings(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices(['"', '\'', '`']).filter_map(|(at, quote)| {
        let rest = &text[at + 1..];
        let end =
            rest.bytes().take(MAX_NAME).position(|byte| byte == quote.as_bytes()[0] || byte == b'\n')?;
        let name = rest.get(..end)?;
        let is_name =
            rest[end..].starts_with(quote) && !name.is_empty() && !name.contains(char::is_whitespace);
        is_name.then_some((at, name))
    })
}

fn is_imported(before: &str) -> bool {
    let before = before.trim_end().trim_end_matches('(').trim_end();
    ["from", "import", "require", "resolve"].iter().any(|word| before.ends_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mentions(files: &[(&str, &str)]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Mentions::of(dir.path(), dir.path(), "main.ts").0.into_iter().collect()
    }

    #[test]
    fn specifiers_are_found_wherever_they_are_imported() {
        let main = "import 'a'; export * from \"jsr:@b/b\"; const c = () => import( `npm:c@1` );\n\
                    import.meta.resolve('d/e'); require('f'); import 'https://g/h.ts'; fetch('https://i/');\n";
        let expected = ["a", "d/e", "f", "https://g/h.ts", "jsr:@b/b", "npm:c@1"];
        assert_eq!(mentions(&[("main.ts", main)]), expected);
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
            let found = mentions(&[("main.ts", main), (file, "import 'npm:x'"), ("other.ts", "import 'y'")]);
            assert_eq!(found, ["npm:x"], "{main}");
        }
    }

    #[test]
    fn names_that_deno_json_and_package_json_give_to_files_are_followed() {
        let main = ("main.ts", "import('@/x.ts'); import('#y/z');");
        let deno = ("deno.json", "{\"imports\": {\"@/\": \"./src/\"}} // comment");
        let package = ("package.json", r##"{"imports": {"#y/*": {"default": "./y/*.js"}}}"##);
        let files = [("src/x.ts", "import 'npm:x'"), ("y/z.js", "import 'npm:z'")];
        assert_eq!(mentions(&[main, deno, package, files[0], files[1]]), ["npm:x", "npm:z"]);
    }

    #[test]
    fn nothing_outside_of_the_version_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let project = dir.path().join("a");
        fs::create_dir(&project).unwrap();
        fs::write(dir.path().join("b.ts"), "import 'npm:b'").unwrap();
        fs::write(project.join("main.ts"), "import '../b.ts'").unwrap();
        assert_eq!(Mentions::of(&project, &project, "main.ts"), Mentions::default());
        assert!(Mentions::of(dir.path(), &project, "main.ts").have_npm());
    }

    #[test]
    fn a_package_is_known_by_its_name_and_its_parts() {
        let mentions = |name: &str| Mentions([name.to_owned()].into());
        let packages = ["a".to_owned(), "@b/c".to_owned()].into();
        assert!(["a", "a/x", "@b/c", "@b/c/x"].iter().all(|name| mentions(name).have_any(&packages)));
        assert!(!["ab", "@b/cd", "npm:a"].iter().any(|name| mentions(name).have_any(&packages)));
        assert!(mentions("a").cover(&Mentions::default()) && !Mentions::default().cover(&mentions("a")));
    }
}
