//! The JSON Schemas in docs/reference/schema, and what the readers of the files say.

pub mod readers;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use boon::{Compiler, SchemaIndex};
use serde_json::Value;

/// All schemas, ready to be used.
pub struct Schemas {
    compiled: boon::Schemas,
    by_name: BTreeMap<String, (SchemaIndex, Value)>,
}

/// The folder of the schemas.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/schema")
}

impl Schemas {
    /// Reads the schemas, each of which has to be one.
    pub fn read() -> Self {
        let files = fs::read_dir(folder()).expect("the folder of schemas can be read");
        let names = files.map(|file| file.expect("the folder can be read").file_name());
        let names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
        let (mut compiler, mut compiled) = (Compiler::new(), boon::Schemas::new());
        let url = |name: &str| format!("http://schemas.test/{name}");
        let documents: Vec<Value> = names.iter().map(|name| read(&folder().join(name))).collect();
        for (name, document) in names.iter().zip(&documents) {
            compiler.add_resource(&url(name), document.clone()).expect("a schema has a name of its own");
        }
        let by_name = names.iter().zip(documents).map(|(name, document)| {
            let index = compiler.compile(&url(name), &mut compiled);
            let index = index.unwrap_or_else(|error| panic!("{name}: {error:#}"));
            (name.trim_end_matches(".json").to_owned(), (index, document))
        });
        let by_name = by_name.collect();
        Self { compiled, by_name }
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// The schema itself.
    pub fn document(&self, name: &str) -> &Value {
        &self.by_name[name].1
    }

    /// What the schema has against a file's content.
    pub fn complaint(&self, name: &str, content: &Value) -> Option<String> {
        let (index, _) = self.by_name[name];
        self.compiled.validate(content, index).err().map(|error| format!("{error:#}"))
    }
}

/// The content of a file, by the format that its name has.
pub fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    parse(&path.display().to_string(), &text)
}

/// The content of a text in the format that `name` ends with.
pub fn parse(name: &str, text: &str) -> Value {
    let parsed = match name.rsplit('.').next() {
        Some("toml") => toml::from_str(text).map_err(|error| error.to_string()),
        Some("yaml") => serde_saphyr::from_str(text).map_err(|error| error.to_string()),
        _ => serde_json::from_str(text).map_err(|error| error.to_string()),
    };
    parsed.unwrap_or_else(|error| panic!("{name}: {error}\n{text}"))
}

/// The words that an error lists: `…: expected one of a, b, c`.
pub fn listed(error: &str) -> Vec<String> {
    let Some((_, list)) = error.split_once("one of ") else { return Vec::new() };
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-$".contains(c);
    let mut words = Vec::new();
    for part in list.split(", ") {
        let part = part.trim_start_matches('"');
        let word = part.split(|c| !is_part(c)).next().unwrap_or_default();
        words.extend((!word.is_empty()).then(|| word.to_owned()));
        if part.trim_end_matches('"') != word {
            break;
        }
    }
    words.sort();
    words
}
