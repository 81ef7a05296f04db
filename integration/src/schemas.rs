//! The JSON Schemas in docs/reference/schema, and what the readers of the files say.

pub mod readers;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

/// All schemas, ready to be used.
pub struct Schemas {
    by_name: BTreeMap<String, Value>,
    validator: Mutex<Validator>,
}

/// A process of Node with Ajv. It ends when its input is closed.
struct Validator {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
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
        let by_name = names.map(|name| {
            let name = name.to_string_lossy().into_owned();
            (name.trim_end_matches(".json").to_owned(), read(&folder().join(name)))
        });
        Self { by_name: by_name.collect(), validator: Mutex::new(Validator::start()) }
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// The schema itself.
    pub fn document(&self, name: &str) -> &Value {
        &self.by_name[name]
    }

    /// Returns the first violation of the schema in a file's content.
    pub fn complaint(&self, name: &str, content: &Value) -> Option<String> {
        let mut validator = self.validator.lock().unwrap_or_else(PoisonError::into_inner);
        let reply = validator.ask(&json!([format!("{name}.json"), content]));
        reply.as_str().map(str::to_owned)
    }
}

impl Validator {
    fn start() -> Self {
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut process = Command::new("node")
            .arg(own.join("src/schemas/validate.mjs"))
            .args([folder(), own.join("../target/tools/node_modules")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().expect("the output is a pipe"));
        Self { process, input, output }
    }

    /// Sends a line, and returns the reply to it.
    fn ask(&mut self, question: &Value) -> Value {
        let mut input = self.input.as_ref().expect("the input is a pipe");
        writeln!(input, "{question}").expect("node reads");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("node's output is text");
        serde_json::from_str(&line).expect("node replies: its message is above")
    }
}

impl Drop for Validator {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.process.wait();
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
