//! The configurations of hosts of static sites: the published folder, and the functions that the
//! host would run.

use std::path::Path;

use serde_json::Value;

use super::{INDEX, Site, below, page};
use switchyard_contract::event::Diagnostic;

/// A host that is identified by its configuration file.
struct Host {
    name: &'static str,
    file: &'static str,
    /// The folder that is published, as a JSON pointer; relative to the folder that `base` names.
    published: &'static str,
    base: &'static str,
    /// JSON pointers to the folder of functions.
    functions: &'static [&'static str],
    /// Folders of functions, by convention.
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

/// Names in a folder of functions that are read.
const MAX_NAMES: usize = 256;

/// Extensions of functions in the languages of these hosts.
const PROGRAMS: [&str; 9] = [".js", ".mjs", ".cjs", ".ts", ".mts", ".tsx", ".py", ".go", ".rb"];

/// Returns the site in the folder that a host's configuration publishes, if browsers can show its
/// page.
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

/// Returns a warning about functions that a host would run. `None` if the project has no such
/// functions.
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
    /// Reads the configuration. `None`: it does not parse or is too large.
    fn read(&self, dir: &Path) -> Option<Value> {
        let text = page::read(dir, self.file)?;
        let is_toml = self.file.ends_with(".toml");
        if is_toml { toml::from_str(&text).ok() } else { serde_json::from_str(&text).ok() }
    }
}

/// Returns a folder relative to the project. `None`: it is outside.
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
