//! The ids of projects, and what they tell of a commit.

use super::super::{compare, explain};
use super::*;

const SHARING: &str = r#"projects = [{ path = "apps/*" }]
shared = ["_shared"]"#;

fn including(entries: &str) -> String {
    format!(r#"{{ /* why */ "switchyard": {{ "include": [{entries}] }} }}"#)
}

fn texts(names: &[ProjectName]) -> Vec<&str> {
    names.iter().map(ProjectName::as_str).collect()
}

/// The projects whose files differ between two commits.
fn changed<'a>(before: &ReadCommit, after: &'a ReadCommit) -> Vec<&'a str> {
    let before = applied(before);
    let of = |name: &ProjectName| before.get(name).map(|live| &live.key);
    let changed = after.projects().iter().filter(|(name, ids)| of(name) != Some(&ids.key));
    changed.map(|(name, _)| name.as_str()).collect()
}

#[tokio::test]
async fn one_of_a_thousand_projects_changes() {
    let scene = Scene::new(APPS).await;
    for number in 0..1000 {
        scene.put(&format!("apps/p{number}/main.ts"), number.to_string());
    }
    let first = scene.read(&scene.commit(&[])).await;
    assert_eq!(compare(&BTreeMap::new(), &first).added.len(), 1000);
    let live = applied(&first);
    let second = scene.read(&scene.commit(&[("apps/p500/main.ts", "new"), ("README.md", "x")])).await;
    let changes = compare(&live, &second);
    assert_eq!(texts(&changes.changed), ["p500"]);
    assert_eq!((changes.unchanged.len(), changes.added.len(), changes.removed.len()), (999, 0, 0));
    assert!(changes.is_whole);
}

#[tokio::test]
async fn a_shared_folder_changes_those_that_include_it() {
    let scene = Scene::new(SHARING).await;
    let shared = including(r#""../_shared""#);
    let part = including(r#""../_shared/ui/", "../elsewhere", "../_shared/none""#);
    let first = scene.commit(&[
        ("apps/a/deno.json", &shared),
        ("apps/b/deno.jsonc", &shared),
        ("apps/c/deno.json", &shared),
        ("apps/d/deno.json", &part),
        ("apps/e/deno.json", "{}"),
        ("apps/f/deno.json", r#"{"switchyard": {"include": "#),
        ("_shared/mod.ts", "1"),
        ("_shared/ui/mod.ts", "1"),
    ]);
    let first = scene.read(&first).await;
    assert_eq!(first.projects()[&name("a")].includes, ["_shared"]);
    assert_eq!(first.projects()[&name("d")].includes, ["_shared/ui"]);
    let second = scene.read(&scene.commit(&[("_shared/mod.ts", "2")])).await;
    assert_eq!(changed(&first, &second), ["a", "b", "c"]);
    assert_ne!(first.shared()["_shared"].id, second.shared()["_shared"].id);
    let third = scene.read(&scene.commit(&[("_shared/ui/mod.ts", "2")])).await;
    assert_eq!(changed(&second, &third), ["a", "b", "c", "d"]);
    let appeared = scene.read(&scene.commit(&[("_shared/none/x", "1")])).await;
    assert_eq!(changed(&third, &appeared), ["a", "b", "c", "d"]);
    scene.git(&["rm", "-rq", "_shared/none"], "");
    let back = scene.read(&scene.commit(&[("_shared/ui/mod.ts", "1"), ("_shared/mod.ts", "1")])).await;
    assert_eq!(applied(&back), applied(&first));
}

#[tokio::test]
async fn a_project_that_another_one_includes_changes_both() {
    let scene = Scene::new(APPS).await;
    let first = scene.commit(&[
        ("apps/a/deno.json", &including(r#""../b/lib""#)),
        ("apps/b/main.ts", "1"),
        ("apps/b/lib/mod.ts", "1"),
        ("apps/c/main.ts", "1"),
    ]);
    let first = scene.read(&first).await;
    let second = scene.read(&scene.commit(&[("apps/b/lib/mod.ts", "2")])).await;
    assert_eq!(changed(&first, &second), ["a", "b"]);
    let third = scene.read(&scene.commit(&[("apps/b/main.ts", "2")])).await;
    assert_eq!(changed(&second, &third), ["b"]);
}

#[tokio::test]
async fn a_shared_file_and_what_functions_share_count_without_being_named() {
    let lines = r#"projects = [{ path = "apps/*" }, { path = "supabase/functions/*" }]
shared = ["deno.json", "supabase/functions/_shared"]"#;
    let scene = Scene::new(lines).await;
    let first = scene.commit(&[
        ("apps/a/main.ts", "1"),
        ("apps/b/deno.json", r#"{"switchyard": {"platform": "supabase"}}"#),
        ("supabase/functions/hello/index.ts", "1"),
        ("supabase/functions/_shared/cors.ts", "1"),
        ("deno.json", "{}"),
    ]);
    let first = scene.read(&first).await;
    let second = scene.read(&scene.commit(&[("deno.json", r#"{"imports": {}}"#)])).await;
    assert_eq!(changed(&first, &second), ["a", "b", "hello"]);
    let third = scene.read(&scene.commit(&[("supabase/functions/_shared/cors.ts", "2")])).await;
    assert_eq!(changed(&second, &third), ["b", "hello"]);
}

#[tokio::test]
async fn projects_that_come_and_go_are_told() {
    let scene = Scene::new(APPS).await;
    let first = scene.read(&scene.commit(&[("apps/a/main.ts", "1"), ("apps/b/main.ts", "1")])).await;
    scene.git(&["rm", "-rq", "apps/a"], "");
    let second = scene.read(&scene.commit(&[("apps/c/main.ts", "1")])).await;
    let changes = compare(&applied(&first), &second);
    let told = [&changes.added, &changes.removed, &changes.unchanged].map(|names| texts(names));
    assert_eq!(told, [["c"], ["a"], ["b"]]);
}

#[tokio::test]
async fn a_folder_that_moved_is_the_same_project() {
    let lines = r#"projects = [{ path = "apps/*" }, { path = "services/*" }]"#;
    let scene = Scene::new(lines).await;
    let first = scene.read(&scene.commit(&[("apps/a/main.ts", "1")])).await;
    fs::create_dir(scene.repository().join("services")).unwrap();
    scene.git(&["mv", "apps/a", "services/a"], "");
    let second = scene.read(&scene.commit(&[])).await;
    assert_eq!(texts(&compare(&applied(&first), &second).unchanged), ["a"]);
    let explained = explain(&applied(&first), &second);
    assert_eq!(explained[0].path.as_deref(), Some("services/a"));
    assert!(explained[0].reason.contains("was apps/a before"), "{}", explained[0].reason);
}

#[tokio::test]
async fn each_reason_names_the_trees() {
    let scene = Scene::new(SHARING).await;
    let first = scene.commit(&[
        ("apps/changed/main.ts", "1"),
        ("apps/gone/main.ts", "1"),
        ("apps/includes/deno.json", &including(r#""../_shared""#)),
        ("apps/same/main.ts", "1"),
        ("_shared/mod.ts", "1"),
    ]);
    let first = scene.read(&first).await;
    scene.git(&["rm", "-rq", "apps/gone"], "");
    let files = [("apps/changed/main.ts", "2"), ("_shared/mod.ts", "2"), ("apps/new/main.ts", "1")];
    let second = scene.read(&scene.commit(&files)).await;
    let live = applied(&first);
    let explained = explain(&live, &second);
    let told = explained.iter().map(|each| (each.project.as_str(), each.change.as_str()));
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            ("changed", "changed"),
            ("gone", "removed"),
            ("includes", "changed"),
            ("new", "added"),
            ("same", "unchanged")
        ]
    );
    let reason = |project: &str| {
        let found = explained.iter().find(|each| each.project.as_str() == project);
        found.map(|each| each.reason.as_str()).unwrap_or_default()
    };
    let before = |project: &str| live[&name(project)].tree.short();
    let now = |project: &str| second.projects()[&name(project)].tree.short();
    let expected = format!("apps/changed has tree {}, and had {}", now("changed"), before("changed"));
    assert_eq!(reason("changed"), expected);
    assert!(reason("gone").contains(before("gone")), "{}", reason("gone"));
    let shared = second.shared()["_shared"].id.short();
    let says = format!("what it includes is not the same; it includes _shared ({shared})");
    assert!(reason("includes").ends_with(&says), "{}", reason("includes"));
    assert!(reason("new").contains(now("new")), "{}", reason("new"));
    assert!(reason("same").contains("as before"), "{}", reason("same"));
}
