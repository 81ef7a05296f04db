//! The documents of `switchyard schema`: JSON Schemas, OpenAPI documents and their types.

use clap::Command;
use serde_json::Value;
use switchyard_contract::schema::SCHEMAS;
use switchyard_contract::suggest::did_you_mean;

#[cfg(feature = "server")]
use super::types::declarations;
#[cfg(feature = "server")]
use crate::config_file::schema as config_schema;

/// One document.
pub(crate) struct Document {
    /// The file that it is written to, below docs/reference too.
    pub(crate) file: String,
    /// Its text, which ends with a line break.
    pub(crate) text: String,
    /// True if it is made from definitions in the code.
    pub(crate) is_generated: bool,
}

impl Document {
    /// The name in commands: that of the file, for JSON without its ending.
    pub(crate) fn name(&self) -> &str {
        self.file.strip_suffix(".json").unwrap_or(&self.file)
    }

    /// Returns true for a JSON Schema.
    pub(crate) fn is_schema(&self) -> bool {
        let parsed: Value = serde_json::from_str(&self.text).unwrap_or_default();
        parsed["$schema"].is_string()
    }

    /// Returns the title in it.
    pub(crate) fn title(&self) -> String {
        let parsed: Value = serde_json::from_str(&self.text).unwrap_or_default();
        let title = parsed["title"].as_str().or_else(|| parsed["info"]["title"].as_str());
        let first = || self.text.lines().next().unwrap_or_default().trim_start_matches("// ");
        title.unwrap_or_else(first).trim_end_matches('.').to_owned()
    }

    #[cfg(feature = "server")]
    fn generated(file: &str, text: &str) -> Self {
        Self { file: file.to_owned(), text: format!("{}\n", text.trim_end()), is_generated: true }
    }
}

/// Returns all documents. `commands` is the definition of all commands.
#[cfg_attr(not(feature = "server"), expect(unused_variables, reason = "clients have no flags of servers"))]
pub(crate) fn documents(commands: &Command) -> Vec<Document> {
    let written = |(name, text): (&str, &str)| Document {
        file: format!("{name}.json"),
        text: text.to_owned(),
        is_generated: false,
    };
    #[cfg_attr(not(feature = "server"), expect(unused_mut, reason = "clients have no documents of servers"))]
    let mut all: Vec<_> = SCHEMAS.into_iter().map(written).collect();
    #[cfg(feature = "server")]
    {
        let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap_or_default();
        all.push(Document::generated("switchyard.json", &pretty(&config_schema(commands))));
        for (name, text) in [
            ("admin", switchyard_router::admin::openapi::document()),
            ("bridge", switchyard_bridge::api::openapi::document()),
        ] {
            let parsed = serde_json::from_str(&text).unwrap_or_default();
            all.push(Document::generated(&format!("{name}.json"), &text));
            all.push(Document::generated(&format!("{name}.d.ts"), &declarations(&parsed)));
        }
    }
    all
}

/// Returns the names of all documents and what they are about, for people.
pub(crate) fn list(documents: &[Document]) -> String {
    let width = documents.iter().map(|one| one.name().len()).max().unwrap_or_default();
    let lines = documents.iter().map(|one| format!("{:width$}  {}\n", one.name(), one.title()));
    lines.collect()
}

/// Returns the document of this name, with or without `.json`.
///
/// # Errors
/// There is none. The error names those that there are.
pub(crate) fn find<'d>(documents: &'d [Document], name: &str) -> Result<&'d Document, String> {
    let found = documents.iter().find(|one| [one.name(), &one.file].contains(&name));
    found.ok_or_else(|| {
        let known: Vec<_> = documents.iter().map(Document::name).collect();
        format!("unknown schema {name:?}: expected one of {}{}", known.join(", "), did_you_mean(name, &known))
    })
}
