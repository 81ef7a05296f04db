//! The report on the state of the sources: `tools/house [FOLDER]`. Sizes and wording are shown to
//! be compared with earlier ones, and with other projects; nothing fails on them.

use std::fs;
use std::path::{Path, PathBuf};

use switchyard_integration::house::{
    Architecture, Crate, FirstWords, Spread, Workspace, circles, count_words, floor_violations, functions,
    home_violations,
};

/// Words that the table of words (rfc/0018) replaces, in their forms.
const OLD_WORDS: [(&str, &[&str]); 6] = [
    ("told", &["told"]),
    ("tell", &["tell", "tells", "telling"]),
    ("place", &["place", "places", "placed"]),
    ("wall", &["wall", "walls", "walled"]),
    ("lacks", &["lack", "lacks", "lacked", "lacking"]),
    ("mend", &["mend", "mends", "mended", "mending"]),
];

fn main() {
    let argument = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let root = argument.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), PathBuf::from);
    let workspace = Workspace::read(&root);
    sizes(&workspace);
    words(&workspace);
    structure(&workspace);
}

fn sizes(workspace: &Workspace) {
    say(
        "| crate | files | median | p90 | max | > 400 | functions | median | p90 | > 60 | first words | comments |",
    );
    say("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    let is_product = |krate: &&Crate| krate.name != "integration";
    let product: Vec<_> = workspace.crates.iter().filter(is_product).collect();
    say(row("all but integration", &product));
    for krate in &workspace.crates {
        say(row(&krate.name, &[krate]));
    }
    say("");
    say(
        "Lines of files and functions, without those of tests. First words: comments that begin with What, Who, Whose,",
    );
    say("Whether, Of, It, So, As or How.");
    say("");
}

fn row(name: &str, crates: &[&Crate]) -> String {
    let files: Vec<_> = crates.iter().flat_map(|krate| krate.product()).collect();
    let lines: Vec<_> = files.iter().map(|file| file.text.lines().count()).collect();
    let bodies: Vec<_> = files.iter().flat_map(|file| functions(file)).collect();
    let (long_files, long_bodies) = (
        lines.iter().filter(|lines| **lines > 400).count(),
        bodies.iter().filter(|lines| **lines > 60).count(),
    );
    let mut first = FirstWords::default();
    files.iter().for_each(|file| first.add(file));
    let share = 100.0 * first.riddles as f64 / first.comments.max(1) as f64;
    let (files, bodies) = (Spread::of(lines), Spread::of(bodies));
    format!(
        "| {name} | {} | {} | {} | {} | {long_files} | {} | {} | {} | {long_bodies} | {share:.1} % | {} |",
        files.count,
        files.median,
        files.p90,
        files.max,
        bodies.count,
        bodies.median,
        bodies.p90,
        first.comments
    )
}

fn words(workspace: &Workspace) {
    let mut texts: Vec<_> =
        workspace.crates.iter().flat_map(|krate| &krate.files).map(|file| file.text.clone()).collect();
    texts.extend(scripts(&workspace.root.join("router/cell/src")));
    let counts = OLD_WORDS.map(|(name, words)| {
        let count: usize = texts.iter().map(|text| count_words(text, words)).sum();
        format!("{name} {count}")
    });
    say(format!("Words in the .rs and .js files of the crates (tests included): {}.", counts.join(", ")));
    let readme = fs::read_to_string(workspace.root.join("README.md")).unwrap_or_default();
    say(format!("README.md: {} lines.", readme.lines().count()));
    say("");
}

fn scripts(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let texts = entries.flat_map(|entry| {
        let path = entry.path();
        match path.is_dir() {
            true => scripts(&path),
            false if path.extension().is_some_and(|extension| extension == "js") => {
                fs::read_to_string(path).into_iter().collect()
            }
            false => Vec::new(),
        }
    });
    texts.collect()
}

fn structure(workspace: &Workspace) {
    let page = fs::read_to_string(workspace.root.join("ARCHITECTURE.md")).unwrap_or_default();
    let architecture = Architecture::parse(&page);
    let circles = workspace.crates.iter().flat_map(|krate| {
        circles(krate).into_iter().map(|circle| format!("{}: {}", krate.name, circle.modules.join(", ")))
    });
    let circles: Vec<_> = circles.collect();
    say(format!("Circles of imports: {}.", circles.len()));
    circles.iter().for_each(|circle| say(format!("- {circle}")));
    let floors = workspace.crates.iter().flat_map(|krate| {
        architecture.modules.get(&krate.name).map_or(Vec::new(), |floors| floor_violations(krate, floors))
    });
    let mut violations: Vec<_> = floors.collect();
    violations.extend(home_violations(workspace, &architecture.crates, &architecture.homes));
    say(format!("Imports that break a floor or leave a home: {}.", violations.len()));
    violations.iter().for_each(|violation| say(format!("- {violation}")));
}

/// Prints a line of the report.
#[expect(clippy::print_stdout, reason = "the report is printed")]
fn say(line: impl AsRef<str>) {
    println!("{}", line.as_ref());
}
