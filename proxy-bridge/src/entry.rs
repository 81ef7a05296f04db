//! The entry of a project: which of its files is run. The router that runs it and the client that sends it
//! find it alike.

use std::path::Path;

use jsonc_parser::parse_to_serde_value;
use serde_json::Value;

use crate::event::Diagnostic;

/// Deno's configuration; where both are there, the first one counts.
pub const CONFIG_FILES: [&str; 2] = ["deno.json", "deno.jsonc"];

/// Node's configuration.
pub const PACKAGE_FILE: &str = "package.json";

/// Bytes in one configuration file. What people write has a thousandth of it, and it is the router that parses it.
pub const MAX_CONFIG: u64 = 1 << 20;

const STEMS: [&str; 4] = ["main", "index", "mod", "server"];
const EXTENSIONS: [&str; 6] = ["ts", "tsx", "mts", "js", "jsx", "mjs"];

/// A configuration file and the JSON object in it.
#[derive(Debug, Clone, Copy)]
pub struct Config<'a> {
    pub file: &'static str,
    pub value: &'a Value,
}

/// The file of a project that is run, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// Relative to the project, with `/` between.
    pub path: String,
    /// The program's arguments: `Deno.args`, and what follows the file's name in `process.argv`.
    pub args: Vec<String>,
    /// What chose it, in words for the log: `main in package.json`.
    pub reason: String,
}

/// A path that a configuration names, and where it does.
struct Named<'a> {
    file: &'static str,
    field: &'static str,
    path: &'a str,
}

/// Parses the JSON object (with comments) in a configuration file.
///
/// # Errors
/// It does not parse, or is something else than an object; names the file, line and column.
pub fn parse(file: &'static str, text: &str) -> Result<Value, Diagnostic> {
    match parse_to_serde_value::<Value>(text, &Default::default()) {
        Ok(value) if value.is_object() => Ok(value),
        Ok(_) => Err(in_file(file, format!("{file} must hold one JSON object"))),
        Err(error) => {
            let mut diagnostic = in_file(file, format!("{file} does not parse: {}", error.kind()));
            diagnostic.line = u32::try_from(error.line_display()).ok();
            diagnostic.column = u32::try_from(error.column_display()).ok();
            Err(diagnostic)
        }
    }
}

/// Finds the entry of the project in `dir`, whose Deno configuration and package.json are given where it has
/// them: what is named most closely, else the first of the conventional names.
///
/// # Errors
/// A field that is no string, a named file that is not there or outside, or no file of a conventional name.
pub fn find(
    dir: &Path,
    config: Option<Config<'_>>,
    package: Option<Config<'_>>,
) -> Result<Entry, Diagnostic> {
    let own = config.and_then(|config| Some((config.file, config.value.get("switchyard")?.get("entry")?)));
    let named = match own {
        Some((file, value)) => Some(own_entry(file, value)?),
        None => config.into_iter().chain(package).find_map(main),
    };
    match named {
        Some(named) => named.checked(dir),
        None => conventional(dir),
    }
}

fn own_entry<'a>(file: &'static str, value: &'a Value) -> Result<Named<'a>, Diagnostic> {
    let field = "switchyard.entry";
    match value.as_str() {
        Some(path) => Ok(Named { file, field, path }),
        None => Err(in_file(file, format!("\"{field}\" in {file} must be a string"))),
    }
}

/// `exports` (a string, or its `"."`), else `main`.
fn main<'a>(Config { file, value }: Config<'a>) -> Option<Named<'a>> {
    let exports = value.get("exports").and_then(|exports| {
        let root = exports.get(".").unwrap_or(exports);
        let by_condition = ["import", "default"].into_iter().find_map(|condition| root.get(condition));
        by_condition.unwrap_or(root).as_str()
    });
    if let Some(path) = exports {
        return Some(Named { file, field: "exports", path });
    }
    let path = value.get("main")?.as_str()?;
    Some(Named { file, field: "main", path })
}

impl Named<'_> {
    fn checked(&self, dir: &Path) -> Result<Entry, Diagnostic> {
        let Self { file, field, path: named } = *self;
        let path = named.strip_prefix("./").unwrap_or(named);
        let inside = !path.starts_with('/') && path.split('/').all(|part| part != "..");
        if inside && dir.join(path).is_file() {
            let reason = format!("{field} in {file}");
            return Ok(Entry { path: path.to_owned(), args: Vec::new(), reason });
        }
        let what = if inside { "is not there" } else { "is outside the project" };
        Err(in_file(file, format!("the entry {named:?} {what}: fix \"{field}\" in {file}")))
    }
}

fn conventional(dir: &Path) -> Result<Entry, Diagnostic> {
    let mut names =
        STEMS.iter().flat_map(|stem| EXTENSIONS.iter().map(move |extension| format!("{stem}.{extension}")));
    let found = names.find(|name| dir.join(name).is_file());
    found.map(|path| Entry { path, args: Vec::new(), reason: "its name".to_owned() }).ok_or_else(|| {
        let message = format!(
            "no entry: add one of {} with .{}, or name it in deno.json as \"switchyard\": {{\"entry\": …}}; if \
             it is no project, give the folder a name that begins with _",
            STEMS.join(", "),
            EXTENSIONS.join(" .")
        );
        Diagnostic { message, ..Diagnostic::default() }
    })
}

fn in_file(file: &str, message: String) -> Diagnostic {
    Diagnostic { file: Some(file.to_owned()), message, ..Diagnostic::default() }
}
