//! The sources have the architecture that ARCHITECTURE.md describes. Rules about structure only:
//! sizes and wording are reported by `tools/house`, and never fail.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use switchyard_integration::house::{
    Architecture, Crate, SourceFile, Workspace, circles, floor_violations, home_violations,
};

/// Entries of a crate's folder besides its sources and the folders of other crates. v8: the library
/// that the cell is linked with. page: the files of the page.
const OTHER_ROOMS: [&str; 8] =
    ["Cargo.toml", "build.rs", "src", "tests", "benches", "fixtures", "page", "v8"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn architecture() -> Architecture {
    let path = root().join("ARCHITECTURE.md");
    let page = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Architecture::parse(&page)
}

/// The crates that have floors: all but the harness of tests.
fn crates(workspace: &Workspace) -> impl Iterator<Item = &Crate> {
    workspace.crates.iter().filter(|krate| krate.name != "integration")
}

/// # Panics
/// There are problems. Shows all of them.
#[track_caller]
fn assert_none(rule: &str, problems: Vec<String>) {
    let count = problems.len();
    assert!(problems.is_empty(), "{rule}\n{count} broken:\n{}", problems.join("\n"));
}

#[test]
fn imports_go_down_only() {
    let (workspace, architecture) = (Workspace::read(&root()), architecture());
    let mut problems = Vec::new();
    for krate in crates(&workspace) {
        match architecture.modules.get(&krate.name) {
            Some(floors) => {
                problems.extend(floor_violations(krate, floors).iter().map(ToString::to_string));
            }
            None => problems
                .push(format!("ARCHITECTURE.md has no table <!-- floors: {} -->: add one", krate.name)),
        }
    }
    assert_none("A module imports modules on lower floors only (ARCHITECTURE.md, Floors).", problems);
}

#[test]
fn crates_are_imported_downwards_and_heavy_dependencies_at_home() {
    let (workspace, architecture) = (Workspace::read(&root()), architecture());
    assert!(
        architecture.homes.0.len() > 5,
        "ARCHITECTURE.md has no table <!-- homes -->: {:?}",
        architecture.homes
    );
    let unknown = workspace.crates.iter().filter(|krate| !architecture.crates.0.contains_key(&krate.name));
    let unknown = unknown
        .map(|krate| format!("ARCHITECTURE.md: the table <!-- crates --> does not have {}", krate.name));
    let violations = home_violations(&workspace, &architecture.crates, &architecture.homes);
    let problems = unknown.chain(violations.iter().map(ToString::to_string)).collect();
    assert_none("Crates are imported downwards, and each heavy dependency has one home.", problems);
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let workspace = Workspace::read(&root());
    let all = workspace.crates.iter().flat_map(|krate| {
        circles(krate).into_iter().map(|circle| {
            format!(
                "{}: {}: each of these imports the others, directly or through one of them. Move what they share (a \
                 type, a constant, an alias) into a file below them:\n    {}",
                krate.name,
                circle.modules.join(", "),
                circle.imports.join("\n    ")
            )
        })
    });
    assert_none("Files never import each other in a circle.", all.collect());
}

#[test]
fn the_code_map_names_each_module_and_no_other() {
    let (workspace, architecture) = (Workspace::read(&root()), architecture());
    let mut problems = Vec::new();
    for krate in crates(&workspace) {
        let rooms: BTreeSet<_> = krate.product().filter_map(SourceFile::room).collect();
        let named = architecture.modules.get(&krate.name);
        let named: BTreeSet<_> =
            named.into_iter().flat_map(|floors| floors.0.keys()).map(String::as_str).collect();
        let source = krate.folder.join("src");
        problems.extend(rooms.difference(&named).map(|room| {
            format!(
                "{}/{room}.rs: the table <!-- floors: {} --> of ARCHITECTURE.md does not have {room}: add a row with \
                 its floor and its job",
                source.display(),
                krate.name
            )
        }));
        problems.extend(named.difference(&rooms).map(|room| {
            format!(
                "ARCHITECTURE.md: the table <!-- floors: {} --> has {room}, which is not in {}: remove or rename it",
                krate.name,
                source.display()
            )
        }));
    }
    assert_none("ARCHITECTURE.md names each module of each crate.", problems);
}

#[test]
fn every_file_begins_with_its_job() {
    let workspace = Workspace::read(&root());
    // A module of unit tests is the tests of the module above it.
    let inside = workspace.crates.iter().flat_map(Crate::product);
    let mut first_lines: Vec<_> = inside.map(|file| (file.path.clone(), first_line(&file.text))).collect();
    for folder in ["integration/tests", "integration/benches"] {
        first_lines.extend(files(&root().join(folder), "rs"));
    }
    assert!(first_lines.len() > 500, "{} files are too few to be all", first_lines.len());
    let without = first_lines.into_iter().filter(|(_, line)| !line.starts_with("//! "));
    let problems = without.map(|(path, line)| {
        format!(
            "{}:1: begins with {line:?}: begin with `//! ` and its one job, as a noun phrase",
            path.strip_prefix(root()).unwrap_or(&path).display()
        )
    });
    assert_none("The first line of a file states its one job.", problems.collect());
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// The files below `folder` with this extension, and their first lines.
fn files(folder: &Path, extension: &str) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let files = entries.flat_map(|entry| {
        let path = entry.expect("a folder can be read").path();
        match path.is_dir() {
            true => files(&path, extension),
            false if path.extension().is_some_and(|found| found == extension) => {
                let text =
                    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                vec![(path, first_line(&text))]
            }
            false => Vec::new(),
        }
    });
    files.collect()
}

#[test]
fn every_file_is_declared_by_the_module_above_it_and_stands_beside_its_folder() {
    let workspace = Workspace::read(&root());
    let mut problems = Vec::new();
    for krate in &workspace.crates {
        for file in &krate.files {
            let path = file.path.display();
            if file.path.ends_with("mod.rs") {
                problems
                    .push(format!("{path}: name the file after its module (x.rs beside x/), never mod.rs"));
            } else if let Some((name, above)) = file.module.split_last() {
                let parents: Vec<_> = krate.files.iter().filter(|parent| parent.module == above).collect();
                let declares = |parent: &&SourceFile| parent.text.contains(&format!("mod {name};"));
                if !parents.iter().any(declares) {
                    let above = if above.is_empty() {
                        "lib.rs or main.rs".to_owned()
                    } else {
                        above.join("/") + ".rs"
                    };
                    problems.push(format!("{path}: {above} has no `mod {name};`, so it is not compiled: add it, or remove the file"));
                }
            }
        }
    }
    assert_none("Every file is part of its crate.", problems);
}

#[test]
fn a_crates_folder_has_its_rooms_and_other_crates_only() {
    let workspace = Workspace::read(&root());
    let folders: Vec<_> = workspace.crates.iter().map(|krate| krate.folder.clone()).collect();
    let mut problems = Vec::new();
    for krate in &workspace.crates {
        let entries = fs::read_dir(root().join(&krate.folder)).expect("a crate's folder can be read");
        for entry in entries {
            let name = entry.expect("a crate's folder can be read").file_name();
            let path = krate.folder.join(&name);
            if !OTHER_ROOMS.iter().any(|room| name == *room) && !folders.contains(&path) {
                problems.push(format!(
                    "{}: a crate's folder has {} and the folders of other crates; move it into one of them",
                    path.display(),
                    OTHER_ROOMS.join(", ")
                ));
            }
        }
    }
    assert_none("No file lies outside of a crate's rooms.", problems);
}

#[test]
fn every_link_of_the_documentation_leads_to_a_file() {
    let mut problems = Vec::new();
    let mut pages: Vec<_> =
        ["docs", "rfc", "examples"].iter().flat_map(|folder| files(&root().join(folder), "md")).collect();
    pages.retain(|(path, _)| !path.components().any(|part| part.as_os_str() == "node_modules"));
    pages.extend(files_of_root());
    for (path, _) in &pages {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let folder = path.parent().unwrap_or(Path::new(""));
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://") && !link.contains(' ')) {
            let (file, anchor) =
                link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
            let target = if file.is_empty() { path.clone() } else { folder.join(file) };
            let shown = path.strip_prefix(root()).unwrap_or(path).display().to_string();
            if !target.exists() {
                problems.push(format!("{shown}: {link} leads to no file"));
            } else if let Some(anchor) =
                anchor.filter(|_| target.extension().is_some_and(|kind| kind == "md"))
            {
                let page = fs::read_to_string(&target).unwrap_or_default();
                if !page.lines().filter(|line| line.starts_with('#')).any(|line| anchor_of(line) == anchor) {
                    problems.push(format!("{shown}: {link}: the page has no such heading"));
                }
            }
        }
    }
    assert!(pages.len() > 20, "{} pages are too few to be all", pages.len());
    assert_none("Links between pages lead somewhere.", problems);
}

fn files_of_root() -> Vec<(PathBuf, String)> {
    let names = ["README.md", "ARCHITECTURE.md", "SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md"];
    names.map(|name| (root().join(name), String::new())).to_vec()
}

/// The anchor that GitHub makes of a heading.
fn anchor_of(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}
