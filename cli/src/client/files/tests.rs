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
    list(&root, &root, &Rules::around(&root)?, Packages::Send)
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
        ".hidden",
        ".git/HEAD",
        "lib/.git",
        "main.ts~",
        ".DS_Store",
        "node_modules/x/index.js",
        "node_modules/x/old~",
        "node_modules/x/.git/HEAD",
    ]);
    assert_eq!(paths(&dir), [".hidden", "main.ts", "node_modules/x/index.js", "node_modules/x/old~"]);
}

/// Returns the files that are left out of the project in `dir`, except for those that are never
/// sent.
fn left_out(dir: &TempDir) -> Vec<(String, Reason)> {
    let left_out = listed(dir).unwrap().left_out.into_iter();
    left_out.filter(|(_, reason)| *reason != Reason::Never).collect()
}

fn left(paths: &[&str], reason: Reason) -> Vec<(String, Reason)> {
    paths.iter().map(|path| ((*path).to_owned(), reason)).collect()
}

#[test]
fn files_that_git_ignores_are_left_out_with_or_without_a_repository() {
    for git in [&[][..], &[".git/HEAD"]] {
        let files =
            ["main.ts", "a.log", "keep.log", "out/b.ts", "lib/out", "lib/c.tmp", "lib/d/keep.tmp", "{x"];
        let dir = folder(&[&files[..], git].concat());
        write(&dir, ".gitignore", "\u{feff}*.log\r\n!keep.log\n/out/\n{x\n[z-a]\n");
        write(&dir, "lib/.gitignore", "*.tmp\n!/d/keep.tmp\n");
        assert_eq!(
            paths(&dir),
            [".gitignore", "keep.log", "lib/.gitignore", "lib/d/keep.tmp", "lib/out", "main.ts"]
        );
        assert_eq!(left_out(&dir), left(&["a.log", "lib/c.tmp", "out/", "{x"], Reason::Gitignore));
    }
}

#[test]
fn ignored_files_are_those_that_git_reports() {
    let dir = folder(&[
        "main.ts",
        "a/b/c.txt",
        "a/b/d.txt",
        "b/c.txt",
        "x.o",
        "deep/x.o",
        "tmp/y",
        "tmp/z/y",
        "#a",
        "b c",
        "ünï",
    ]);
    let rules = "a/**/c.txt\n*.o\n!/deep/*.o\n/tmp/*\n!/tmp/z/\n\\#a\nb\\ c\nünï\n# no\n";
    write(&dir, ".gitignore", rules);
    // The same result as `git ls-files --others --exclude-standard` of git 2.39.
    let expected = [".gitignore", "a/b/d.txt", "b/c.txt", "deep/x.o", "main.ts", "tmp/z/y"];
    assert_eq!(paths(&dir), expected);
}

#[test]
fn a_pattern_of_folders_leaves_links_to_them_alone_as_git_does() {
    let dir = folder(&["main.ts", "lib/a.ts"]);
    symlink("lib", dir.path().join("out")).unwrap();
    write(&dir, ".gitignore", "out/\n");
    assert_eq!(paths(&dir), [".gitignore", "lib/a.ts", "main.ts", "out/a.ts"]);
}

#[test]
fn the_rules_of_the_repository_around_count() {
    let dir = folder(&["blog/main.ts", "blog/a.log", "blog/b.tmp", "blog/c.bak", "blog/lib/d.log"]);
    write(&dir, ".gitignore", "*.tmp\n/blog/lib/*.log\n");
    write(&dir, ".git/info/exclude", "*.bak\n");
    let root = dir.path().canonicalize().unwrap().join("blog");
    let files = || list(&root, &root, &Rules::around(&root).unwrap(), Packages::Send).unwrap();
    assert_eq!(
        files().left_out,
        left(&["b.tmp", "c.bak", "lib/d.log"], Reason::Gitignore).into_iter().collect()
    );
    // Git ignores the deployed folder itself; naming it explicitly overrides that.
    for rule in ["blog/", "/blog/*", "blog/**"] {
        write(&dir, ".gitignore", &format!("*.tmp\n{rule}\n"));
        assert_eq!(files().left_out, BTreeMap::new(), "{rule}");
    }
}

#[test]
fn a_work_tree_beside_its_repository_has_its_exclude_file() {
    let dir = folder(&["tree/main.ts", "tree/a.bak", "repo/.git/worktrees/tree/HEAD"]);
    write(&dir, "tree/.git", "gitdir: ../repo/.git/worktrees/tree\n");
    write(&dir, "repo/.git/worktrees/tree/commondir", "../..\n");
    write(&dir, "repo/.git/info/exclude", "*.bak\n");
    let root = dir.path().canonicalize().unwrap().join("tree");
    let files = list(&root, &root, &Rules::around(&root).unwrap(), Packages::Send).unwrap();
    assert_eq!(files.files.keys().collect::<Vec<_>>(), ["main.ts"]);
}

#[test]
fn the_folder_that_holds_the_entry_is_sent_whole() {
    let table = [
        (r#"{"main": "dist/server/index.js"}"#, "dist/", "dist/server/index.js", "dist/client/a.css"),
        (r#"{"main": "dist/server/index.js"}"#, "dist/*", "dist/server/index.js", "dist/client/a.css"),
        (r#"{"main": "dist/server/index.js"}"#, "*.js\n*.css", "dist/server/index.js", "dist/client/a.css"),
        (
            r#"{"main": ".output/server/index.mjs"}"#,
            ".output",
            ".output/server/index.mjs",
            ".output/public/x",
        ),
        (
            r#"{"exports": "./.next/standalone/server.js"}"#,
            "/.next/",
            ".next/standalone/server.js",
            ".next/static/x",
        ),
        (r#"{"main": "lib/index.js"}"#, "lib", "lib/index.js", "lib/other.js"),
        (
            r#"{"main": "packages/api/dist/index.js"}"#,
            "dist",
            "packages/api/dist/index.js",
            "packages/api/dist/x.js",
        ),
    ];
    for (package, rule, entry, other) in table {
        let top = entry.split('/').next().unwrap();
        let dir = folder(&["src/index.ts", "coverage/x", entry, other]);
        write(&dir, "package.json", package);
        write(&dir, ".gitignore", &format!("{rule}\ncoverage\n"));
        // Tools write such a file into their output folders.
        write(&dir, &format!("{top}/.gitignore"), "*\n");
        let env = format!("{top}/.env");
        write(&dir, &env, "SECRET=1");
        let sent = paths(&dir);
        assert!(sent.iter().any(|path| path == entry), "{package} {rule}: {sent:?}");
        if !package.contains("packages/") {
            assert!(sent.iter().any(|path| path == other), "{package} {rule}: {sent:?}");
        }
        let left_out = left_out(&dir);
        assert!(left_out.contains(&("coverage/".to_owned(), Reason::Gitignore)), "{left_out:?}");
        assert!(left_out.contains(&(env, Reason::Env)), "{left_out:?}");
    }
}

#[test]
fn the_folder_that_the_entry_serves_is_sent_too() {
    let serve =
        r#"{"scripts": {"start": "react-router-serve ./build/server/index.js"}, "dependencies": {"x": "1"}}"#;
    for (package, program) in [
        // A program of a package, which the routers install, serves the folder in its argument.
        (serve, "x"),
        // A program of the project reads the file without the help of Switchyard.
        (r#"{"scripts": {"start": "node server.js"}}"#, "import './build/server/index.js';"),
        (r#"{"scripts": {"start": "node server.js"}}"#, "join(import.meta.dirname, 'build', 'client')"),
    ] {
        let dir = folder(&["build/server/index.js", "build/client/a.css", "dist/x.js"]);
        write(&dir, "package.json", package);
        write(&dir, "server.js", program);
        write(&dir, ".gitignore", "build\ndist\n");
        assert_eq!(left_out(&dir), left(&["dist/"], Reason::Gitignore), "{program}");
    }
}

#[test]
fn an_output_folder_that_does_not_hold_the_entry_is_left_out() {
    let dir = folder(&["main.ts", "dist/index.js", "build/x"]);
    write(&dir, ".gitignore", "dist\nbuild/\n");
    assert_eq!(paths(&dir), [".gitignore", "main.ts"]);
}

#[test]
fn packages_are_sent_whole_whatever_git_ignores() {
    let dir = folder(&["main.ts", "node_modules/x/dist/i.js", "node_modules/x/a.log", "node_modules/x/.env"]);
    write(&dir, ".gitignore", "node_modules\ndist\n*.log\n");
    write(&dir, "node_modules/x/.gitignore", "*\n");
    let expected = [
        ".gitignore",
        "main.ts",
        "node_modules/x/.gitignore",
        "node_modules/x/a.log",
        "node_modules/x/dist/i.js",
    ];
    assert_eq!(paths(&dir), expected);
    assert_eq!(left_out(&dir), left(&["node_modules/x/.env"], Reason::Env));
}

#[test]
fn packages_that_a_configuration_names_can_be_left_to_the_routers() {
    let dir = folder(&["main.ts", "node_modules/x.js", "lib/node_modules/y.js", "bare/node_modules/z.js"]);
    write(&dir, "package.json", "{}");
    write(&dir, "lib/package.json", "{}");
    let root = dir.path().canonicalize().unwrap();
    assert!(has_packages(&root) && !has_packages(&root.join("bare")));
    let files = list(&root, &root, &Rules::default(), Packages::Install).unwrap();
    let sent: Vec<_> = files.files.keys().collect();
    assert_eq!(sent, ["bare/node_modules/z.js", "lib/package.json", "main.ts", "package.json"]);
    assert_eq!(
        files.left_out,
        left(&["lib/node_modules/", "node_modules/"], Reason::Packages).into_iter().collect()
    );
    assert!(files.leaves_packages());
}

#[test]
fn files_with_an_environment_are_left_out_unless_the_own_ignore_file_lets_them_in() {
    let files = ["main.ts", ".env", ".env.local", ".ENV.prod", ".envrc", ".env.example", "lib/.env", "x.env"];
    let dir = folder(&files);
    let all = [".ENV.prod", ".env", ".env.example", ".env.local", ".envrc", "lib/.env"];
    assert_eq!(left_out(&dir), left(&all, Reason::Env));
    // A file that git tracks is not necessarily meant for deployment.
    write(&dir, ".gitignore", "!.env\n!.env.example\n");
    assert_eq!(left_out(&dir), left(&all, Reason::Env));
    write(&dir, IGNORE_FILE, "*\n!*\n!.env.example\n");
    let but_one: Vec<_> = all.into_iter().filter(|path| *path != ".env.example").collect();
    assert_eq!(left_out(&dir), left(&but_one, Reason::Env));
}

#[test]
fn a_link_does_not_send_an_env_file_under_another_name() {
    let dir = folder(&["main.ts", ".env", "lib/a.ts"]);
    symlink(".env", dir.path().join("settings")).unwrap();
    symlink("../.env", dir.path().join("lib/settings")).unwrap();
    assert_eq!(left_out(&dir), left(&[".env", "lib/settings", "settings"], Reason::Env));
}

#[test]
fn a_switchyardignore_replaces_gits_rules_from_its_folder_down() {
    let dir = folder(&["main.ts", "a.log", "b.tmp", "lib/a.log", "lib/b.tmp", "lib/deep/a.log"]);
    write(&dir, ".gitignore", "*.log\n");
    write(&dir, "lib/.switchyardignore", "*.tmp\n");
    write(&dir, "lib/deep/.gitignore", "*\n");
    assert_eq!(
        left_out(&dir),
        [("a.log".to_owned(), Reason::Gitignore), ("lib/b.tmp".to_owned(), Reason::Switchyardignore)]
    );
    write(&dir, IGNORE_FILE, "");
    assert_eq!(left_out(&dir), left(&["lib/b.tmp"], Reason::Switchyardignore));
}

#[test]
fn an_entry_that_would_be_left_out_is_an_error_that_names_it() {
    let dir = folder(&["dist/main.js", "x.ts"]);
    write(&dir, "package.json", r#"{"main": "dist/main.js"}"#);
    write(&dir, IGNORE_FILE, "dist\n");
    let error = refused(&dir);
    assert!(error.contains("dist/main.js") && error.contains(IGNORE_FILE), "{error}");
}

#[test]
fn a_folder_of_which_everything_is_left_out_names_the_rule() {
    let dir = folder(&["a.txt"]);
    write(&dir, ".gitignore", "*\n");
    let error = refused(&dir);
    assert!(error.contains(".gitignore") && error.contains(IGNORE_FILE), "{error}");
}

#[test]
fn the_digest_is_what_coreutils_compute_of_the_files_that_count() {
    let dir = folder(&["main.ts", "lib/a.ts", "lib-b.ts", "node_modules/x.js"]);
    let script = "find -L . -path ./node_modules -prune -o -type f -printf '%P\\n' | LC_ALL=C sort \
                  | tr '\\n' '\\0' | xargs -r0 sha256sum | sha256sum";
    let output = Command::new("sh").args(["-c", script]).current_dir(dir.path()).output().unwrap();
    let output_text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output_text.split_whitespace().next().unwrap(), listed(&dir).unwrap().digest.to_string());
}

#[test]
fn files_that_an_ignore_file_names_are_left_out() {
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
fn an_invalid_pattern_in_an_ignore_file_is_reported() {
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
fn links_of_package_managers_for_shells_are_left_out() {
    let dir = folder(&["main.ts", "node_modules/x/cli.js", "node_modules/.bin/script"]);
    symlink("../x/cli.js", dir.path().join("node_modules/.bin/x")).unwrap();
    symlink("/nowhere", dir.path().join("node_modules/.bin/y")).unwrap();
    assert_eq!(paths(&dir), ["main.ts", "node_modules/.bin/script", "node_modules/x/cli.js"]);
}

#[test]
fn links_among_packages_stay_links_if_their_targets_are_sent() {
    let dir = folder(&[
        "main.ts",
        "packages/say/i.js",
        "tmp/lost/j.js",
        "node_modules/.pnpm/dep@1/node_modules/dep/d.js",
        "node_modules/.pnpm/sub@1/node_modules/sub/s.js",
    ]);
    write(&dir, ".gitignore", "tmp\nnode_modules\n");
    for (target, link) in [
        (".pnpm/dep@1/node_modules/dep", "node_modules/dep"),
        ("../../sub@1/node_modules/sub", "node_modules/.pnpm/dep@1/node_modules/sub"),
        ("../packages/say", "node_modules/say"),
        ("../tmp/lost", "node_modules/lost"),
        ("../say", "packages/a/node_modules"),
    ] {
        fs::create_dir_all(dir.path().join(link).parent().unwrap()).unwrap();
        symlink(target, dir.path().join(link)).unwrap();
    }
    let sent = listed(&dir).unwrap();
    let links: Vec<_> = sent.links.iter().map(|(link, target)| (link.as_str(), target.as_str())).collect();
    let expected = [
        (
            "node_modules/.pnpm/dep@1/node_modules/sub",
            "../../../../node_modules/.pnpm/sub@1/node_modules/sub",
        ),
        ("node_modules/dep", "../node_modules/.pnpm/dep@1/node_modules/dep"),
        ("node_modules/say", "../packages/say"),
    ];
    assert_eq!(links, expected);
    let files: Vec<_> = sent.files.keys().collect();
    let expected = [
        ".gitignore",
        "main.ts",
        "node_modules/.pnpm/dep@1/node_modules/dep/d.js",
        "node_modules/.pnpm/sub@1/node_modules/sub/s.js",
        "node_modules/lost/j.js",
        "packages/a/node_modules/i.js",
        "packages/say/i.js",
    ];
    assert_eq!(files, expected);
}

#[test]
fn a_folder_that_is_not_sent_and_links_to_itself_among_its_packages_is_refused() {
    let dir = folder(&["main.ts", "tmp/a/b.log"]);
    write(&dir, ".gitignore", "tmp\n");
    fs::create_dir_all(dir.path().join("tmp/a/node_modules")).unwrap();
    fs::create_dir(dir.path().join("node_modules")).unwrap();
    symlink("..", dir.path().join("tmp/a/node_modules/self")).unwrap();
    symlink("../tmp/a", dir.path().join("node_modules/a")).unwrap();
    write(&dir, "tmp/a/.switchyardignore", "*.log\n");
    assert!(refused(&dir).contains("points to a folder that it is in"));
}

#[test]
fn the_packages_of_an_output_are_sent_also_where_the_routers_install() {
    let dir = folder(&["dist/server/i.js", "dist/server/node_modules/x.js", "node_modules/y.js"]);
    write(&dir, "package.json", r#"{"main": "dist/server/i.js"}"#);
    write(&dir, "dist/server/package.json", "{}");
    write(&dir, ".gitignore", "dist\nnode_modules\n");
    let sent = |root: &Path| {
        let root = root.canonicalize().unwrap();
        let files = list(&root, &root, &Rules::default(), Packages::Install).unwrap();
        files.files.into_keys().filter(|path| path.contains(PACKAGES)).collect::<Vec<_>>()
    };
    assert_eq!(sent(dir.path()), ["dist/server/node_modules/x.js"]);
    assert_eq!(sent(&dir.path().join("dist")), ["server/node_modules/x.js"], "nothing there names packages");
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

#[test]
fn the_built_folder_of_a_static_site_is_sent_although_git_ignores_it() {
    let dir = folder(&["src/main.css", "dist/index.html", "dist/assets/app.js", "out/index.html", "node/x"]);
    write(&dir, "package.json", r#"{"scripts": {"build": "vite build"}}"#);
    write(&dir, "index.html", "<script type=module src=/src/main.ts></script>");
    write(&dir, ".gitignore", "dist\nout\nnode\n");
    let sent = paths(&dir);
    for path in ["dist/index.html", "dist/assets/app.js", "index.html"] {
        assert!(sent.iter().any(|sent| sent == path), "{path} in {sent:?}");
    }
    assert!(!sent.iter().any(|path| path.starts_with("out/") || path.starts_with("node/")), "{sent:?}");
    write(&dir, "deno.json", r#"{"switchyard": {"static": {"root": "out"}}}"#);
    let sent = paths(&dir);
    assert!(sent.iter().any(|path| path == "out/index.html"), "{sent:?}");
    assert!(!sent.iter().any(|path| path.starts_with("dist/")), "{sent:?}");
}
