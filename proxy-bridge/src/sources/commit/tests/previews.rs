//! Commits that are read as previews of a branch.

use super::*;

const SHARING: &str = "projects = [{ path = \"apps/*\" }]\nshared = [\"_shared\"]\n\
                       previews = { branches = [\"feature/*\"] }";

#[tokio::test]
async fn a_preview_has_the_projects_of_its_commit_under_other_names() {
    let mut scene = Scene::new(SHARING).await;
    let include = r#"{ "switchyard": { "include": ["../_shared"] } }"#;
    let commit = scene.commit(&[
        ("apps/api/main.ts", "1"),
        ("apps/api/deno.json", include),
        ("apps/web/main.ts", "2"),
        ("_shared/a.ts", "3"),
    ]);
    let own = scene.read(&commit).await;
    assert!(own.borrowed().is_empty());
    scene.settings = scene.settings.preview("feature/x").unwrap();
    let read = scene.read(&commit).await;
    let names: Vec<_> = read.projects().keys().map(ProjectName::as_str).collect();
    assert_eq!(names, ["api--feature-x", "web--feature-x"]);
    assert_eq!(read.projects()[&name("api--feature-x")], own.projects()[&name("api")]);
    // The shared folder is the source's.
    assert!(read.shared().is_empty());
    let borrowed: Vec<_> = read.borrowed().iter().map(|(entry, one)| (entry.as_str(), one)).collect();
    let [("_shared", one)] = borrowed[..] else { panic!("{borrowed:?}") };
    assert_eq!((&one.id, one.by.as_str()), (&own.shared()["_shared"].id, "api--feature-x"));
    let tree = scene.receive(&read, "web--feature-x").await.unwrap();
    assert_eq!(tree.project, name("web--feature-x"));
    assert!(files(&tree.dir).contains_key("main.ts"));
}
