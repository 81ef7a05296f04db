//! Tests of the tree of watched directories.

use super::*;

fn sync_all(tree: &mut WatchTree) {
    tree.watch_root().unwrap();
    for name in tree.names() {
        tree.reload_includes(&name);
        tree.sync(&name).unwrap();
    }
}

fn watched(tree: &WatchTree) -> Vec<&Path> {
    assert!(tree.projects.values().flatten().all(|directory| tree.watched.contains_key(directory)));
    tree.watched.keys().map(|path| path.strip_prefix(tree.root()).unwrap()).collect()
}

#[test]
fn an_event_concerns_all_projects_that_include_its_path_and_their_shares() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let including = |entry: &str| format!(r#"{{"switchyard": {{"include": ["{entry}"]}}}}"#);
    for (path, text) in [
        ("a/deno.json", including("../_shared")),
        ("b/deno.json", including("../shop/lib")),
        ("c/deno.json", including("../deno.json")),
        ("_shared/src/mod.ts", String::new()),
        ("shop/lib/mod.ts", String::new()),
    ] {
        std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        std::fs::write(root.join(path), text).unwrap();
    }
    let (mut tree, made) = WatchTree::new(&root, Overrides::default(), [100, 100], |_| {});
    made.unwrap();
    sync_all(&mut tree);
    let owners = |path: &str| {
        let mut found = tree.projects_of(&root.join(path));
        found.sort();
        found.into_iter().map(|(name, below)| format!("{name}: {}", below.display())).collect::<Vec<_>>()
    };
    assert_eq!(owners("a/main.ts"), ["a: main.ts"]);
    assert_eq!(owners("_shared/src/mod.ts"), ["a: ../_shared/src/mod.ts"]);
    assert_eq!(owners("shop/lib/mod.ts"), ["b: ../shop/lib/mod.ts", "shop: lib/mod.ts"]);
    assert_eq!(owners("shop/main.ts"), ["shop: main.ts"]);
    assert_eq!(
        owners("shop/deno.json"),
        ["b: ../shop/deno.json", "shop: deno.json"],
        "it says who may include it"
    );
    assert_eq!(owners("deno.json"), ["c: ../deno.json", "deno.json: "]);
    assert_eq!(owners("_other"), [""; 0]);
}

#[test]
fn the_folder_and_the_scopes_of_packages_are_watched_and_folders_with_many_paths_once() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    for path in
        ["a/node_modules/@scope/one/lib", "a/node_modules/.cache/x", "a/lib/node_modules/two", "a/src"]
    {
        std::fs::create_dir_all(root.join(path)).unwrap();
    }
    for link in ["a/src/one", "a/src/two"] {
        std::os::unix::fs::symlink("../lib", root.join(link)).unwrap();
    }
    let (mut tree, _) = WatchTree::new(&root, Overrides::default(), [100, 100], |_| {});
    sync_all(&mut tree);
    let expected = ["a", "a/lib", "a/lib/node_modules", "a/node_modules", "a/node_modules/@scope", "a/src"];
    assert_eq!(watched(&tree), expected.map(Path::new));
    let packages = ["a/lib/node_modules", "a/node_modules"].map(|path| root.join(path));
    assert_eq!(tree.packages_of("a"), HashSet::from(packages));
}

#[test]
fn a_new_folder_is_watched_and_a_removed_one_is_not_without_a_walk_over_its_project() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    std::fs::create_dir_all(root.join("a/src")).unwrap();
    let (mut tree, _) = WatchTree::new(&root, Overrides::default(), [2000, 100], |_| {});
    sync_all(&mut tree);
    std::fs::create_dir_all(root.join("a/src/x/y")).unwrap();
    assert!(tree.update_path(&root.join("a/src/x"), true).unwrap().is_empty());
    assert_eq!(watched(&tree), ["a", "a/src", "a/src/x", "a/src/x/y"].map(Path::new));
    assert!(!tree.sync("a").unwrap(), "nothing is left to be found");
    std::fs::rename(root.join("a/src/x"), root.join("a/z")).unwrap();
    for path in ["a/src/x", "a/z"] {
        assert!(tree.update_path(&root.join(path), false).unwrap().is_empty());
    }
    assert_eq!(watched(&tree), ["a", "a/src", "a/z", "a/z/y"].map(Path::new));
    std::os::unix::fs::symlink("z", root.join("a/link")).unwrap();
    let all = HashSet::from(["a".to_owned()]);
    for path in ["a/link", "a/z", "a"] {
        assert_eq!(tree.update_path(&root.join(path), false).unwrap(), all, "{path}");
    }
    for n in 0..=AT_ONCE.folders {
        std::fs::create_dir_all(root.join(format!("a/many/{n}"))).unwrap();
    }
    assert_eq!(tree.update_path(&root.join("a/many"), true).unwrap(), all, "too many to be found at once");
    assert!(tree.sync("a").unwrap());
    std::fs::remove_dir_all(root.join("a/many")).unwrap();
    tree.update_path(&root.join("a/many"), false).unwrap();
    assert_eq!(watched(&tree), ["a", "a/src", "a/z", "a/z/y"].map(Path::new));
}

#[test]
fn no_more_of_an_endless_project_is_watched_than_a_valid_one_has() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    for n in 0..100 {
        std::fs::create_dir_all(root.join(format!("a/{n}/node_modules/@x"))).unwrap();
        std::fs::create_dir_all(root.join(format!("b/{n}"))).unwrap();
    }
    let (mut tree, _) = WatchTree::new(&root, Overrides::default(), [10, 1000], |_| {});
    sync_all(&mut tree);
    let of = |name: &str| tree.projects[name].len();
    assert!((10..=12).contains(&of("a")) && (10..=12).contains(&of("b")), "{} {}", of("a"), of("b"));
}

#[test]
fn an_override_is_watched_in_place_of_the_volume_and_its_includes_in_both() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    let (root, local) = (dir.join("projects"), dir.join("dev/my-a"));
    for (path, text) in [
        ("projects/a/lib/main.ts", ""),
        ("projects/_shared/mod.ts", ""),
        ("dev/_shared/mod.ts", ""),
        ("dev/my-a/src/main.ts", ""),
        ("dev/my-a/deno.json", r#"{"switchyard": {"include": ["../_shared"]}}"#),
    ] {
        std::fs::create_dir_all(dir.join(path).parent().unwrap()).unwrap();
        std::fs::write(dir.join(path), text).unwrap();
    }
    let overrides = Overrides::default();
    let (mut tree, _) = WatchTree::new(&root, overrides.clone(), [100, 100], |_| {});
    sync_all(&mut tree);
    let name = switchyard_contract::project::ProjectName::parse("a").unwrap();
    overrides.set(&name, Some(local.clone()));
    tree.reload_includes("a");
    assert!(tree.sync("a").unwrap());
    let owner = |tree: &WatchTree, path: &str| {
        let found = tree.projects_of(&dir.join(path)).into_iter();
        found.map(|(name, below)| format!("{name}: {}", below.display())).collect::<Vec<_>>()
    };
    assert_eq!(owner(&tree, "dev/my-a/src/main.ts"), ["a: src/main.ts"]);
    for shared in ["dev/_shared/mod.ts", "projects/_shared/mod.ts"] {
        assert_eq!(owner(&tree, shared), ["a: ../_shared/mod.ts"]);
    }
    assert_eq!(owner(&tree, "projects/a/lib/main.ts"), [""; 0]);
    assert_eq!(owner(&tree, "dev/other"), [""; 0]);
    std::fs::rename(&local, dir.join("dev/away")).unwrap();
    assert!(tree.update_path(&local, false).unwrap().is_empty());
    std::fs::rename(dir.join("dev/away"), &local).unwrap();
    assert_eq!(tree.update_path(&local, true).unwrap(), HashSet::from(["a".to_owned()]), "it is back");
    assert!(tree.sync("a").unwrap());
    overrides.set(&name, None);
    tree.reload_includes("a");
    tree.sync("a").unwrap();
    assert_eq!(owner(&tree, "projects/a/lib/main.ts"), ["a: lib/main.ts"]);
    assert!(tree.watched.keys().all(|folder| folder.starts_with(&root)));
}
