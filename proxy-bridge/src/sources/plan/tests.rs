use super::EntryKind::{File, Folder, Submodule};
use super::*;

/// A rule as text: `path`, or `path as name`.
fn rules(texts: &[&str]) -> Vec<ProjectRule> {
    let rule = |text: &&str| {
        let (path, name) = text.split_once(" as ").map_or((*text, None), |(path, name)| (path, Some(name)));
        let path = match path {
            ProjectPath::WHOLE => ProjectPath::Whole,
            path => ProjectPath::Folders(Pattern::parse(path).unwrap()),
        };
        ProjectRule { path, name: name.map(|name| ProjectName::parse(name).unwrap()) }
    };
    texts.iter().map(rule).collect()
}

fn plan_of(
    projects: &[&str],
    shared: &[&str],
    listing: &[(&str, EntryKind)],
) -> Result<Plan, Vec<PlanFault>> {
    let shared: Vec<String> = shared.iter().map(|path| (*path).to_owned()).collect();
    Plan::new(PlanRules { projects: &rules(projects), shared: &shared }, listing.iter().copied())
}

fn plan(projects: &[&str], files: &[&str]) -> Result<Plan, Vec<PlanFault>> {
    let listing: Vec<_> = files.iter().map(|path| (*path, File)).collect();
    plan_of(projects, &[], &listing)
}

/// The projects as text: `name=path`.
fn shown(plan: &Plan) -> Vec<String> {
    plan.projects.iter().map(|project| format!("{}={}", project.name, project.path)).collect()
}

fn said(faults: &[PlanFault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn faults(projects: &[&str], files: &[&str]) -> String {
    said(&plan(projects, files).unwrap_err())
}

#[test]
fn rules_make_folders_with_an_entry_projects() {
    for (rules, files, projects) in [
        (
            &["apps/*"][..],
            &["apps/api/main.ts", "apps/web/index.html"][..],
            &["api=apps/api", "web=apps/web"][..],
        ),
        (&["apps/*"], &["apps/api/deno.json", "apps/notes/README.md", "apps/main.ts"], &["api=apps/api"]),
        (
            &["apps/api as v2", "apps/*"],
            &["apps/api/main.ts", "apps/b/main.ts"],
            &["b=apps/b", "v2=apps/api"],
        ),
        (
            &["apps/*", "apps/api as v2"],
            &["apps/api/main.ts", "apps/b/main.ts"],
            &["b=apps/b", "v2=apps/api"],
        ),
        (&["apps/notes"], &["apps/notes/README.md"], &["notes=apps/notes"]),
        (&[". as all"], &["README.md"], &["all=."]),
        (&[". as all", "apps/*"], &["main.ts", "apps/a/main.ts"], &["a=apps/a", "all=."]),
        (&["apps/**"], &["apps/a/src/main.ts", "apps/team/b/server.js"], &["a=apps/a", "b=apps/team/b"]),
        (&["**"], &["a/main.ts", "a/x/main.ts", "node_modules/b/main.ts", ".c/main.ts"], &["a=a"]),
        (&["apps/a", "apps/**"], &["apps/a/x.ts", "apps/a/in/main.ts"], &["a=apps/a"]),
        (&["apps/a/in", "apps/**"], &["apps/a/main.ts", "apps/a/in/main.ts"], &["a=apps/a", "in=apps/a/in"]),
        (&["*"], &["_shared/mod.ts", "a/mod.ts", ".github/index.ts"], &["a=a"]),
        (&["_sites/*"], &["_sites/a/mod.ts", "_sites/_b/mod.ts"], &["a=_sites/a"]),
        (&["sites/*"], &["sites/a/dist/index.html", "sites/b/docs/x.html"], &["a=sites/a"]),
    ] {
        let plan = plan(rules, files).unwrap_or_else(|faults| panic!("{rules:?}: {}", said(&faults)));
        assert_eq!(shown(&plan), projects, "{rules:?}");
    }
}

#[test]
fn rules_without_a_folder_are_told_and_no_fault() {
    let plan = plan(&["apps/api", "sites/*", "apps/*"], &["apps/b/main.ts"]).unwrap();
    assert_eq!(
        (shown(&plan), plan.unmatched),
        (vec!["b=apps/b".to_owned()], vec!["apps/api".to_owned(), "sites/*".to_owned()])
    );
    let empty = Plan::new(PlanRules { projects: &rules(&["."]), shared: &[] }, []).unwrap();
    assert_eq!(empty, Plan { unmatched: vec![".".to_owned()], ..Plan::default() });
}

#[test]
fn a_submodule_is_a_project_where_its_folder_is_named() {
    let listing = [("vendor/api", Submodule), ("vendor/web", Submodule), ("vendor/web/main.ts", File)];
    assert_eq!(shown(&plan_of(&["vendor/api"], &[], &listing).unwrap()), ["api=vendor/api"]);
    assert_eq!(shown(&plan_of(&["vendor/*"], &[], &listing).unwrap()), ["web=vendor/web"]);
    let folders = [("a", Folder), ("a/main.ts", File)];
    assert_eq!(shown(&plan_of(&["*"], &[], &folders).unwrap()), ["a=a"]);
}

#[test]
fn names_that_collide_are_faults_that_name_both_folders() {
    for (rules, files, says) in [
        (
            &["a/*", "b/*"][..],
            &["a/x/main.ts", "b/x/main.ts"][..],
            &["\"a/x\"", "\"b/x\"", "project \"x\""][..],
        ),
        (&["a/*"], &["a/Api/main.ts", "a/api/main.ts"], &["\"a/Api\"", "\"a/api\"", "host, \"api\""]),
        (&["a/*"], &["a/b_c/main.ts", "a/b-c/main.ts"], &["\"a/b_c\"", "\"a/b-c\"", "host, \"b-c\""]),
        (&["a as x", "b as x"], &["a/x", "b/x"], &["\"a\"", "\"b\"", "project \"x\""]),
        (&["a as x", "a as y"], &["a/x"], &["two rules", "\"a\""]),
        (&["a/*"], &["a/x.y/main.ts"], &["\"a/x.y\"", "invalid project name \"x.y\"", "as = "]),
        (&["a"], &["a"], &["\"a\" is a file"]),
    ] {
        let faults = faults(rules, files);
        assert!(says.iter().all(|text| faults.contains(text)), "{says:?}: {faults}");
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let found = plan(&["a/*"], &["a/x y/main.ts", "a/B/main.ts", "a/b/main.ts", "a/é/main.ts"]).unwrap_err();
    assert_eq!(found.len(), 3, "{}", said(&found));
}

#[test]
fn hostile_paths_are_refused_and_shown_escaped() {
    for path in ["../x/main.ts", "/etc/main.ts", "a//main.ts", "a/./main.ts", "a/..", "", "a\0/main.ts"] {
        let faults = faults(&["**"], &[path]);
        assert!(faults.contains("could lead out"), "{path:?}: {faults}");
    }
    let deep = format!("{}main.ts", "a/".repeat(101));
    assert!(faults(&["**"], &[&deep]).contains("more than 100 folders"));
    for name in ["x\u{1b}[2J", "-rf", "x\ny", "x y", "$(id)", "x\u{202e}", "--upload-pack=id"] {
        let faults = faults(&["a/*"], &[&format!("a/{name}/main.ts")]);
        assert!(faults.contains("invalid project name"), "{faults:?}");
        assert!(!faults.chars().any(|c| c.is_control() || c == '\u{202e}'), "{faults:?}");
    }
    assert_eq!(shown(&plan(&["*"], &["a/main.ts", "a\\b", "b/..x/main.ts"]).unwrap()), ["a=a"]);
}

#[test]
fn shared_entries_lie_beside_the_projects() {
    let listing =
        [("_shared/mod.ts", File), ("libs/_ui/x.ts", File), ("deno.json", File), ("vendor/_v", Submodule)];
    let shared = |paths: &[&str]| plan_of(&["apps/*"], paths, &listing);
    let plan = shared(&["_shared", "deno.json", "libs/_ui", "vendor/_v", "import_map.json"]).unwrap();
    let names: Vec<_> = plan
        .shared
        .iter()
        .map(|shared| (shared.name.as_str(), shared.path.as_str(), shared.is_folder))
        .collect();
    assert_eq!(
        names,
        [
            ("_shared", "_shared", true),
            ("_ui", "libs/_ui", true),
            ("_v", "vendor/_v", true),
            ("deno.json", "deno.json", false),
        ]
    );
    assert_eq!(plan.unmatched, ["apps/*", "import_map.json"]);
    assert!(said(&shared(&["libs"]).unwrap_err()).contains("begins with _"));
    let license = [("LICENSE", File)];
    assert!(said(&plan_of(&[], &["LICENSE"], &license).unwrap_err()).contains("name of a project"));
}

fn preview(project: &str, branch: &str) -> String {
    let project = ProjectName::parse(project).unwrap();
    preview_name(&project, branch).unwrap_or_else(|fault| panic!("{fault}")).to_string()
}

#[test]
fn a_preview_has_the_name_of_project_and_branch() {
    for (project, branch, name) in [
        ("api", "feature/x", "api--feature-x"),
        ("api", "Feature_X", "api--feature-x"),
        ("my_api", "v1.2", "my_api--v1-2"),
        ("api", "--x--y--", "api--x-y"),
        ("api", "é/x", "api--x"),
    ] {
        assert_eq!(preview(project, branch), name, "{branch}");
    }
}

#[test]
fn a_preview_of_a_long_or_foreign_branch_has_a_hash_in_its_name() {
    let long = "b".repeat(80);
    let cut = preview("api", &long);
    assert!(cut.len() == 63 && cut.starts_with("api--bbb"), "{cut}");
    assert_ne!(cut, preview("api", &format!("{long}c")));
    assert_eq!(preview("api", "日本").len(), "api--".len() + 8);
    assert_ne!(preview("api", "日本"), preview("api", "日"));
    let most = "a".repeat(53);
    assert_eq!(preview(&most, "feature/x").len(), 63);
    let fault = preview_name(&ProjectName::parse(&format!("{most}a")).unwrap(), "x").unwrap_err();
    assert!(fault.to_string().contains("53 characters"), "{fault}");
}

#[test]
fn previews_that_collide_are_told_by_branch() {
    let live = plan(&["apps/*"], &["apps/api/main.ts", "apps/web/main.ts"]).unwrap();
    let (a, b) = (live.preview("feature/x").unwrap(), live.preview("feature-x").unwrap());
    assert_eq!(shown(&a), ["api--feature-x=apps/api", "web--feature-x=apps/web"]);
    assert!(collisions(&[("source \"shop\"", &live), ("branch feature/x", &a)]).is_empty());
    let told = collisions(&[("branch feature/x", &a), ("branch feature-x", &b)]);
    assert_eq!(told.len(), 2);
    assert!(
        said(&told)
            .contains("branch feature/x and branch feature-x both have the project \"api--feature-x\"")
    );
}

#[test]
fn sources_that_have_one_shared_name_collide() {
    let listing = [("_shared/mod.ts", File), ("_Shared/mod.ts", File)];
    let one = plan_of(&[], &["_shared"], &listing).unwrap();
    let two = plan_of(&[], &["_Shared"], &listing).unwrap();
    assert_eq!(collisions(&[("source \"a\"", &one), ("source \"b\"", &two)]).len(), 1);
}
