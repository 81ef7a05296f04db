//! Overrides and remade versions, with the real git and a router in the test's hands.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use serde_json::{Value, json};
use tokio::time::timeout;

use super::drift::on_disk;
use super::*;
use crate::deploys::DeploySettings;
use crate::git::GitSettings;
use crate::metrics::Metrics;
use crate::records::RecordStore;
use crate::routers::testing::{FakeRouter, LONG, all_ready, following, until};
use crate::sources::commit::AppliedProject;
use crate::sources::machine::SavedState;
use crate::traces::Traces;
use crate::tree::Tree;
use crate::volume::Volume;
use switchyard_contract::admin::{ReloadOutcome, Report};

/// A source `shop` that is frozen, with the live projects `api` and `web`, and its router.
struct Scene {
    dir: tempfile::TempDir,
    router: FakeRouter,
    routers: Routers,
    sources: Sources,
}

impl Scene {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    async fn with(others: &[&FakeRouter]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["repository", "volume", "state"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let router = FakeRouter::start("r1").await;
        for project in ["api", "web"] {
            router.live(project, 'a');
        }
        let all: Vec<_> = [&router].into_iter().chain(others.iter().copied()).collect();
        let routers = following(&all);
        all_ready(&routers).await;
        let state = dir.path().join("state");
        let project = |path: &str| AppliedProject {
            path: path.to_owned(),
            key: "k".into(),
            tree: "1".repeat(40).parse().unwrap(),
            digest: Some("b".repeat(64).parse().unwrap()),
        };
        let frozen = SavedState { frozen: Some("a test".into()), ..SavedState::default() };
        let applied = Applied {
            saved: frozen,
            projects: ["api", "web"]
                .map(|name| (project_name(name), project(&format!("apps/{name}"))))
                .into(),
            ..Applied::default()
        };
        Store::open(state.join("sources")).unwrap().write("shop", &applied).await.unwrap();
        let file = dir.path().join("sources.toml");
        let url = format!("file://{}", dir.path().join("repository").display());
        let projects = "projects = [{ path = \"apps/*\" }]";
        fs::write(
            &file,
            format!("[[source]]\nname = \"shop\"\nurl = \"{url}\"\nbranch = \"main\"\n{projects}\n"),
        )
        .unwrap();
        let (volume, unfinished) = Volume::open(&dir.path().join("volume")).unwrap();
        let records = RecordStore::open(volume.state_dir().join("deploys")).unwrap();
        let settings = DeploySettings {
            timeout: LONG,
            quorum: None,
            max_uploads: 10,
            keep_removed: jiff::SignedDuration::from_hours(1),
        };
        let deploys = Deploys::new(
            settings,
            volume,
            routers.clone(),
            records,
            unfinished,
            (Metrics::default(), Traces::default()),
        );
        let parts = SourceParts {
            file: SourcesFile::open(&file, &[dir.path().to_owned()]).unwrap(),
            git: git(dir.path()).await,
            state,
            deploys,
            routers: routers.clone(),
            limits: UploadLimits::default(),
        };
        let sources = Sources::start(parts).unwrap();
        Self { dir, router, routers, sources }
    }

    fn script(&self, method: &str, project: &str, status: u16, body: &Value) {
        self.router.script(&format!("{method} /projects/{project}/override"), status, &body.to_string());
    }

    fn scripts(&self, method: &str, project: &str) {
        let report = serde_json::to_value(Report::of(project, ReloadOutcome::Live)).unwrap();
        self.script(method, project, 200, &report);
    }

    /// Waits for the next change of an override: the call, and the folder in it.
    async fn changed(&mut self) -> (String, Option<String>) {
        let found = async {
            loop {
                let (call, _, body) = self.router.calls.recv().await.unwrap();
                if call.ends_with("/override") {
                    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                    return (call, body["path"].as_str().map(str::to_owned));
                }
            }
        };
        timeout(LONG, found).await.expect("the router is called")
    }

    async fn all_changed(&mut self, count: usize) -> Vec<(String, Option<String>)> {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(self.changed().await);
        }
        all.sort();
        all
    }

    fn overridden(&self) -> Vec<Option<String>> {
        self.sources.status("shop").unwrap().projects.into_iter().map(|one| one.overridden).collect()
    }

    fn repository(&self) -> PathBuf {
        self.dir.path().join("repository")
    }

    fn run(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@b"])
            .args(args)
            .current_dir(self.repository())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn commit(&self, path: &str, text: &str) -> ObjectId {
        let file = self.repository().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
        self.run(&["init", "-q", "-b", "main", "."]);
        self.run(&["add", "-A"]);
        self.run(&["commit", "-q", "-m", "x"]);
        self.run(&["rev-parse", "HEAD"]).parse().unwrap()
    }

    async fn remake(&self, commit: &ObjectId, project: &str, into: &str) -> Result<Tree, Problem> {
        let into = self.dir.path().join(into);
        fs::create_dir_all(&into).unwrap();
        self.sources.remake("shop", commit, &project_name(project), &into).await
    }
}

async fn git(dir: &std::path::Path) -> Git {
    let settings = GitSettings {
        local: vec!["/".into()],
        program: "git".into(),
        search_path: env::var_os("PATH").unwrap(),
        home: dir.join("home"),
        askpass: dir.join("askpass"),
        user: None,
        timeout: Duration::from_secs(60),
    };
    Git::find(settings).await.unwrap()
}

fn project_name(name: &str) -> ProjectName {
    ProjectName::parse(name).unwrap()
}

fn refusal(slug: &str, detail: &str) -> Value {
    json!({"type": format!("urn:switchyard:problem:{slug}"), "detail": detail})
}

#[tokio::test]
async fn all_projects_of_a_source_are_read_from_their_folders_and_the_status_names_these() {
    let mut scene = Scene::new().await;
    for project in ["api", "web"] {
        scene.scripts("PUT", project);
        scene.scripts("DELETE", project);
    }
    let sources = scene.sources.clone();
    let set = tokio::spawn(async move { sources.set_override("shop", "/home/me/shop/").await });
    let folder = |name: &str| Some(format!("/home/me/shop/apps/{name}"));
    let calls = scene.all_changed(2).await;
    let put = |name: &str| (format!("PUT /projects/{name}/override"), folder(name));
    assert_eq!(calls, [put("api"), put("web")]);
    for project in ["api", "web"] {
        scene.router.read_from(project, folder(project).as_deref());
    }
    let overrides = set.await.unwrap().unwrap();
    assert_eq!(
        overrides.projects.into_values().collect::<Vec<_>>(),
        [folder("api"), folder("web")].map(Option::unwrap)
    );
    assert_eq!(scene.overridden(), [folder("api"), folder("web")]);

    let sources = scene.sources.clone();
    let ended = tokio::spawn(async move { sources.end_override("shop").await });
    let calls = scene.all_changed(2).await;
    assert_eq!(calls, ["api", "web"].map(|name| (format!("DELETE /projects/{name}/override"), None)));
    for project in ["api", "web"] {
        scene.router.read_from(project, None);
    }
    assert!(ended.await.unwrap().unwrap().projects.is_empty());
    assert_eq!(scene.overridden(), [None, None]);
}

#[tokio::test]
async fn a_project_that_is_refused_puts_the_others_back_to_where_they_were() {
    let mut scene = Scene::new().await;
    scene.scripts("PUT", "api");
    scene.script("PUT", "web", 403, &refusal("override-not-allowed", "start it with --allow-override"));
    scene.router.read_from("api", Some("/before"));
    let problem = scene.sources.set_override("shop", "/new").await.unwrap_err();
    assert_eq!((problem.status.as_u16(), problem.slug()), (403, "override-not-allowed"));
    for part in ["web", "--allow-override", "all projects of source shop are read from where they were"] {
        assert!(problem.detail().contains(part), "{}", problem.detail());
    }
    let mut calls = Vec::new();
    for _ in 0..3 {
        calls.push(scene.changed().await);
    }
    let back = ("PUT /projects/api/override".to_owned(), Some("/before".to_owned()));
    assert_eq!(calls.pop(), Some(back));
}

#[tokio::test]
async fn problems_that_are_not_the_callers_are_not_passed_on_as_theirs() {
    let scene = Scene::new().await;
    scene.scripts("DELETE", "api");
    for (status, body, expected) in [
        (401, refusal("unauthorized", "send a token"), (502, "router-refused")),
        (422, refusal("no-folder", "it is not there"), (422, "no-folder")),
        (409, refusal("held", "it is held"), (409, "held")),
        (200, json!([]), (502, "router-unreachable")),
    ] {
        for project in ["api", "web"] {
            scene.script("PUT", project, status, &body);
        }
        let problem = scene.sources.set_override("shop", "/new").await.unwrap_err();
        assert_eq!((problem.status.as_u16(), problem.slug()), expected, "{body}");
    }
}

#[tokio::test]
async fn a_folder_is_refused_where_several_routers_are_known_or_nothing_is_live() {
    let other = FakeRouter::start("r2").await;
    let scene = Scene::with(&[&other]).await;
    let problem = scene.sources.set_override("shop", "/new").await.unwrap_err();
    assert_eq!((problem.status.as_u16(), problem.slug()), (409, "several-routers"));
    let problem = scene.sources.set_override("none", "/new").await.unwrap_err();
    assert_eq!((problem.status.as_u16(), problem.slug()), (404, "unknown-source"));
    assert_eq!(scene.sources.end_override("none").await.unwrap_err().slug(), "unknown-source");

    lock(&scene.sources.sources()["shop"].applied).projects.clear();
    let problem = scene.sources.set_override("shop", "/new").await.unwrap_err();
    assert_eq!((problem.status.as_u16(), problem.slug()), (409, "nothing-to-do"));
}

#[tokio::test]
async fn an_overridden_project_has_no_drift_and_a_deploy_of_it_is_refused_with_the_way_out() {
    let scene = Scene::new().await;
    let (api, web) = (project_name("api"), project_name("web"));
    scene.router.on_disk("api", 'c');
    until(&scene.routers, |routers| on_disk(routers, &api).is_some()).await;
    scene.router.read_from("api", Some("/home/me/api"));
    until(&scene.routers, |routers| routers.all()[0].overridden("api").is_some()).await;
    assert_eq!(on_disk(&scene.routers, &api), None);

    let context = &scene.sources.0.context;
    context.check_overrides("shop", [&web].into_iter()).unwrap();
    let problem = context.check_overrides("shop", [&web, &api].into_iter()).unwrap_err();
    assert_eq!((problem.status.as_u16(), problem.slug()), (409, "overridden"));
    assert!(problem.detail().contains("switchyard source dev shop --disable"), "{}", problem.detail());
    assert!(problem.detail().contains("/home/me/api"), "{}", problem.detail());
}

#[tokio::test]
async fn the_files_of_an_earlier_commit_are_made_again_and_the_mirror_lets_go_of_it() {
    let scene = Scene::new().await;
    let first = scene.commit("apps/api/main.ts", "one");
    let second = scene.commit("apps/api/main.ts", "two");
    let old = scene.remake(&first, "api", "a").await.unwrap();
    assert_eq!(fs::read_to_string(old.dir.join("main.ts")).unwrap(), "one");
    let new = scene.remake(&second, "api", "b").await.unwrap();
    assert_ne!(old.digest, new.digest);
    assert_eq!(scene.remake(&first, "api", "c").await.unwrap().digest, old.digest);

    let settings = scene.sources.sources()["shop"].settings.clone();
    let mirror = scene.sources.0.context.mirrors.open(&settings).await.unwrap();
    let args = ["for-each-ref", "--format=%(refname)"];
    let refs = Command::new("git").args(args).current_dir(mirror.path()).output().unwrap();
    let refs = String::from_utf8(refs.stdout).unwrap();
    assert!(!refs.contains("_remake"), "{refs}");
}

#[tokio::test]
async fn a_version_that_cannot_be_made_again_says_why() {
    let scene = Scene::new().await;
    let first = scene.commit("apps/api/main.ts", "one");
    let gone = "0123456789".repeat(4).parse().unwrap();
    let problem = scene.remake(&gone, "api", "a").await.unwrap_err();
    assert_eq!((problem.status.as_u16(), problem.slug()), (404, "unknown-commit"), "{}", problem.detail());
    let problem = scene.remake(&first, "web", "b").await.unwrap_err();
    assert_eq!(problem.status.as_u16(), 422);
    assert!(problem.detail().contains("no project web"), "{}", problem.detail());
    let name = project_name("api");
    let problem = scene.sources.remake("none", &first, &name, scene.dir.path()).await.unwrap_err();
    assert_eq!(problem.slug(), "unknown-source");
}

#[tokio::test]
async fn a_freeze_that_cannot_be_written_says_so_and_one_that_is_tried_again_is_written() {
    let scene = Scene::new().await;
    let states = scene.dir.path().join("state/sources");
    let away = scene.dir.path().join("away");
    fs::rename(&states, &away).unwrap();
    let problem = scene.sources.freeze("shop", Some("release".into())).await.unwrap_err();
    assert_eq!((problem.status.as_u16(), problem.slug()), (507, "state-not-written"));
    assert!(problem.detail().contains("No such file"), "{}", problem.detail());
    fs::rename(&away, &states).unwrap();
    let status = scene.sources.freeze("shop", Some("release".into())).await.unwrap();
    assert_eq!(status.frozen.as_deref(), Some("release"));
    let written = Store::open(states).unwrap().read("shop");
    assert_eq!(written.saved.frozen.as_deref(), Some("release"));
}

#[tokio::test]
async fn a_project_that_another_source_has_deployed_is_forgotten_and_not_removed() {
    let scene = Scene::new().await;
    let context = &scene.sources.0.context;
    let api = project_name("api");
    assert_eq!(scene.sources.owner(&api).as_deref(), Some("shop"));
    context.take("other", [&api].into_iter());
    assert_eq!(scene.sources.owner(&api).as_deref(), Some("other"));
    let applied = lock(&context.applied).get("shop").cloned().unwrap();
    assert_eq!(lock(&applied).projects.keys().collect::<Vec<_>>(), [&project_name("web")]);
}

#[tokio::test]
async fn a_commit_with_a_project_of_another_source_is_read_when_that_has_let_go_of_it() {
    let scene = Scene::new().await;
    let commit = scene.commit("apps/api/main.ts", "one");
    let context = &scene.sources.0.context;
    let shop = scene.sources.sources()["shop"].settings.clone();
    let other = SourceSettings { name: "other".parse().unwrap(), ..(*shop).clone() };
    fetch::fetch(context, &other, None, &fetch::Known::default(), false).await.unwrap();
    context.owners().read("shop", [project_name("api"), project_name("web")].into());
    let fault = fetch::read(context, &other, &commit, true).await.unwrap_err();
    for part in ["apps/api", "which source shop has", "other takes it over"] {
        assert!(fault.detail.contains(part), "{}", fault.detail);
    }
    assert_eq!(context.owners().read("shop", [project_name("web")].into()), ["other"]);
    fetch::read(context, &other, &commit, true).await.unwrap();
    assert_eq!(scene.sources.owner(&project_name("api")).as_deref(), Some("shop"), "until it is live");
}
