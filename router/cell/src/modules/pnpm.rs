//! pnpm's workspaces: members and catalogs of `pnpm-workspace.yaml`, added to package.json.

use std::borrow::Cow;
use std::path::Path;

use serde_json::{Map, Value};

/// Bytes of a file that are read: a hundred times the usual size.
const MAX_SIZE: usize = 1 << 20;

/// Adds the members and catalogs of the `pnpm-workspace.yaml` beside a package.json to its text.
pub(crate) fn with_workspace(
    package: &Path,
    text: Cow<'static, [u8]>,
    read: impl Fn(&Path) -> Option<Cow<'static, [u8]>>,
) -> Cow<'static, [u8]> {
    if package.file_name().is_none_or(|name| name != "package.json") {
        return text;
    }
    let Some(yaml) = read(&package.with_file_name("pnpm-workspace.yaml")) else { return text };
    let added = add(&text, &String::from_utf8_lossy(&yaml[..yaml.len().min(MAX_SIZE)]));
    added.map_or(text, Cow::Owned)
}

fn add(package: &[u8], yaml: &str) -> Option<Vec<u8>> {
    let mut package: Map<String, Value> = serde_json::from_slice(package).ok()?;
    let workspace = Workspace::parse(yaml);
    let members = workspace.packages.into_iter().filter(|pattern| !pattern.starts_with('!'));
    let members: Vec<Value> = members.map(Value::from).collect();
    let fields = [
        ("workspaces", Value::from(members)),
        ("catalog", Value::Object(workspace.catalog)),
        ("catalogs", Value::Object(workspace.catalogs)),
    ];
    for (field, value) in fields {
        let is_empty =
            value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(Map::is_empty);
        if !is_empty {
            package.entry(field).or_insert(value);
        }
    }
    serde_json::to_vec(&package).ok()
}

/// The parsed part of the file: lists and maps of plain or quoted words, as in pnpm's
/// documentation.
#[derive(Debug, Default)]
struct Workspace {
    packages: Vec<String>,
    catalog: Map<String, Value>,
    /// Named catalogs.
    catalogs: Map<String, Value>,
}

impl Workspace {
    fn parse(yaml: &str) -> Self {
        let mut found = Self::default();
        let (mut section, mut catalog) = (String::new(), String::new());
        for line in yaml.lines().map(without_comment).filter(|line| !line.trim().is_empty()) {
            let indent = line.len() - line.trim_start().len();
            let line = line.trim();
            if let Some(member) = line.strip_prefix("- ").filter(|_| section == "packages") {
                found.packages.push(word(member));
            } else if let Some((key, value)) =
                line.split_once(':').map(|(key, value)| (word(key), word(value)))
            {
                match section.as_str() {
                    _ if indent == 0 => {
                        let list = value.strip_prefix('[').and_then(|list| list.strip_suffix(']'));
                        if key == "packages" {
                            let members = list.into_iter().flat_map(|list| list.split(','));
                            found.packages.extend(members.map(word).filter(|member| !member.is_empty()));
                        }
                        section = key;
                    }
                    "catalog" => _ = found.catalog.insert(key, value.into()),
                    "catalogs" if value.is_empty() => catalog = key,
                    "catalogs" => {
                        let named =
                            found.catalogs.entry(catalog.clone()).or_insert_with(|| Map::new().into());
                        named[key.as_str()] = value.into();
                    }
                    _ => {}
                }
            }
        }
        found
    }
}

fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with('#') { "" } else { line.split(" #").next().unwrap_or(line) }
}

fn word(text: &str) -> String {
    text.trim().trim_matches(['"', '\'']).to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn added(yaml: &str) -> Value {
        serde_json::from_slice(&add(br#"{"name": "root"}"#, yaml).unwrap()).unwrap()
    }

    #[test]
    fn members_and_catalogs_are_found() {
        let yaml = "# members\npackages:\n  - 'packages/*' # all\n  - \"apps/web\"\n  - '!**/test/**'\n\
                    catalog:\n  react: ^18.0.0\n  '@x/y': 1.2.3\ncatalogs:\n  old:\n    react: ^17.0.0\nother: [x]\n";
        let expected = json!({
            "name": "root",
            "workspaces": ["packages/*", "apps/web"],
            "catalog": {"react": "^18.0.0", "@x/y": "1.2.3"},
            "catalogs": {"old": {"react": "^17.0.0"}},
        });
        assert_eq!(added(yaml), expected);
        assert_eq!(added("packages: ['a', \"b/*\"]\n")["workspaces"], json!(["a", "b/*"]));
        assert_eq!(added("- x\n:\n: :\npackages\n"), json!({"name": "root"}));
    }

    #[test]
    fn what_package_json_says_itself_stays() {
        let package = br#"{"workspaces": ["a"]}"#;
        let text = add(package, "packages: [b]").unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), json!({"workspaces": ["a"]}));
    }
}
