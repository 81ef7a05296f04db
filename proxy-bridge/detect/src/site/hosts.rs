//! What the configuration of a host of static sites says: the folder that it publishes, and the functions that it
//! would run beside the site.

use std::path::Path;

use serde_json::Value;

use super::{INDEX, Site, below, page};
use switchyard_contract::event::Diagnostic;

/// A host that is known by a file of its own.
struct Host {
    name: &'static str,
    file: &'static str,
    /// The folder that is published, as a JSON pointer; relative to the folder that `base` names.
    published: &'static str,
    base: &'static str,
    /// Where the configuration may name the folder of its functions, as JSON pointers.
    functions: &'static [&'static str],
    /// Folders whose programs are functions without being named.
    conventional: &'static [&'static str],
}

const HOSTS: [Host; 3] = [
    Host {
        name: "Netlify",
        file: "netlify.toml",
        published: "/build/publish",
        base: "/build/base",
        functions: &["/functions/directory", "/build/functions", "/build/edge_functions"],
        conventional: &["netlify/functions", "netlify/edge-functions"],
    },
    Host {
        name: "Vercel",
        file: "vercel.json",
        published: "/outputDirectory",
        base: "",
        functions: &[],
        conventional: &["api"],
    },
    Host {
        name: "Firebase Hosting",
        file: "firebase.json",
        published: "/hosting/public",
        base: "",
        functions: &[],
        conventional: &[],
    },
];

/// The names in a folder of functions that are looked at.
const MAX_NAMES: usize = 256;

/// Extensions of functions in the languages of these hosts.
const PROGRAMS: [&str; 9] = [".js", ".mjs", ".cjs", ".ts", ".mts", ".tsx", ".py", ".go", ".rb"];

/// The site in the folder that a host's configuration publishes, when there is a page in it that browsers can
/// show.
pub(super) fn published(dir: &Path) -> Option<Site> {
    HOSTS.iter().find_map(|host| {
        let config = host.read(dir)?;
        let text = |pointer: &str| config.pointer(pointer).and_then(Value::as_str);
        let base = folder(text(host.base).unwrap_or_default())?;
        let root = below(&base, &folder(text(host.published)?)?);
        let root = root.trim_end_matches('/').to_owned();
        let index = below(&root, INDEX);
        let is_site = dir.join(&index).is_file() && page::unbuilt(dir, &index).is_none();
        is_site.then(|| Site::new(root, format!("the published folder in {}", host.file)))
    })
}

/// What to do about functions that a host would run beside the site. `None`: there are none.
pub(super) fn functions(dir: &Path) -> Option<Diagnostic> {
    HOSTS.iter().find_map(|host| {
        let config = host.read(dir)?;
        let named = host.functions.iter().filter_map(|pointer| folder(config.pointer(pointer)?.as_str()?));
        let conventional = host.conventional.iter().map(|folder| (*folder).to_owned());
        let function = named.chain(conventional).find_map(|folder| first_program(dir, &folder))?;
        let message = format!(
            "{function} is a function of {} ({}), which does not run here: call it from a server that is named in \
             deno.json as \"switchyard\": {{\"entry\": …}}, or write \"switchyard\": {{\"platform\": \"static\"}} to \
             have the files served without it",
            host.name, host.file
        );
        Some(Diagnostic { file: Some(function), message, ..Diagnostic::default() })
    })
}

impl Host {
    /// The configuration. One that does not parse, or is larger than what is read of a page, says nothing.
    fn read(&self, dir: &Path) -> Option<Value> {
        let text = page::read(dir, self.file)?;
        let is_toml = self.file.ends_with(".toml");
        if is_toml { toml::from_str(&text).ok() } else { serde_json::from_str(&text).ok() }
    }
}

/// A folder of the project's, relative to it. `None`: it is outside.
fn folder(text: &str) -> Option<String> {
    let names: Vec<_> = text.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
    let is_outside = names.contains(&"..") || text.contains(['\0', '\\']);
    (!is_outside).then(|| names.join("/"))
}

/// The first program in a folder by its name, for the message.
fn first_program(dir: &Path, folder: &str) -> Option<String> {
    let names = std::fs::read_dir(dir.join(folder)).ok()?.flatten().take(MAX_NAMES);
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let is_program = |name: &String| PROGRAMS.iter().any(|end| name.ends_with(end)) && !name.starts_with('_');
    let first = names.filter(is_program).min()?;
    Some(below(folder, &first))
}
