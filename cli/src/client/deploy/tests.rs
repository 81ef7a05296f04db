use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

fn folder(paths: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for path in paths {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    dir
}

fn planned(dir: &Path, what: DeployScope) -> Result<Plan, Failure> {
    projects(&canonical(dir)?, what, Packages::Send)
}

fn names(dir: &TempDir, what: DeployScope) -> Result<Vec<String>, (u8, String)> {
    match planned(dir.path(), what) {
        Ok(plan) => Ok(plan.projects.into_iter().map(|(name, _)| name.to_string()).collect()),
        Err(failure) => Err((failure.exit, failure.text.unwrap())),
    }
}

#[test]
fn a_project_is_called_as_its_folder() {
    let dir = folder(&["blog/main.ts", "blog/lib/a.ts"]);
    let inside = planned(&dir.path().join("blog/lib/.."), DeployScope::Project(None)).unwrap();
    assert_eq!(inside.projects[0].0.as_str(), "blog");
}

#[test]
fn a_folder_with_an_invalid_project_name_needs_another_name() {
    let dir = folder(&["My Blog/main.ts"]);
    let failure = planned(&dir.path().join("My Blog"), DeployScope::Project(None)).unwrap_err();
    assert_eq!(failure.exit, USAGE);
    assert!(failure.text.unwrap().contains("--project"));
}

#[test]
fn a_missing_folder_is_an_invalid_argument() {
    let failure = planned(Path::new("/nonexistent/blog"), DeployScope::All).unwrap_err();
    assert_eq!(failure.exit, USAGE);
}

#[test]
fn all_are_the_folders_that_a_router_would_serve() {
    let paths =
        ["shop/main.ts", "blog/main.ts", ".git/HEAD", "_drafts/a.ts", "node_modules/x.js", "README.md"];
    assert_eq!(names(&folder(&paths), DeployScope::All).unwrap(), ["blog", "shop"]);
}

#[test]
fn the_ignore_file_around_projects_speaks_for_all_of_them() {
    let dir = folder(&["shop/main.ts", "shop/a.log", "blog/main.ts", "old_stuff/x"]);
    fs::write(dir.path().join(IGNORE_FILE), "*.log\nold_stuff\n").unwrap();
    let plan = planned(dir.path(), DeployScope::All).unwrap();
    let files: Vec<_> = plan.projects.iter().flat_map(|(_, files)| files.files.keys()).collect();
    assert_eq!(files, ["main.ts", "main.ts"]);
}

#[test]
fn a_folder_that_cannot_be_a_project_is_named_with_the_fix() {
    let (exit, text) = names(&folder(&["Bl og/main.ts"]), DeployScope::All).unwrap_err();
    assert_eq!(exit, REFUSED);
    assert!(text.contains("Bl og") && text.contains(IGNORE_FILE), "{text}");
}

#[test]
fn projects_may_link_to_shared_files_but_no_further() {
    let dir = folder(&["blog/main.ts", "_shared/a.ts"]);
    symlink("../_shared/a.ts", dir.path().join("blog/a.ts")).unwrap();
    assert_eq!(planned(dir.path(), DeployScope::All).unwrap().projects[0].1.files.len(), 2);
    symlink("/etc", dir.path().join("etc")).unwrap();
    assert!(names(&dir, DeployScope::All).unwrap_err().1.contains("leaves"));
}

#[test]
fn a_folder_without_projects_is_refused() {
    assert!(names(&folder(&["README.md"]), DeployScope::All).unwrap_err().1.contains("no project"));
}
