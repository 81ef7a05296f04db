//! The permissions of tokens.

use std::fs;

use http::Method;
use rustix::process::Signal;
use switchyard_contract::deploy::DeployOutcome;
use switchyard_integration::bridge::record::Record;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::bridge::tree::Tree;
use switchyard_integration::bridge::{Bridge, get_as, with_token};
use switchyard_integration::client::{Reply, with_header, with_method};
use switchyard_integration::fixtures::hello;
use switchyard_integration::upload::Upload;
use switchyard_integration::volume::Volume;
use switchyard_integration::{eventually, within};
use tempfile::NamedTempFile;

const CI: &str = "ci-token-0123456789";
const READER: &str = "reader-token-0123456789";
const HASHED: &str = "hashed-token-0123456789";

const FILE: &str = r#"
    [[token]]
    name = "ci"
    token = "ci-token-0123456789"
    projects = ["blog", "shop-*"]
    actions = ["*"]

    [[token]]
    name = "reader"
    token = "reader-token-0123456789"
    projects = ["*"]
    actions = ["read"]

    [[token]]
    name = "hashed"
    # printf %s hashed-token-0123456789 | sha256sum
    sha256 = "HASH"
    projects = ["*"]
    actions = ["deploy", "rollback"]
"#;

fn tokens() -> NamedTempFile {
    let file = NamedTempFile::new().expect("a temporary file can be made");
    write(&file, &FILE.replace("HASH", &sha256(HASHED)));
    file
}

fn write(file: &NamedTempFile, text: &str) {
    fs::write(file.path(), text).expect("a file can be written");
}

fn sha256(text: &str) -> String {
    let script = format!("printf %s '{text}' | sha256sum | cut -d ' ' -f 1");
    let output = std::process::Command::new("sh").args(["-c", &script]).output().expect("sh runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

async fn start() -> (Volume, NamedTempFile, Replicas, Bridge) {
    let (volume, file) = (Volume::new(), tokens());
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.bridge().flag("token-file", file.path().display()).start().await;
    (volume, file, routers, bridge)
}

async fn deploy_as(bridge: &Bridge, project: &str, label: &str, token: &str) -> Reply {
    let request = Upload::main(hello(label)).to(&format!("/deploy/{project}"));
    bridge.client.send(with_token(request, token)).await
}

#[tokio::test]
async fn without_a_known_token_nothing_is_done_or_disclosed() {
    let (volume, _file, _routers, bridge) = start().await;
    for path in ["/projects", "/projects/blog", "/projects/blog/versions", "/projects/blog/logs", "/deploys"]
    {
        bridge.client.get(path).await.assert_problem(401, "unauthorized");
        bridge.client.send(get_as(path, "not-a-token-0123456789")).await.assert_problem(401, "unauthorized");
    }
    bridge.deploy("blog", &Upload::main(hello("1"))).await.assert_problem(401, "unauthorized");
    for credentials in ["Bearer", "Bearer ", "Basic Y2k6eA==", CI, "Bearer ci-token-012345678"] {
        let request = with_header(Upload::main(hello("1")).to("/deploy/blog"), "authorization", credentials);
        bridge.client.send(request).await.assert_problem(401, "unauthorized");
    }
    bridge.client.post("/projects/blog/rollback").await.assert_problem(401, "unauthorized");
    let delete = with_method(Method::DELETE, "/projects/blog");
    bridge.client.send(delete).await.assert_problem(401, "unauthorized");
    assert!(Tree::of_projects(volume.root()).is_empty());
    bridge.clean().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(bridge.client.get(path).await.status, 200, "{path} is open to all");
    }
}

#[tokio::test]
async fn a_token_is_good_for_its_projects_and_actions_only() {
    let (volume, _file, routers, bridge) = start().await;
    for project in ["blog", "shop-1"] {
        let record = Record::of(&deploy_as(&bridge, project, "1", CI).await);
        assert_eq!((record.by.as_deref(), record.outcome), (Some("ci"), Some(DeployOutcome::Live)));
        assert_eq!(bridge.audited("deploy", project, "live").await["by"], "ci");
    }
    for project in ["other", "blog-2", "shop"] {
        deploy_as(&bridge, project, "1", CI).await.assert_problem(403, "forbidden");
        assert!(!volume.path(project).exists());
    }
    deploy_as(&bridge, "blog", "2", READER).await.assert_problem(403, "forbidden");
    let rollback = with_method(Method::POST, "/projects/blog/rollback");
    bridge.client.send(with_token(rollback, READER)).await.assert_problem(403, "forbidden");
    let delete = || with_method(Method::DELETE, "/projects/blog");
    bridge.client.send(with_token(delete(), READER)).await.assert_problem(403, "forbidden");
    bridge.client.send(with_token(delete(), HASHED)).await.assert_problem(403, "forbidden");
    assert_eq!(bridge.client.send(get_as("/projects/blog", READER)).await.status, 200);
    bridge.client.send(get_as("/projects/blog", HASHED)).await.assert_problem(403, "forbidden");
    assert_eq!(routers.texts("/blog/").await, ["1"]);
    let other = Record::of(&deploy_as(&bridge, "other", "1", HASHED).await);
    // Answers about projects of others have no name for it.
    let path = format!("/deploys/{}", other.deploy);
    let unknown = bridge.client.send(get_as(&path, CI)).await;
    assert!(!unknown.text().contains("other"), "{}", unknown.text());
    unknown.assert_problem(404, "unknown-deploy");
    assert_eq!(bridge.client.send(get_as(&path, READER)).await.status, 200);
    bridge.client.send(get_as("/metrics", CI)).await.assert_problem(403, "forbidden");
    assert_eq!(bridge.client.send(get_as("/metrics", READER)).await.status, 200);
    Record::of(&bridge.client.send(with_token(delete(), CI)).await);
    for token in [CI, READER, HASHED] {
        assert!(!bridge.log.text().contains(token), "a token is in the log");
    }
}

#[tokio::test]
async fn one_project_that_a_token_is_not_for_forbids_the_whole_upload() {
    let (volume, _file, _routers, bridge) = start().await;
    let files = [("blog/main.ts", hello("1")), ("other/main.ts", hello("1"))];
    let request = with_token(Upload::curl(&files).to("/deploy"), CI);
    bridge.client.send(request).await.assert_problem(403, "forbidden");
    assert!(Tree::of_projects(volume.root()).is_empty());
    bridge.clean().await;
}

#[tokio::test]
async fn a_token_that_may_not_deploy_is_refused_before_its_upload_is_read() {
    let (_volume, _file, _routers, bridge) = start().await;
    let (sender, request) = switchyard_integration::client::Upload::post("/deploy/blog");
    let request = with_token(with_header(request, "content-type", "multipart/form-data; boundary=x"), READER);
    let mut connection = bridge.client.connect().await;
    assert_eq!(connection.stream(request).await.status(), 403);
    sender.end();
}

#[tokio::test]
async fn sighup_reads_the_tokens_again() {
    let (_volume, file, _routers, bridge) = start().await;
    assert_eq!(bridge.client.send(get_as("/projects", CI)).await.status, 200);
    let other = "another-token-0123456789";
    write(&file, &FILE.replace("HASH", &sha256(HASHED)).replace(CI, other));
    bridge.signal(Signal::HUP);
    eventually("the new token is known", || async {
        bridge.client.send(get_as("/projects", other)).await.status == 200
    })
    .await;
    bridge.client.send(get_as("/projects", CI)).await.assert_problem(401, "unauthorized");
}

#[tokio::test]
async fn an_invalid_token_file_leaves_the_tokens_unchanged_and_is_reported() {
    let (_volume, file, _routers, bridge) = start().await;
    let is_match = |record: &serde_json::Value| record["level"] == "ERROR" || record["level"] == "WARN";
    for wrong in ["not toml [", "[[token]]\nname = \"x\"\ntoken = \"short\"\nprojects = []\nactions = []\n"] {
        let earlier = bridge.log.records().iter().filter(|record| is_match(record)).count();
        write(&file, wrong);
        bridge.signal(Signal::HUP);
        eventually("the message is logged", || async {
            bridge.log.records().iter().filter(|record| is_match(record)).count() > earlier
        })
        .await;
        assert_eq!(bridge.client.send(get_as("/projects", CI)).await.status, 200);
    }
}

#[tokio::test]
async fn without_tokens_it_does_not_listen_beyond_loopback() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 1).await;
    let ended = routers.bridge().flag("listen", "0.0.0.0:0").run_to_end().await;
    assert_eq!(ended.status.code(), Some(64), "{}", ended.log.text());
    assert!(ended.log.text().contains("token-file"), "{}", ended.log.text());
}

#[tokio::test]
async fn a_token_file_that_is_wrong_from_the_start_ends_it() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 1).await;
    let file = NamedTempFile::new().unwrap();
    write(&file, "[[token]]\nname = \"x\"\n");
    let ended = routers.bridge().flag("token-file", file.path().display()).run_to_end().await;
    assert_eq!(ended.status.code(), Some(64), "{}", ended.log.text());
}

#[tokio::test]
async fn the_routers_believe_the_bridge_by_a_token_of_their_own() {
    let volume = Volume::new();
    let file = NamedTempFile::new().unwrap();
    write(&file, "admin-token-0123456789\n");
    let path = file.path().display().to_string();
    let routers =
        Replicas::start_each(volume.root(), 2, |_, router| router.flag("admin-token-file", &path)).await;
    for router in routers.iter() {
        assert_eq!(router.admin.client.get("/projects").await.status, 401);
        assert_eq!(router.admin.client.post("/_reload").await.status, 401);
        assert_eq!(router.admin.client.get("/healthz").await.status, 200);
        let known = router.admin.client.send(get_as("/projects", "admin-token-0123456789")).await;
        assert_eq!(known.status, 200);
    }
    let bridge = routers.bridge().flag("admin-token-file", &path).start().await;
    bridge.deploy_live("a", &Upload::main(hello("1"))).await;
    assert_eq!(within("both answer", routers.texts("/a/")).await, ["1", "1"]);
}
