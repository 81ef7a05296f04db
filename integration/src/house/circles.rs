//! Circles of imports between the files of a crate.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::Target;
use super::source::{Crate, SourceFile};

/// Files of a crate each of which imports the others, directly or through others of the group.
#[derive(Debug)]
pub struct Circle {
    /// The files' modules.
    pub modules: Vec<String>,
    /// The imports between them: `src/a.rs:3: b`.
    pub imports: Vec<String>,
}

/// Returns the circles of imports in a crate. A child that imports from a module above it is part
/// of that module, and no circle.
pub fn circles(krate: &Crate) -> Vec<Circle> {
    let edges = edges(krate);
    let reach: BTreeMap<_, _> = edges.keys().map(|from| (*from, reachable(from, &edges))).collect();
    let mut groups = BTreeSet::new();
    for (from, reached) in &reach {
        if reached.contains(from) {
            groups.insert(reached.iter().filter(|to| reach[*to].contains(from)).copied().collect::<Vec<_>>());
        }
    }
    let circles = groups.into_iter().map(|group| Circle {
        modules: group.iter().map(|module| module.join("::")).collect(),
        imports: group
            .iter()
            .flat_map(|from| &edges[from])
            .filter(|(to, _)| group.contains(to))
            .map(|(to, line)| format!("{line}: {}", to.join("::")))
            .collect(),
    });
    circles.collect()
}

/// For each module the modules that it imports, and the first line that does.
type Edges<'a> = BTreeMap<&'a [String], BTreeMap<&'a [String], String>>;

fn edges(krate: &Crate) -> Edges<'_> {
    let modules: BTreeSet<&[String]> = krate.product().map(|file| file.module.as_slice()).collect();
    let edges = krate.product().map(|file| (file.module.as_slice(), targets(file, &modules)));
    edges.collect()
}

fn targets<'a>(file: &SourceFile, modules: &BTreeSet<&'a [String]>) -> BTreeMap<&'a [String], String> {
    let imported = file.imports.iter().filter_map(|import| match &import.target {
        Target::Inside(path) => Some((path.clone(), format!("{}:{}", file.path.display(), import.line))),
        Target::Crate(_) => None,
    });
    let declared = file.children.iter().map(|child| {
        let path = [file.module.as_slice(), std::slice::from_ref(child)].concat();
        (path, format!("{} declares", file.path.display()))
    });
    let mut targets = BTreeMap::new();
    for (path, line) in imported.chain(declared) {
        let lengths = (0..=path.len()).rev();
        let target = lengths.filter_map(|length| modules.get(&path[..length])).next();
        if let Some(target) = target.filter(|target| !file.module.starts_with(target)) {
            targets.entry(*target).or_insert(line);
        }
    }
    targets
}

/// The modules that lead from `from` over one edge or more.
fn reachable<'a>(from: &'a [String], edges: &Edges<'a>) -> BTreeSet<&'a [String]> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        for target in edges.get(module).into_iter().flat_map(BTreeMap::keys) {
            if reached.insert(*target) {
                next.push(*target);
            }
        }
    }
    reached
}
