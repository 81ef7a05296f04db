//! Tests of the listing of projects.

use std::os::unix::fs::symlink;

use super::*;
use crate::checkout::Interruption;
use crate::policy::ReadLimits;

fn list_within(root: &Path, limits: ReadLimits) -> Result<FileListing, ListError> {
    super::list(root, IncludeSource::Configuration(&|_, _| Ok(())), ReadBounds { limits, pace: &|_| Ok(()) })
}

fn list(root: &Path) -> Result<FileListing, ListError> {
    list_within(root, ReadLimits::default())
}

fn paths(root: &Path) -> Vec<String> {
    list(root).unwrap().files.into_keys().collect()
}

fn refused(root: &Path) -> String {
    match list(root) {
        Err(ListError::Invalid(diagnostic)) => diagnostic.message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn editors_leftovers_git_and_packages_do_not_count() {
    let dir = tempfile::tempdir().unwrap();
    for path in [
        "main.ts",
        "lib/a.ts",
        ".git/HEAD",
        "node_modules/x/i.js",
        "lib/node_modules/y.js",
        "a~",
        ".DS_Store",
    ] {
        std::fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
        std::fs::write(dir.path().join(path), path).unwrap();
    }
    assert_eq!(paths(dir.path()), ["lib/a.ts", "main.ts"]);
    assert_eq!(list(dir.path()).unwrap().node_modules, ["lib/node_modules", "node_modules"]);
}

#[test]
fn links_count_as_their_targets_while_they_stay_inside() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("lib")).unwrap();
    std::fs::write(dir.path().join("lib/a.ts"), "1").unwrap();
    symlink("lib", dir.path().join("also")).unwrap();
    symlink("lib/a.ts", dir.path().join("b.ts")).unwrap();
    assert_eq!(paths(dir.path()), ["also/a.ts", "b.ts", "lib/a.ts"]);
}

#[test]
fn a_link_that_leaves_loops_or_dangles_makes_the_project_invalid() {
    for (target, why) in [("/etc/passwd", "leaves"), (".", "is in"), ("gone", "nothing"), ("link", "itself")]
    {
        let dir = tempfile::tempdir().unwrap();
        symlink(target, dir.path().join("link")).unwrap();
        assert!(refused(dir.path()).contains(why), "{target}");
    }
}

#[test]
fn folders_that_are_too_deep_or_too_many_by_way_of_links_make_the_project_invalid() {
    for (links, why) in [(1, "more than 128 deep"), (2, "more than 20000 folders")] {
        let dir = tempfile::tempdir().unwrap();
        // With one link each they are a chain, with two there are 2^20 ways through them.
        let levels = if links == 1 { 5000 } else { 20 };
        for level in 0..levels {
            std::fs::create_dir(dir.path().join(format!("d{level}"))).unwrap();
        }
        for level in 1..levels {
            for link in 0..links {
                let link = dir.path().join(format!("d{}/{link}", level - 1));
                symlink(format!("../d{level}"), link).unwrap();
            }
        }
        assert!(refused(dir.path()).contains(why), "{why}");
    }
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join(["d"; 128].join("/"));
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(deep.join("a.ts"), "").unwrap();
    assert_eq!(paths(dir.path()).len(), 1);
    std::fs::create_dir(deep.join("d")).unwrap();
    assert!(refused(dir.path()).contains("more than 128 deep"));
}

#[test]
fn more_folders_of_packages_than_a_process_is_given_make_the_project_invalid() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..MAX_NODE_MODULES {
        std::fs::create_dir_all(dir.path().join(format!("{n}/node_modules/x"))).unwrap();
    }
    assert_eq!(list(dir.path()).unwrap().node_modules.len(), MAX_NODE_MODULES);
    std::fs::create_dir(dir.path().join("node_modules")).unwrap();
    let error = refused(dir.path());
    assert!(error.starts_with("the project has more than 1000 node_modules folders, such as "), "{error}");
}

#[test]
fn a_control_character_in_a_name_makes_the_project_invalid() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a\nb"), "").unwrap();
    assert!(refused(dir.path()).contains("control character"));
}

#[test]
fn includes_are_listed_by_their_paths_from_the_project() {
    let dir = tempfile::tempdir().unwrap();
    let config = r#"{"switchyard": {"include": ["../_shared", "../deno.json"]}}"#;
    for (path, text) in [
        ("a/deno.json", config),
        ("a/main.ts", ""),
        ("_shared/mod.ts", ""),
        ("_shared/node_modules/x/i.js", ""),
        ("_other/mod.ts", ""),
        ("node_modules/x/i.js", ""),
        ("deno.json", "{}"),
    ] {
        std::fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
        std::fs::write(dir.path().join(path), text).unwrap();
    }
    symlink("../a/main.ts", dir.path().join("_shared/link.ts")).unwrap();
    let project = dir.path().join("a");
    let included = ["../_shared/link.ts", "../_shared/mod.ts", "../deno.json"];
    assert_eq!(paths(&project), [&included[..], &["deno.json", "main.ts"]].concat());
    assert_eq!(list(&project).unwrap().node_modules, ["../_shared/node_modules", "../node_modules"]);
    symlink("../_other/mod.ts", dir.path().join("_shared/out.ts")).unwrap();
    assert!(refused(&project).starts_with("the symbolic link ../_shared/out.ts leaves the included folder"));
    let bounds = ReadBounds { limits: ReadLimits::default(), pace: &|_| Ok(()) };
    let closed = super::list(
        &project,
        IncludeSource::Configuration(&|_, include| Err(format!("is {}", include.as_str()).into())),
        bounds,
    );
    let Err(ListError::Invalid(error)) = closed else { panic!("{closed:?}") };
    assert!(error.message.ends_with("names \"../_shared\", which is ../_shared"), "{}", error.message);
}

#[test]
fn a_missing_folder_is_gone() {
    assert!(matches!(list(Path::new("/nonexistent/project")), Err(ListError::Gone)));
}

#[test]
fn a_limit_that_is_passed_is_named_with_its_value_and_the_settings_that_raise_it() {
    let dir = tempfile::tempdir().unwrap();
    let limits = ReadLimits { files: 10, folders: 10, bytes: 1000, file_bytes: 600, ..ReadLimits::NONE };
    let within = || list_within(dir.path(), limits);
    let refused = |parts: [&str; 3]| match within() {
        Err(ListError::Invalid(diagnostic)) => {
            for part in parts {
                assert!(diagnostic.message.contains(part), "{part}: {}", diagnostic.message);
            }
        }
        other => panic!("{other:?}"),
    };
    let sparse = |name: &str, size| {
        let file = std::fs::File::create(dir.path().join(name)).unwrap();
        file.set_len(size).unwrap();
    };
    sparse("a", 600);
    sparse("b", 400);
    assert!(within().is_ok());
    sparse("b", 401);
    refused(["more than 1000 bytes", "--max-project-size", "limits.project_size"]);
    sparse("b", 1 << 40);
    refused(["b has 1099511627776 bytes", "600", "limits.file_size"]);
    sparse("b", 0);
    for name in 0..8 {
        sparse(&name.to_string(), 0);
    }
    assert!(within().is_ok());
    // Counted against the limit, although it is not part of the version.
    sparse("leftover~", 0);
    refused(["more than 10 files", "--max-project-files", "limits.project_files"]);
    std::fs::remove_file(dir.path().join("leftover~")).unwrap();
    for name in 0..11 {
        std::fs::create_dir_all(dir.path().join(format!("d{name}"))).unwrap();
    }
    refused(["more than 10 folders", "--max-project-folders", "limits.project_folders"]);
}

#[test]
fn hard_links_and_long_paths_count_each_time() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a"), [0; 100]).unwrap();
    for name in 0..10 {
        std::fs::hard_link(dir.path().join("a"), dir.path().join(name.to_string())).unwrap();
    }
    let limits = ReadLimits { bytes: 1000, ..ReadLimits::NONE };
    assert!(matches!(list_within(dir.path(), limits), Err(ListError::Invalid(_))));
    let deep = dir.path().join(vec!["n".repeat(250); 12].join("/"));
    std::fs::create_dir_all(&deep).unwrap();
    assert!(refused(dir.path()).contains("more than 2048 bytes"));
}

#[test]
fn a_walk_ends_when_it_is_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a"), "").unwrap();
    let bounds = ReadBounds { limits: ReadLimits::default(), pace: &|_| Err(Interruption) };
    let listed = super::list(dir.path(), IncludeSource::Configuration(&|_, _| Ok(())), bounds);
    assert!(matches!(listed, Err(ListError::Interrupted)));
}
