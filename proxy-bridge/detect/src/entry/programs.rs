//! Programs of packages (`bin` in package.json): the file that `next start` runs.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::files::{inside, read_text};

/// Bytes of package.json files that are read to find a program. One has 2 KiB on average, 100 KiB
/// at most.
const MAX_READ: u64 = 4 << 20;

/// Packages that are checked: more than a project depends on directly.
const MAX_PACKAGES: usize = 1_000;

/// Programs with a name that differs from their package's, checked first.
const KNOWN: [(&str, &str); 4] = [
    ("react-router-serve", "@react-router/serve"),
    ("remix-serve", "@remix-run/serve"),
    ("functions-framework", "@google-cloud/functions-framework"),
    ("fastify", "fastify-cli"),
];

/// The file of the program `name` in a package that `package` (a package.json) depends on. Relative
/// to the project in `dir`.
pub(super) fn find(dir: &Path, package: &Value, name: &str) -> Option<String> {
    let mut installed = Installed::of(dir)?;
    let names = |field: &str| package.get(field).and_then(Value::as_object);
    let fields = ["dependencies", "optionalDependencies", "devDependencies"];
    let dependencies = fields.into_iter().filter_map(names).flat_map(|names| names.keys());
    let likely = KNOWN.iter().filter(|(program, _)| *program == name).map(|(_, package)| *package);
    let all = likely.chain([name]).chain(dependencies.map(String::as_str)).take(MAX_PACKAGES);
    all.filter(|package| is_name(package)).find_map(|package| installed.program_of(package, name))
}

/// Returns `true` if `package` has dependencies and none is installed yet.
pub(super) fn may_be_installed(dir: &Path, package: &Value) -> bool {
    let dependencies = package.get("dependencies").and_then(Value::as_object);
    dependencies.is_some_and(|names| !names.is_empty()) && !dir.join("node_modules").is_dir()
}

/// The packages of a project.
struct Installed<'a> {
    dir: &'a Path,
    /// The folder around `node_modules`, without symbolic links. Links to outside are not followed.
    around: PathBuf,
    left: u64,
}

impl<'a> Installed<'a> {
    fn of(dir: &'a Path) -> Option<Self> {
        let around = dir.join("node_modules").canonicalize().ok()?.parent()?.to_owned();
        Some(Self { dir, around, left: MAX_READ })
    }

    fn program_of(&mut self, package: &str, name: &str) -> Option<String> {
        let folder = format!("node_modules/{package}");
        let text = read_text(&self.file(&format!("{folder}/package.json"))?, self.left).ok()?;
        self.left -= text.len() as u64;
        let manifest = serde_json::from_str::<Value>(&text).ok()?;
        let bin = manifest.get("bin")?;
        let unscoped = package.rsplit('/').next().unwrap_or(package);
        let file = match bin.as_str() {
            Some(file) => (unscoped == name).then_some(file)?,
            None => bin.get(name)?.as_str()?,
        };
        let path = format!("{folder}/{}", inside(file)?);
        self.file(&path)?;
        Some(path)
    }

    /// The real path of a plain file, unless a link leads out of the project.
    fn file(&self, path: &str) -> Option<PathBuf> {
        let real = self.dir.join(path).canonicalize().ok()?;
        (real.starts_with(&self.around) && real.is_file()).then_some(real)
    }
}

/// `name` or `@scope/name`
fn is_name(package: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && !part.starts_with('.');
    match package.split_once('/') {
        Some((scope, name)) => scope.starts_with('@') && is_part(name) && !name.contains('/'),
        None => is_part(package),
    }
}
