//! The JSON Schema of `switchyard.toml`, from the definitions of the flags that the file is checked
//! against.

use clap::{Arg, ArgAction, Command};
use serde_json::{Map, Value, json};

use super::{DEFAULT_TARGET, SERVERS, TARGET_KEYS, flags, key_of};

/// Returns the schema. `commands` is the definition of all commands.
pub(crate) fn schema(commands: &Command) -> Value {
    let text = |description: &str| json!({"description": description, "type": "string"});
    let [url, token_file] = TARGET_KEYS;
    let target = json!({
        "type": "object",
        "additionalProperties": false,
        "required": [url],
        "properties": {
            url: text("URL of the bridge."),
            token_file: text("File with the token, relative to this one."),
        },
    });
    let mut properties = Map::new();
    properties.insert(DEFAULT_TARGET.to_owned(), text("The target of commands that name none."));
    let description = "The bridges that commands talk to, by name.";
    let targets = json!({"description": description, "type": "object", "additionalProperties": target});
    properties.insert("target".to_owned(), targets);
    for command in SERVERS.iter().filter_map(|name| commands.find_subcommand(name)) {
        let flags: Map<_, _> = flags(command).map(|(name, arg)| (key_of(name), value(arg))).collect();
        let description = format!("Flags of switchyard {}.", command.get_name());
        let table = json!({
            "description": description,
            "type": "object",
            "additionalProperties": false,
            "properties": flags,
        });
        properties.insert(command.get_name().to_owned(), table);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "switchyard.toml: settings of servers, and targets of commands",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}

/// The schema of a flag's values.
fn value(arg: &Arg) -> Value {
    let words: Vec<_> = arg.get_possible_values().iter().map(|word| word.get_name().to_owned()).collect();
    let mut schema = match arg.get_action() {
        action if !action.takes_values() => json!({"type": "boolean"}),
        _ if !words.is_empty() => json!({"enum": words}),
        _ => json!({"type": ["string", "integer"]}),
    };
    if matches!(arg.get_action(), ArgAction::Append) {
        schema = json!({"anyOf": [schema, {"type": "array", "items": schema}]});
    } else if let [default] = arg.get_default_values()
        && arg.get_action().takes_values()
    {
        schema["default"] = json!(default.to_string_lossy());
    }
    if let Some(help) = arg.get_help() {
        schema["description"] = json!(format!("{}.", help.to_string().replace('\n', " ")));
    }
    schema
}
