//! The entry that the configuration of a Cloudflare Worker names.

use std::path::Path;

use jsonc_parser::parse_to_serde_value;
use serde_json::Value;

use super::files::read_text;

/// The names of the file, the one that counts first.
const FILES: [&str; 3] = ["wrangler.json", "wrangler.jsonc", "wrangler.toml"];

/// The file that names a Worker's entry, and the name. `None` where there is none, or it does not parse: to
/// say that is for whatever reads the rest of the configuration.
pub(super) fn main(dir: &Path) -> Option<(&'static str, String)> {
    let file = FILES.into_iter().find(|file| dir.join(file).is_file())?;
    let text = read_text(&dir.join(file), super::MAX_CONFIG).ok()?;
    let main = if file.ends_with(".toml") { in_toml(&text) } else { in_json(&text) };
    main.map(|main| (file, main))
}

fn in_json(text: &str) -> Option<String> {
    let value = parse_to_serde_value::<Value>(text, &Default::default()).ok()?;
    value.get("main")?.as_str().map(str::to_owned)
}

/// `main = "src/index.ts"`, above all tables.
fn in_toml(text: &str) -> Option<String> {
    let top = text.lines().map(str::trim).take_while(|line| !line.starts_with('['));
    let mut values = top.filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        let value = (key.trim().trim_matches('"') == "main").then(|| value.trim())?;
        let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        value[1..].split_once(quote).map(|(value, _)| value.to_owned())
    });
    values.next()
}
