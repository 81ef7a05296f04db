//! Names of paths in messages to the project's author: relative to the project, without the
//! router's folders.

use std::path::Path;

use deno_core::url::Url;

use super::roots::Roots;

/// Prefixes of paths and their replacements, the longest prefix first.
#[derive(Debug, Clone)]
pub(crate) struct PathNames {
    prefixes: Vec<(String, String)>,
}

impl PathNames {
    /// Returns the names for a version.
    pub(crate) fn new(roots: &Roots) -> Self {
        let mut prefixes = Vec::new();
        let mut add = |directory: &Path, shown: &str| {
            if let Ok(url) = Url::from_directory_path(directory) {
                prefixes.push((url.into(), shown.to_owned()));
            }
            prefixes.push((format!("{}/", directory.display()), shown.to_owned()));
        };
        if let Some(node_modules) = &roots.node_modules {
            add(node_modules, "node_modules/");
            // The project's folder on the volume: resolvers read files beside packages.
            if let Some(project) = node_modules.parent() {
                add(project, "");
            }
        }
        for (shown, packages) in &roots.other_node_modules {
            add(packages, &format!("{shown}/"));
        }
        add(&roots.checkout, "");
        // The folder of the directories that the project includes.
        if let Some(around) = roots.checkout.parent() {
            add(around, "../");
        }
        Self::sorted(prefixes)
    }

    /// Names for a process that fetches packages into `folder`.
    pub(crate) fn for_install(roots: &Roots, folder: &Path) -> Self {
        let mut prefixes = Self::new(roots).prefixes;
        prefixes.push((format!("{}/", folder.display()), String::new()));
        Self::sorted(prefixes)
    }

    fn sorted(mut prefixes: Vec<(String, String)>) -> Self {
        prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Self { prefixes }
    }

    /// Makes every path and URL in a text relative to the project, and removes colors.
    pub(crate) fn clean(&self, text: &str) -> String {
        let text = without_ansi(text);
        self.prefixes.iter().fold(text, |text, (prefix, shown)| text.replace(prefix, shown))
    }

    /// Returns the path relative to the project of a URL or absolute path, or `None` if it is
    /// elsewhere.
    pub(crate) fn file(&self, name: &str) -> Option<String> {
        let path = path_of_url(name);
        let name = path.as_deref().unwrap_or(name);
        let (prefix, shown) = self.prefixes.iter().find(|(prefix, _)| name.starts_with(prefix.as_str()))?;
        Some(format!("{shown}{}", &name[prefix.len()..]))
    }
}

/// Returns the decoded path of a `file:` URL: `my file.ts`, not `my%20file.ts`.
fn path_of_url(name: &str) -> Option<String> {
    let url = Url::parse(name).ok().filter(|url| url.scheme() == "file")?;
    url.to_file_path().ok()?.into_os_string().into_string().ok()
}

/// Removes colors and similar sequences: ESC [ … letter.
fn without_ansi(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\u{1b}[") {
        plain.push_str(&rest[..at]);
        let sequence = &rest[at + 2..];
        let end = sequence.find(|c: char| c.is_ascii_alphabetic());
        rest = end.map_or("", |end| &sequence[end + 1..]);
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> PathNames {
        PathNames::new(&Roots {
            checkout: "/state/checkouts/blog@3f9a/blog".into(),
            root: "/state/checkouts/blog@3f9a".into(),
            node_modules: Some("/projects/blog/node_modules".into()),
            other_node_modules: [(
                "../shared/node_modules".to_owned(),
                "/projects/shared/node_modules".into(),
            )]
            .into(),
        })
    }

    #[test]
    fn no_path_of_the_router_is_left_in_a_message() {
        let text = "at file:///state/checkouts/blog@3f9a/blog/lib/a.ts:1:2, /state/checkouts/blog@3f9a/blog/b.js, \
                    file:///projects/blog/node_modules/x/index.js, file:///state/checkouts/blog@3f9a/shared/c.ts, \
                    /projects/shared/node_modules/y/index.js";
        let shown = "at lib/a.ts:1:2, b.js, node_modules/x/index.js, ../shared/c.ts, ../shared/node_modules/y/index.js";
        assert_eq!(names().clean(text), shown);
    }

    #[test]
    fn colours_are_dropped() {
        assert_eq!(names().clean("\u{1b}[0m\u{1b}[31merror\u{1b}[39m: no"), "error: no");
        assert_eq!(names().clean("cut \u{1b}[3"), "cut ");
    }

    #[test]
    fn a_file_elsewhere_has_no_name() {
        let names = names();
        assert_eq!(names.file("file:///state/checkouts/blog@3f9a/blog/main.ts"), Some("main.ts".into()));
        assert_eq!(names.file("/projects/blog/node_modules/x/i.js"), Some("node_modules/x/i.js".into()));
        let escaped = "file:///state/checkouts/blog@3f9a/blog/%C3%A4%20b%23.ts";
        assert_eq!(names.file(escaped), Some("ä b#.ts".into()));
        assert_eq!(names.file("ext:deno_web/a.js"), None);
        assert_eq!(names.file("file:///etc/passwd"), None);
    }
}
