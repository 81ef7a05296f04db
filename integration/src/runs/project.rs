//! Projects with tasks, as their authors write them.

use serde_json::{Map, Value, json};

use crate::volume::Volume;

/// A project to be, whose tasks its deno.json declares. Nothing is written before
/// [`TaskProject::write`], which may be repeated after changes.
#[derive(Debug, Clone)]
pub struct TaskProject {
    name: String,
    tables: Map<String, Value>,
    files: Vec<(String, String)>,
}

impl TaskProject {
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), tables: Map::new(), files: Vec::new() }
    }

    /// Declares a task whose entry is `NAME.ts`, with this text. `settings` are its other fields:
    /// `json!({ "cron": "0 8 * * *" })`.
    #[must_use]
    pub fn task(self, name: &str, settings: Value, source: impl Into<String>) -> Self {
        let file = format!("{name}.ts");
        let Value::Object(mut fields) = settings else { panic!("settings are an object: {settings}") };
        fields.entry("entry").or_insert_with(|| json!(format!("./{file}")));
        self.file(&file, source).declare("tasks", name, Value::Object(fields))
    }

    /// Declares a pipeline.
    #[must_use]
    pub fn pipeline(self, name: &str, fields: Value) -> Self {
        self.declare("pipelines", name, fields)
    }

    /// Sets a key beside `tasks` and `pipelines`: `registry`, `crons`.
    #[must_use]
    pub fn set(mut self, key: &str, value: Value) -> Self {
        self.tables.insert(key.to_owned(), value);
        self
    }

    /// Adds or replaces a file.
    #[must_use]
    pub fn file(mut self, path: &str, text: impl Into<String>) -> Self {
        self.files.retain(|(other, _)| other != path);
        self.files.push((path.to_owned(), text.into()));
        self
    }

    /// Writes it file by file. `deno.json` is written if something is declared.
    pub fn write(&self, volume: &Volume) {
        let mut project = volume.project(&self.name);
        for (path, text) in &self.files {
            project = project.file(path, text);
        }
        if !self.tables.is_empty() {
            project = project.file("deno.json", self.deno_json());
        }
        project.write();
    }

    /// The text of its deno.json.
    pub fn deno_json(&self) -> String {
        format!("{:#}\n", json!({ "switchyard": self.tables }))
    }

    fn declare(mut self, table: &str, name: &str, fields: Value) -> Self {
        self.tables.entry(table).or_insert_with(|| json!({}))[name] = fields;
        self
    }
}

/// A task that returns a text.
pub fn returns(label: &str) -> String {
    format!("export default () => {label:?};\n")
}

/// A task that prints `held LABEL`, and waits until it is cancelled or until the file `gate` is in
/// its `DATA_DIR`, where a run of [`opens`] puts it. Returns the label.
pub fn held(label: &str, gate: &str) -> String {
    format!(
        "const gate = `${{Deno.env.get('DATA_DIR')}}/{gate}`;\n\
         const there = () => Deno.stat(gate).then(() => true, () => false);\n\
         export default async ({{ signal }}) => {{\n\
           console.log({held:?});\n\
           while (!signal.aborted && !await there()) await new Promise((go) => setTimeout(go, 10));\n\
           signal.throwIfAborted();\n\
           return {label:?};\n\
         }};\n",
        held = format!("held {label}"),
    )
}

/// A task that lets runs of [`held`] go on which have the same project, router and gate.
pub fn opens(gate: &str) -> String {
    format!("export default () => Deno.writeTextFile(`${{Deno.env.get('DATA_DIR')}}/{gate}`, '');\n")
}

/// The text of a `task.yaml` in dicode's format. `rest` are its other lines, from the first column.
pub fn yaml_task(name: &str, trigger: &str, rest: &str) -> String {
    format!("apiVersion: dicode/v1\nkind: Task\nname: {name}\nruntime: deno\ntrigger:\n  {trigger}\n{rest}")
}
