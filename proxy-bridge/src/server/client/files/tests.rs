use std::os::unix::fs::symlink;
use std::process::Command;

use tempfile::TempDir;

use super::*;

/// A folder with these files; each holds its own path.
fn folder(paths: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for path in paths {
        write(&dir, path, path);
    }
    dir
}

fn write(dir: &TempDir, path: &str, text: &str) {
    let path = dir.path().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn listed(dir: &TempDir) -> Result<Files, FilesError> {
    let root = dir.path().canonicalize().unwrap();
    list(&root, &root, &[])
}

fn paths(dir: &TempDir) -> Vec<String> {
    listed(dir).unwrap().files.into_keys().collect()
}

fn refused(dir: &TempDir) -> String {
    listed(dir).unwrap_err().to_string()
}

#[test]
fn hidden_files_and_packages_are_sent_history_and_leftovers_are_not() {
    let dir = folder(&[
        "main.ts",
        ".env",
        ".gitignore",
        ".git/HEAD",
        "lib/.git",
        "main.ts~",
        ".DS_Store",
        "node_modules/x/index.js",
        "node_modules/x/old~",
        "node_modules/x/.git/HEAD",
    ]);
    write(&dir, ".gitignore", "main.ts\n");
    assert_eq!(
        paths(&dir),
        [".env", ".gitignore", "main.ts", "node_modules/x/index.js", "node_modules/x/old~"]
    );
}

#[test]
fn the_digest_is_what_coreutils_say_of_the_files_that_count() {
    let dir = folder(&["main.ts", "lib/a.ts", "lib-b.ts", "node_modules/x.js"]);
    let script = "find -L . -path ./node_modules -prune -o -type f -printf '%P\\n' | LC_ALL=C sort \
                  | tr '\\n' '\\0' | xargs -r0 sha256sum | sha256sum";
    let output = Command::new("sh").args(["-c", script]).current_dir(dir.path()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.split_whitespace().next().unwrap(), listed(&dir).unwrap().digest.to_string());
}

#[test]
fn what_an_ignore_file_names_is_left_out() {
    let dir = folder(&["main.ts", "a.log", "logs/b.log", "data/big.bin", "lib/data/x", "node_modules/x.js"]);
    write(&dir, IGNORE_FILE, "# data\n*.log\n/data/\nnode_modules\n");
    assert_eq!(paths(&dir), [IGNORE_FILE, "lib/data/x", "main.ts"]);
}

#[test]
fn an_ignore_file_further_in_has_the_last_word() {
    let dir = folder(&["a.log", "lib/a.log", "lib/keep.log", "lib/deep/keep.log", "lib/deep/b.ts"]);
    write(&dir, IGNORE_FILE, "*.log\n");
    write(&dir, "lib/.switchyardignore", "!keep.log\n/deep/b.ts\n");
    assert_eq!(paths(&dir), [IGNORE_FILE, "lib/.switchyardignore", "lib/deep/keep.log", "lib/keep.log"]);
}

#[test]
fn an_ignore_file_speaks_only_for_its_own_folder() {
    let dir = folder(&["a/x.ts", "b/x.ts"]);
    write(&dir, "a/.switchyardignore", "x.ts\n.switchyardignore\n");
    assert_eq!(paths(&dir), ["b/x.ts"]);
}

#[test]
fn a_line_of_an_ignore_file_that_is_no_pattern_is_named() {
    let dir = folder(&["main.ts"]);
    write(&dir, IGNORE_FILE, "ok\n{a\n");
    let error = refused(&dir);
    assert!(error.contains(IGNORE_FILE) && error.contains("line 2"), "{error}");
}

#[test]
fn links_are_followed_while_they_stay_inside() {
    let dir = folder(&["lib/a.ts"]);
    symlink("lib", dir.path().join("also")).unwrap();
    symlink("lib/a.ts", dir.path().join("b.ts")).unwrap();
    assert_eq!(paths(&dir), ["also/a.ts", "b.ts", "lib/a.ts"]);
}

#[test]
fn a_link_that_leaves_loops_or_dangles_is_an_error_that_names_it() {
    for (target, why) in [("/etc/passwd", "leaves"), (".", "is in"), ("gone", "nothing")] {
        let dir = folder(&["main.ts"]);
        symlink(target, dir.path().join("odd-link")).unwrap();
        let error = refused(&dir);
        assert!(error.contains("odd-link") && error.contains(why), "{error}");
    }
}

#[test]
fn an_ignored_link_may_point_anywhere() {
    let dir = folder(&["main.ts"]);
    write(&dir, IGNORE_FILE, "out\ngone\n");
    symlink("/etc", dir.path().join("out")).unwrap();
    symlink("nowhere", dir.path().join("gone")).unwrap();
    assert_eq!(paths(&dir), [IGNORE_FILE, "main.ts"]);
}

#[test]
fn what_package_managers_link_for_shells_is_left_out() {
    let dir = folder(&["main.ts", "node_modules/x/cli.js", "node_modules/.bin/script"]);
    symlink("../x/cli.js", dir.path().join("node_modules/.bin/x")).unwrap();
    symlink("/nowhere", dir.path().join("node_modules/.bin/y")).unwrap();
    assert_eq!(paths(&dir), ["main.ts", "node_modules/.bin/script", "node_modules/x/cli.js"]);
}

#[test]
fn a_control_character_in_a_name_is_refused_in_packages_too() {
    for path in ["a\nb.ts", "node_modules/a\tb.js"] {
        let dir = folder(&["main.ts", path]);
        assert!(refused(&dir).contains("control character"), "{path:?}");
    }
}

#[test]
fn a_folder_without_files_is_refused() {
    let dir = folder(&[".git/HEAD"]);
    assert!(refused(&dir).contains("no files"));
}
