//! Deploys of shared entries, with a router whose answers are the test's.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::*;
use crate::routers::testing::{FakeRouter, LONG, all_ready, following};
use crate::tree::Tree;
use crate::volume::{OpenError, SharedName, SharedTree, Staging};
use switchyard_contract::admin::{Hold, ReloadOutcome, Report, Reports};
use switchyard_contract::digest::Digest;

const SETTINGS: DeploySettings = DeploySettings {
    timeout: LONG,
    quorum: None,
    max_uploads: 10,
    keep_removed: SignedDuration::from_hours(1),
};

struct Scene {
    root: tempfile::TempDir,
    router: FakeRouter,
}

impl Scene {
    /// A volume with a project, one that includes the shared folder, and that folder.
    async fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [("api/main.ts", "old"), ("kept/main.ts", "kept"), ("_shared/mod.ts", "old")] {
            fs::create_dir_all(root.path().join(path).parent().unwrap()).unwrap();
            fs::write(root.path().join(path), text).unwrap();
        }
        let router = FakeRouter::start("r1").await;
        router.script("POST /_deploys", 204, "");
        Self { root, router }
    }

    async fn deploys(&self) -> Deploys {
        let routers = following(&[&self.router]);
        all_ready(&routers).await;
        // A bridge that has just been stopped may still have its lock.
        let opened = async {
            loop {
                match Volume::open(self.root.path()) {
                    Err(OpenError::InUse(_)) => yield_now().await,
                    opened => return opened.unwrap(),
                }
            }
        };
        let (volume, unfinished) = timeout(LONG, opened).await.unwrap();
        let records = RecordStore::open(volume.state_dir().join("deploys")).unwrap();
        Deploys::new(SETTINGS, volume, routers, records, unfinished, (Metrics::default(), Traces::default()))
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.path().join(path)).ok()
    }

    /// Sets the router's answers to the calls of `deploy`.
    fn answers(&self, deploy: &str, build: &[Report]) {
        let live = |report: &Report| Report { outcome: ReloadOutcome::Live, ..report.clone() };
        for (step, projects) in
            [("build", build.to_vec()), ("publish", build.iter().map(live).collect::<Vec<_>>())]
        {
            let body = serde_json::to_string(&Reports { projects }).unwrap();
            self.router.script(&format!("POST /_deploys/{deploy}/{step}"), 200, &body);
        }
        self.router.script(&format!("DELETE /_deploys/{deploy}"), 204, "");
    }

    /// Waits for a call to the router, and returns its body.
    async fn called(&mut self, call: &str) -> String {
        let found = async {
            loop {
                let (name, _, body) = self.router.calls.recv().await.unwrap();
                if name == call {
                    return String::from_utf8(body.to_vec()).unwrap();
                }
            }
        };
        timeout(LONG, found).await.expect("the router is called")
    }

    async fn held(&mut self) -> Vec<String> {
        let hold: Hold = serde_json::from_str(&self.called("POST /_deploys").await).unwrap();
        hold.projects.iter().map(ToString::to_string).collect()
    }
}

fn begin(deploys: &Deploys) -> (Ticket, Staging) {
    let request = DeployRequest { action: Action::Deploy, by: None, project: None, idempotency_key: None };
    let Submission::New(ticket) = deploys.begin(request).unwrap() else { unreachable!() };
    let staging = deploys.volume().stage(&ticket.id()).unwrap();
    (ticket, staging)
}

fn start(ticket: Ticket, staging: Staging, changes: Vec<Change>) -> Result<Arc<Job>, Problem> {
    ticket.start(staging, changes, DeployNotes::default())
}

fn name(project: &str) -> ProjectName {
    ProjectName::parse(project).unwrap()
}

fn shared(name: &str) -> SharedName {
    SharedName::parse(name).unwrap()
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn digest(byte: u8) -> Digest {
    Digest::from([byte; 32])
}

fn put(staging: &Staging, project: &str) -> Change {
    let dir = staging.incoming().join(project);
    write(&dir.join("main.ts"), "new");
    let (project, digest) = (name(project), digest(1));
    Change::Put(Tree { project, dir, digest, files: 1, bytes: 3, carries_packages: true })
}

fn put_shared(staging: &Staging) -> Change {
    let path = staging.incoming().join("_shared");
    write(&path.join("mod.ts"), "new");
    Change::PutShared(SharedTree { name: shared("_shared"), path, is_folder: true, digest: digest(2) })
}

/// The changes of a commit that changes a project and the shared folder. The project that is kept
/// does not come last.
fn changes(staging: &Staging) -> Vec<Change> {
    vec![Change::Keep(name("kept")), put(staging, "api"), put_shared(staging)]
}

fn built(project: &str, digest: Digest, own: Digest) -> Report {
    Report {
        digest: Some(digest.to_string()),
        version: Some(format!("{project}@{}", digest.short())),
        own_digest: Some(own.to_string()),
        ..Report::of(project, ReloadOutcome::Built)
    }
}

fn all_built() -> [Report; 2] {
    [built("api", digest(3), digest(1)), built("kept", digest(4), digest(5))]
}

#[tokio::test]
async fn projects_that_include_a_shared_folder_are_held_built_and_published_with_it() {
    let mut scene = Scene::new().await;
    let deploys = scene.deploys().await;
    let (ticket, staging) = begin(&deploys);
    scene.answers(&ticket.id(), &all_built());
    let changes = changes(&staging);
    let record = start(ticket, staging, changes).unwrap().done().await;
    assert_eq!(record.outcome, Some(DeployOutcome::Live), "{:?}", record.problem);
    assert_eq!(scene.held().await, ["api", "kept"]);
    assert_eq!(
        (scene.read("api/main.ts"), scene.read("_shared/mod.ts")),
        (Some("new".into()), Some("new".into()))
    );
    assert_eq!(scene.read("kept/main.ts").as_deref(), Some("kept"));
    let [api, kept] = &record.projects[..] else { panic!("{:?}", record.projects) };
    assert_eq!((api.digest, api.own_digest), (Some(digest(3)), Some(digest(1))));
    assert_eq!((kept.digest, kept.own_digest, &kept.removal), (Some(digest(4)), Some(digest(5)), &None));
    assert_eq!(kept.version.as_deref(), Some("kept@040404040404"));
}

#[tokio::test]
async fn a_shared_folder_with_which_a_project_does_not_build_is_put_back() {
    let mut scene = Scene::new().await;
    let deploys = scene.deploys().await;
    let (ticket, staging) = begin(&deploys);
    let id = ticket.id();
    let [api, _] = all_built();
    scene.answers(&id, &[api, Report::of("kept", ReloadOutcome::Failed)]);
    let changes = changes(&staging);
    let record = start(ticket, staging, changes).unwrap().done().await;
    assert_eq!((record.status, record.outcome), (Some(422), Some(DeployOutcome::Failed)));
    let problem = record.problem.unwrap();
    assert_eq!((&problem["project"], &problem["restored"]), (&"kept".into(), &true.into()));
    assert_eq!(
        (scene.read("api/main.ts"), scene.read("_shared/mod.ts")),
        (Some("old".into()), Some("old".into()))
    );
    scene.called(&format!("DELETE /_deploys/{id}")).await;
}

#[tokio::test]
async fn a_router_that_reads_a_project_from_a_local_folder_refuses_its_deploy_with_the_way_out() {
    let scene = Scene::new().await;
    let detail = "api is read from /home/me/api: switchyard source dev NAME --disable";
    let problem = json!({"type": "urn:switchyard:problem:overridden", "status": 409, "detail": detail});
    scene.router.script("POST /_deploys", 409, &problem.to_string());
    let deploys = scene.deploys().await;
    let (ticket, staging) = begin(&deploys);
    let changes = changes(&staging);
    let record = start(ticket, staging, changes).unwrap().done().await;
    assert_eq!((record.status, record.outcome), (Some(409), Some(DeployOutcome::Refused)));
    let problem = record.problem.unwrap();
    assert_eq!(problem["type"], "urn:switchyard:problem:overridden");
    let told = problem["detail"].as_str().unwrap();
    assert!(told.starts_with(detail) && told.ends_with("the volume is as it was"), "{told}");
    assert_eq!(scene.read("api/main.ts").as_deref(), Some("old"));
}

#[tokio::test]
async fn two_deploys_of_one_shared_entry_exclude_one_another_and_it_is_free_afterwards() {
    let mut scene = Scene::new().await;
    let deploys = scene.deploys().await;
    let (ticket, staging) = begin(&deploys);
    let (first, shared_alone) = (ticket.id(), vec![put_shared(&staging), Change::Keep(name("kept"))]);
    scene.answers(&first, &all_built()[1..]);
    scene.router.script(&format!("POST /_deploys/{first}/build"), 0, "");
    let job = start(ticket, staging, shared_alone).unwrap();
    scene.called(&format!("POST /_deploys/{first}/build")).await;

    let (ticket, staging) = begin(&deploys);
    let change = vec![Change::RemoveShared(shared("_shared"))];
    let problem = start(ticket, staging, change.clone()).unwrap_err();
    let document = problem.document();
    assert_eq!(problem.status, StatusCode::CONFLICT);
    assert!(document["type"].as_str().unwrap().ends_with("deploy-under-way"), "{document}");
    assert_eq!((&document["shared"], &document["deploy"]), (&"_shared".into(), &first.as_str().into()));
    let (ticket, staging) = begin(&deploys);
    let problem = start(ticket, staging, vec![Change::Keep(name("kept"))]).unwrap_err();
    assert_eq!(problem.document()["project"], Value::from("kept"));

    scene.answers(&first, &all_built()[1..]);
    deploys.stop(Duration::ZERO).await;
    drop((job, deploys));
    let deploys = scene.deploys().await;
    assert_eq!(deploys.job(&first).unwrap().done().await.outcome, Some(DeployOutcome::Live));
    let (ticket, staging) = begin(&deploys);
    let record = start(ticket, staging, change).unwrap().done().await;
    assert_eq!(record.outcome, Some(DeployOutcome::Removed));
    assert!(!scene.root.path().join("_shared").exists());
}

#[tokio::test]
async fn a_deploy_that_was_interrupted_holds_the_same_projects_again_in_the_same_order() {
    let mut scene = Scene::new().await;
    let deploys = scene.deploys().await;
    let (ticket, staging) = begin(&deploys);
    let id = ticket.id();
    scene.router.script(&format!("POST /_deploys/{id}/build"), 0, "");
    let changes = changes(&staging);
    drop(start(ticket, staging, changes).unwrap());
    let held = scene.held().await;
    scene.called(&format!("POST /_deploys/{id}/build")).await;
    deploys.stop(Duration::ZERO).await;
    drop(deploys);

    scene.answers(&id, &all_built());
    let deploys = scene.deploys().await;
    let record = deploys.job(&id).unwrap().done().await;
    assert_eq!(scene.held().await, held);
    assert_eq!(record.outcome, Some(DeployOutcome::Live), "{:?}", record.problem);
    let projects: Vec<_> = record.projects.iter().map(|one| (one.project.as_str(), one.digest)).collect();
    assert_eq!(projects, [("api", Some(digest(3))), ("kept", Some(digest(4)))]);
    assert_eq!(scene.read("_shared/mod.ts").as_deref(), Some("new"));
}

#[tokio::test]
async fn shared_entries_that_no_project_includes_need_no_router() {
    let mut scene = Scene::new().await;
    let deploys = scene.deploys().await;
    scene.router.go_away().await;
    let (ticket, staging) = begin(&deploys);
    let changes = vec![put_shared(&staging)];
    let record = start(ticket, staging, changes).unwrap().done().await;
    assert_eq!(record.outcome, Some(DeployOutcome::Live), "{:?}", record.problem);
    assert_eq!((record.projects, record.routers), (Vec::new(), Vec::new()));
    assert_eq!(scene.read("_shared/mod.ts").as_deref(), Some("new"));
}

#[tokio::test]
async fn a_project_that_is_to_be_kept_and_is_gone_refuses_the_deploy() {
    let scene = Scene::new().await;
    let deploys = scene.deploys().await;
    let (ticket, staging) = begin(&deploys);
    let changes = vec![put_shared(&staging), Change::Keep(name("gone"))];
    let record = start(ticket, staging, changes).unwrap().done().await;
    assert_eq!((record.status, record.outcome), (Some(409), Some(DeployOutcome::Refused)));
    let problem = record.problem.unwrap();
    assert!(problem["type"].as_str().unwrap().ends_with("project-gone"), "{}", json!(problem));
    assert_eq!(scene.read("_shared/mod.ts").as_deref(), Some("old"));
}
